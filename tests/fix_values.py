"""
Values carried for real: ``carry`` takes a column of stored values from a SQLite file into a PostgreSQL table.

What ``migrator check`` refuses is taken out of the file, and the rest goes through ``migrator run``, verification and
all. So one call says of each value what becomes of it, and that the two commands agree about it.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator import examine, job
from migrator.findings import Finding
from migrator.progress import Silent
from migrator.report import CheckReport, Report
from migrator.settings import Settings


@dataclass(frozen=True, slots=True)
class Refused:
    """What becomes of a value that preflight refuses: nothing, for this reason."""

    reason: str


Carry = Callable[..., Awaitable[dict[str, object]]]
"""See the fixture ``carry``."""


@dataclass(frozen=True, slots=True)
class Move:
    """One source file, one target database, and the two commands between them."""

    source: Path
    database: Database
    flags: Mapping[str, Any]

    @property
    def settings(self) -> Settings:
        """The settings of both commands."""
        return Settings.load(
            {
                "source_url": str(self.source),
                "target_url": self.database.url,
                "schema_mode": "existing",
                "examples": 1000,
                **self.flags,
            }
        )

    async def check(self) -> CheckReport:
        """Run ``migrator check``."""
        return await examine.check(self.settings, Silent())

    async def run(self) -> Report:
        """Run ``migrator run``."""
        return await job.run(self.settings, Silent())


MakeMove = Callable[..., Move]
"""See the fixture ``move``."""


@pytest.fixture
def move(environment: pytest.MonkeyPatch, database: Database, sqlite_file: Path) -> MakeMove:
    """Give a function that makes a Move from ``sqlite_file`` to ``database``; what it is given are flags."""
    del environment  # cleaned, so that only the flags count

    def make(**flags: Any) -> Move:  # noqa: ANN401 - settings of any type
        return Move(sqlite_file, database, flags)

    return make


@pytest.fixture
def carry(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> Carry:
    """
    Give a function that moves one column of values and tells what becomes of each.

    ``await carry("boolean", {"yes": 1, "two": 2})`` returns ``{"yes": True, "two": Refused("is neither 0 nor 1")}``.

    Every value is a row of one table, known by its name in the mapping. ``stored_as`` declares the source's column,
    and so its affinity; without it values keep the storage class of their Python type. ``beside`` adds a column of
    another type to the target, whose presence may change the form of COPY. ``shown`` is the SQL that reads the value.
    """

    async def run(  # noqa: PLR0913 - a table of values, and what the columns are
        declared: str,
        values: Mapping[str, object],
        *,
        stored_as: str = "",
        beside: str = "",
        shown: str = "v",
        prepare: str = "",
        **flags: Any,  # noqa: ANN401 - settings of any type
    ) -> dict[str, object]:
        extra = f", extra {beside}" if beside else ""
        await database.execute(f"{prepare}; CREATE TABLE t (id text PRIMARY KEY, v {declared}{extra})")
        source_extra = ", extra TEXT" if beside else ""
        path = make_sqlite(f"CREATE TABLE t (id TEXT PRIMARY KEY, v {stored_as}{source_extra})")
        _insert(path, values)
        refused = refusals((await move(**flags).check()).findings)
        _delete(path, refused)
        await move(**flags).run()
        arrived = {row["id"]: row["shown"] for row in await database.fetch(f"SELECT id, {shown} AS shown FROM t")}
        return {name: arrived[name] if name not in refused else Refused(refused[name]) for name in values}

    return run


def refusals(findings: Iterable[Finding]) -> dict[str, str]:
    """Return the reason by the key of each row, where the key is one column of text."""
    return {
        example.key.partition(" = ")[2].strip("'").replace("''", "'"): finding.reason
        for finding in findings
        for example in finding.examples
    }


def _insert(path: Path, values: Mapping[str, object]) -> None:
    """Insert the values; a pair (storage class, bytes) is cast, for text that is no text."""
    with closing(sqlite3.connect(path)) as connection:
        for name, value in values.items():
            if isinstance(value, tuple):
                storage, content = value
                connection.execute(f"INSERT INTO t (id, v) VALUES (?, CAST(? AS {storage}))", (name, content))
            else:
                connection.execute("INSERT INTO t (id, v) VALUES (?, ?)", (name, value))
        connection.commit()


def _delete(path: Path, names: Iterable[str]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany("DELETE FROM t WHERE id = ?", [(name,) for name in names])
        connection.commit()
