"""
Random tables under random constraints: whatever ``check`` accepts ``run`` carries, and PostgreSQL itself agrees.

The judge inserts the rows one by one into the target, in a transaction that is rolled back: ``check`` must refuse the
tables that PostgreSQL refuses then, and no others. ``MIGRATOR_TEST_BATCHES`` says how many batches of tables are tried;
``scripts/property.sh`` tries many.
"""

import asyncio
import json
import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_job import settings_of
from fix_postgres import Database
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from migrator.errors import MigratorError, TargetRefused, ValuesRefused
from migrator.job import check, run
from migrator.monitoring.tracker import Tracker
from migrator.reports.check_report import CheckReport
from migrator.reports.run_report import Report

BATCHES = int(os.environ.get("MIGRATOR_TEST_BATCHES", "3"))
TABLES = 6

Stored = None | int | str

LONG = "".join(f"{n * 2654435761 % 2**32:08x}" for n in range(1200))
VALUES: dict[str, st.SearchStrategy[Stored]] = {
    "int": st.integers(-2, 40),
    "text": st.sampled_from(["", "a", "A", "b", "é", "É", "12", "c\td", "x" * 3000, LONG[:2600], LONG[:2800], LONG])
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
    "boolean": st.sampled_from([0, 1]),
    "numeric": st.sampled_from(["1", "1.00", "2.5", "-3"]) | st.integers(-5, 5),
    "jsonb": st.sampled_from(["1", "1.0", '{"a": 1}', '{"a":1.0}', "[]", '"é"', "null"]),
    "date": st.dates().map(str) | st.sampled_from(["2024-01-05", "2024-06-01", "2031-01-01"]),
    "interval": st.sampled_from(["1 day", "24:00:00", "02:00:00", "1 mon", "30 days"]),
}
"""By type: such values as arrive if no constraint is in the way."""

# A constraint by the types of its columns; {t} is the table, {0} and {1} are the columns.
CONSTRAINTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("int",), "ALTER TABLE {t} ADD CHECK ({0} > -2)"),
    (("int",), "ALTER TABLE {t} ADD CHECK ({0} IS NOT NULL AND {0} <> 7)"),
    (("int", "int"), "ALTER TABLE {t} ADD CHECK ({0} <= {1} + 30)"),
    (("int", "text"), "ALTER TABLE {t} ADD CHECK ({0} < 35 OR {1} <> 'a')"),
    (("text",), "ALTER TABLE {t} ADD CHECK (char_length({0}) < 4000)"),
    (("text",), "ALTER TABLE {t} ADD CHECK (100 / length({0}) > 0) NOT VALID"),
    (("text",), "CREATE INDEX ON {t} ({0})"),
    (("text", "text"), "CREATE INDEX ON {t} ({0}) INCLUDE ({1})"),
    (("text",), "CREATE INDEX ON {t} USING hash ({0})"),
    (("text",), "CREATE INDEX ON {t} (upper({0}) text_pattern_ops)"),
    (("text",), "CREATE INDEX ON {t} USING gin (to_tsvector('simple', {0}))"),
    (("text",), "CREATE INDEX ON {t} USING brin ({0})"),
    (("text",), "CREATE UNIQUE INDEX ON {t} (lower({0}))"),
    (("text", "boolean"), "CREATE UNIQUE INDEX ON {t} ({0}) WHERE {1}"),
    (("text",), "CREATE UNIQUE INDEX ON {t} (left({0}, 3), length({0}))"),
    (("numeric",), "CREATE UNIQUE INDEX ON {t} ({0})"),
    (("numeric", "date"), "ALTER TABLE {t} ADD UNIQUE ({0}, {1})"),
    (("jsonb",), "CREATE UNIQUE INDEX ON {t} ({0})"),
    (("jsonb",), "CREATE INDEX ON {t} (({0} ->> 'a'))"),
    (("jsonb",), "ALTER TABLE {t} ADD CHECK (jsonb_typeof({0}) <> 'array')"),
    (("interval",), "CREATE UNIQUE INDEX ON {t} ({0})"),
    (("date",), "ALTER TABLE {t} ADD CHECK ({0} BETWEEN '1000-01-01' AND '9000-01-01')"),
    (("date",), "ALTER TABLE {t} ADD EXCLUDE USING gist (daterange({0} - 3, {0} + 3) WITH &&)"),
    (("int", "boolean"), "ALTER TABLE {t} ADD EXCLUDE USING gist (int4range({0}, {0} + 1) WITH &&) WHERE ({1})"),
    (("int",), "ALTER TABLE {t} ADD EXCLUDE USING btree ({0} WITH =) DEFERRABLE INITIALLY DEFERRED"),
    (("int",), "ALTER TABLE {t} ADD UNIQUE ({0}) DEFERRABLE INITIALLY DEFERRED"),
    (("int",), "ALTER TABLE {t} ADD COLUMN twice int GENERATED ALWAYS AS (100 / ({0} - 33)) STORED"),
    (("text",), "ALTER TABLE {t} ADD COLUMN copied varchar(3000) GENERATED ALWAYS AS ({0} || 'x') STORED"),
)
PARTITIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("int", "RANGE ({0})", ("FROM (MINVALUE) TO (10)", "FROM (10) TO (38)")),
    ("text", "LIST ({0})", ("IN ('a', 'b')", "IN ('', 'A', NULL)")),
    ("int", "HASH ({0})", ("WITH (MODULUS 2, REMAINDER 0)", "WITH (MODULUS 2, REMAINDER 1)")),
    ("date", "RANGE ({0})", ("FROM ('0001-01-01') TO ('2030-01-01')",)),
)


@dataclass(frozen=True, slots=True)
class Table:
    """A random table: its columns' types, what it is partitioned by, its constraints and its rows."""

    types: tuple[str, ...]
    rows: tuple[tuple[Stored, ...], ...]
    ddl: tuple[str, ...]
    """With {t} for its name."""


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Draw a table with one to three constraints that its columns have the types for."""
    chosen = draw(st.lists(st.sampled_from(CONSTRAINTS), min_size=1, max_size=3))
    types: list[str] = []
    statements = []
    for needed, statement in chosen:
        places = [_place(types, name, draw) for name in needed]
        statements.append(statement.replace("{t}", "{{t}}").format(*(f"c{place}" for place in places)))
    split = draw(st.none() | st.sampled_from(PARTITIONS)) if _may_split(statements) else None
    parts: list[str] = []
    clause = ""
    if split:
        name, key, bounds = split
        clause = " PARTITION BY " + key.format(f"c{_place(types, name, draw)}")
        parts = [f"CREATE TABLE {{t}}_p{n} PARTITION OF {{t}} FOR VALUES {bound}" for n, bound in enumerate(bounds)]
    statements = [one for one in statements if one.count("GENERATED") == 0 or statements.index(one) == 0]
    listed = ", ".join(f"c{n} {name}" for n, name in enumerate(types))
    ddl = (f"CREATE TABLE {{t}} (id int, {listed}){clause}", *parts, *dict.fromkeys(statements))
    row = st.tuples(*(st.none() | VALUES[name] for name in types))
    return Table(tuple(types), tuple(draw(st.lists(row, min_size=1, max_size=draw(st.sampled_from([2, 4, 20]))))), ddl)


def _place(types: list[str], name: str, draw: st.DrawFn) -> int:
    """Return a column of the type, a new one or one that is there."""
    there = [place for place, other in enumerate(types) if other == name]
    if bool(there) and draw(st.booleans()):
        return draw(st.sampled_from(there))
    types.append(name)
    return len(types) - 1


def _may_split(statements: Sequence[str]) -> bool:
    # A key of a partitioned table has the partition's columns in it.
    return not any("UNIQUE" in one or "EXCLUDE" in one or "GENERATED" in one for one in statements)


@pytest.mark.one_server
@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1"])
def test_whatever_check_accepts_run_carries(
    database: Database, tmp_path: Path, environment: pytest.MonkeyPatch, encoding: str
) -> None:
    """``check`` refuses the tables that PostgreSQL refuses; ``run`` refuses with it, and carries all others exactly."""
    del environment  # cleaned, so that only what is given counts
    there = Database(database.server, f"{database.name}_{encoding.lower()}", database.role, database.password)
    options = f"ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' OWNER \"{database.role}\""
    database.server.administer(f'CREATE DATABASE "{there.name}" {options}')
    path = tmp_path / "random.db"

    @settings(
        max_examples=BATCHES,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn=st.lists(tables(), min_size=TABLES, max_size=TABLES))
    def tried(drawn: list[Table]) -> None:
        path.unlink(missing_ok=True)
        with capture_logs():
            asyncio.run(move_and_judge(path, there, drawn))

    try:
        tried()
    finally:
        database.server.administer(f'DROP DATABASE "{there.name}" WITH (FORCE)')


async def move_and_judge(path: Path, database: Database, drawn: list[Table]) -> None:
    """Hold ``check`` against PostgreSQL's own judgement, and ``run`` against ``check``."""
    await database.execute("DROP SCHEMA IF EXISTS migrator CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    names = [f"t{n}" for n in range(len(drawn))]
    refused = set()
    for name, table in zip(names, drawn, strict=True):
        await database.execute(";".join(table.ddl).replace("{t}", name))
        fill(path, name, table)
        if said := await objection(database, name, table):
            refused.add(name)
            event(said)
    found = await check.check(settings_of(path, database), Tracker())
    assert {finding.table for finding in found.findings if finding.refuses} == refused, (drawn, found.findings)
    if refused:
        with pytest.raises(ValuesRefused):
            await run.run(settings_of(path, database), Tracker())
        assert not [name for name in names if await database.fetch(f"SELECT FROM {name}")]
    left = [(name, table) for name, table in zip(names, drawn, strict=True) if name not in refused]
    if not left:
        return
    await run.run(settings_of(path, database, exclude=sorted(refused)), Tracker())
    for name, table in left:
        await compare(path, database, name, table)


async def objection(database: Database, name: str, table: Table) -> str:
    """Return why PostgreSQL doesn't take the rows; empty if it does."""
    connection = await asyncpg.connect(database.url)
    transaction = connection.transaction()
    await transaction.start()
    places = ", ".join(f"CAST(CAST(${n + 2} AS text) AS {kind})" for n, kind in enumerate(table.types))
    columns = ", ".join(f"c{n}" for n in range(len(table.types)))
    try:
        statement = await connection.prepare(f"INSERT INTO {name} (id, {columns}) VALUES ($1, {places})")
        rows = [(n, *(None if one is None else str(one) for one in row)) for n, row in enumerate(table.rows)]
        await statement.executemany(rows)
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except asyncpg.PostgresError as error:
        return f"{error.sqlstate} {type(error).__name__}"
    finally:
        await connection.close()
    return ""


def fill(path: Path, name: str, table: Table) -> None:
    """Make the source's table."""
    with closing(sqlite3.connect(path)) as connection:
        columns = ", ".join(f"c{n}" for n in range(len(table.types)))
        connection.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, {columns})")
        rows = [(n, *row) for n, row in enumerate(table.rows)]
        connection.executemany(f"INSERT INTO {name} VALUES (?{', ?' * len(table.types)})", rows)
        connection.commit()


SAME: dict[str, Callable[[Stored, object], bool]] = {
    "jsonb": lambda s, t: json.loads(str(s)) == json.loads(str(t)),
    "numeric": lambda s, t: float(str(s)) == float(str(t)),
    "date": lambda s, t: s == str(t),
    "interval": lambda _s, t: isinstance(t, timedelta),
}


async def compare(path: Path, database: Database, name: str, table: Table) -> None:
    """Compare one table's rows as Python sees them on either side."""
    columns = ", ".join(["id", *(f"c{n}" for n in range(len(table.types)))])
    with closing(sqlite3.connect(path)) as connection:
        stored = connection.execute(f"SELECT {columns} FROM {name} ORDER BY id").fetchall()
    arrived = await database.fetch(f"SELECT {columns} FROM {name} ORDER BY id")
    assert [row[0] for row in stored] == [row["id"] for row in arrived]
    for ours, theirs in zip(stored, arrived, strict=True):
        for kind, mine, other in zip(table.types, ours[1:], tuple(theirs)[1:], strict=True):
            alike = SAME[kind](mine, other) if kind in SAME and mine is not None else mine == other
            assert alike, (name, kind, mine, other)


# Tables that don't exist yet ---------------------------------------------------------------------------------------

DECLARED: dict[str, st.SearchStrategy[Stored]] = {
    "INTEGER": st.integers(-2, 12) | st.sampled_from([2**63 - 1, "12", "x"]),
    "TEXT": st.sampled_from(["", "a", "A", "é", "2", LONG[:2800], LONG]) | st.integers(0, 3),
    "BOOLEAN": st.sampled_from([0, 1, 1, 2]),
    "DECIMAL(4, 2)": st.sampled_from(["1", 7, "2.50", "12.345", 100]),
    "DATE": st.sampled_from(["2024-02-29", "2024-02-29", "0001-01-01", "2024-02-30"]),
    "DATETIME": st.sampled_from(["2024-02-29 12:00:00", "2024-02-29T12:00:00", "2024-02-29"]),
    "JSON": st.sampled_from(['{"a": 1}', "[1.0]", "null", "{"]),
    "UUID": st.sampled_from(["00000000-0000-0000-0000-000000000001", "00000000000000000000000000000001", "1"]),
    "": st.integers(0, 3) | st.sampled_from(["a", "b"]),
}
"""By what SQLite's column is declared as: values that arrive, and some that don't."""
GUARDS = (
    "CHECK ({c} > 0)",
    "CHECK (length({c}) < 4)",
    "CHECK ({c} IS NOT NULL)",
    "CHECK ({c} IN (0, 1, 2, 'a'))",
    "CHECK (json_valid({c}))",
    "UNIQUE ({c})",
    "UNIQUE ({c} COLLATE NOCASE)",
    "FOREIGN KEY ({c}) REFERENCES {other} (id)",
    "FOREIGN KEY ({c}) REFERENCES {other} ({c})",
)
INDEXES = ("CREATE INDEX {t}_i ON {t} ({c})", "CREATE UNIQUE INDEX {t}_i ON {t} (lower({c})) WHERE id > 1")


@dataclass(frozen=True, slots=True)
class TableDeclarations:
    """A table of SQLite's, and rows that need not keep to its constraints."""

    statements: tuple[str, ...]
    """With {t} for its name, and {other} for another table's."""
    rows: tuple[tuple[Stored, ...], ...]


@st.composite
def declared(draw: st.DrawFn) -> TableDeclarations:
    """Draw a table of up to three columns with some guards."""
    kinds = draw(st.lists(st.sampled_from(sorted(DECLARED)), min_size=1, max_size=3))
    some_column = st.integers(0, len(kinds) - 1).map("c{}".format)
    columns = [f"c{n} {kind}{draw(st.sampled_from(['', '', ' NOT NULL']))}" for n, kind in enumerate(kinds)]
    guards = [guard.replace("{c}", draw(some_column)) for guard in draw(st.lists(st.sampled_from(GUARDS), max_size=2))]
    table = f"CREATE TABLE {{t}} ({', '.join(['id INTEGER PRIMARY KEY', *columns, *guards])})"
    indexes = [one.replace("{c}", draw(some_column)) for one in draw(st.lists(st.sampled_from(INDEXES), max_size=1))]
    row = st.tuples(*(st.none() | DECLARED[kind] for kind in kinds))
    return TableDeclarations((table, *indexes), tuple(draw(st.lists(row, max_size=4))))


@pytest.mark.one_server
def test_whatever_check_accepts_run_makes_and_carries(
    database: Database, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    """With ``--schema create``, before a table exists: ``check`` and ``run`` end alike and say the same."""
    del environment  # cleaned, so that only what is given counts
    path = tmp_path / "random.db"

    @settings(
        max_examples=BATCHES * 4,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn=st.lists(declared(), min_size=1, max_size=3))
    def tried(drawn: list[TableDeclarations]) -> None:
        path.unlink(missing_ok=True)
        with capture_logs():
            asyncio.run(make_and_judge(path, database, drawn))

    tried()


async def make_and_judge(path: Path, database: Database, drawn: list[TableDeclarations]) -> None:
    """Hold ``run`` against ``check``, without and then with all that guards left out by name."""
    await database.execute("DROP SCHEMA IF EXISTS migrator CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for number, table in enumerate(drawn):
            name, other = f"t{number}", f"t{(number + 1) % len(drawn)}"
            for statement in table.statements:
                connection.execute(statement.replace("{t}", name).replace("{other}", other))
            marks = ", ?" * len(table.rows[0]) if table.rows else ""
            for n, row in enumerate(table.rows):
                connection.execute(f"INSERT OR IGNORE INTO {name} VALUES (?{marks})", (n, *row))
        connection.commit()
    first = await both(path, database, ())
    if isinstance(first, TargetRefused):
        missing: Any = first.facts["missing"]
        await both(path, database, tuple(one["leave_out"] for one in missing if "leave_out" in one))


async def both(path: Path, database: Database, leave_out: tuple[str, ...]) -> MigratorError | None:
    """Return what ``check`` and ``run`` end with, which has to be the same."""
    given = settings_of(path, database, schema_mode="create", leave_out=leave_out)
    found = await ended(check.check(given, Tracker()))
    assert not await database.fetch("SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    carried = await ended(run.run(given, Tracker()))
    assert (type(found), str(found)) == (type(carried), str(carried))
    event(type(found).__name__)
    return found


async def ended(command: Awaitable[CheckReport | Report]) -> MigratorError | None:
    """Return what a command ends with, or None for 0."""
    try:
        return (await command).failure
    except MigratorError as error:
        return error
