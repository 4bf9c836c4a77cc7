"""
Random SQLite schemas with guards: after ``run --schema create`` has ended with 0, PostgreSQL holds what SQLite held.

The judge tries the same statements on both sides, each in a transaction that is rolled back: rows that break a key, a
CHECK or a foreign key, rows without the columns that have a default, and deletes of rows that others refer to. What
SQLite refuses PostgreSQL has to refuse, unless ``--leave-out`` has named the guard; what both accept has to leave the
same rows behind. ``MIGRATOR_TEST_BATCHES`` says how many schemas are tried; ``scripts/property.sh`` tries many.
"""

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_job import settings_of
from fix_postgres import Database
from hypothesis import HealthCheck, Phase, event, given, note, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from migrator.errors import MigratorError, TargetRefused
from migrator.job import run
from migrator.monitoring.tracker import Tracker
from migrator.names import quote_postgres

BATCHES = int(os.environ.get("MIGRATOR_TEST_BATCHES", "3"))
TRIALS = 12
"""The number of rows that are tried in each table."""

Stored = None | int | float | str | bytes

LONG = "aVeryLongNameOfAColumnThatPostgreSQLCutsBecauseItHasMoreThan63"
NAMES = ("n", "Name", "userID", "Order", "two words", "Ünï", f"{LONG}Letters", f"{LONG}Signs", "user", 'q"t')

KINDS: dict[str, st.SearchStrategy[Stored]] = {
    "INTEGER": st.integers(-1, 4),
    "INT": st.integers(0, 3),
    "TEXT": st.sampled_from(["", "a", "A", "b", "b ", "ab", "aB", "é", "É", "1"]),
    "VARCHAR(2)": st.sampled_from(["a", "A", "abc", "x"]),
    "REAL": st.sampled_from([0.0, 1.0, 1.5, -2.0]),
    "BOOLEAN": st.sampled_from([0, 1]),
    "NUMERIC": st.sampled_from([0, 1, 2.5]),
    "BLOB": st.sampled_from([b"", b"a", b"A"]),
    "DATETIME": st.sampled_from(["2024-01-01 00:00:00", "2024-01-02 00:00:00"]),
}
STRICT = ("INTEGER", "INT", "TEXT", "REAL", "BLOB")
GUARDS = (
    "CHECK ({a} > 0)",
    "CONSTRAINT Positive CHECK ({a} >= 0)",
    "CHECK ({a} IS NOT NULL OR {b} IS NOT NULL)",
    "CHECK ({a} <> {b})",
    "CHECK ({a} IN (1, 'a', 'b'))",
    "CHECK (length({a}) < 3)",
    "CHECK ({a} LIKE 'a%')",
    "CHECK ({a} COLLATE NOCASE <> 'B')",
    "CHECK (typeof({a}) = 'text')",
    "CHECK ({t}.{a} < 3)",
    "UNIQUE ({a})",
    "UNIQUE ({a}, {b})",
    "UNIQUE ({a} COLLATE NOCASE)",
    "UNIQUE ({a} DESC, {b} COLLATE RTRIM)",
    "UNIQUE ({a}) ON CONFLICT IGNORE",
    "FOREIGN KEY ({a}) REFERENCES {t} ({a})",
    "FOREIGN KEY ({a}) REFERENCES {p}",
    "FOREIGN KEY ({a}) REFERENCES {p} (code) ON DELETE SET NULL",
    "FOREIGN KEY ({a}) REFERENCES {p} (code) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
    "FOREIGN KEY ({a}, {b}) REFERENCES {p} (x, y) ON DELETE SET DEFAULT",
    "FOREIGN KEY ({a}) REFERENCES {p} (folded) ON UPDATE CASCADE",
)
COLUMN_GUARDS = (
    "",
    "",
    "NOT NULL",
    "UNIQUE",
    "NOT NULL ON CONFLICT FAIL",
    "COLLATE NOCASE",
    "COLLATE NOCASE UNIQUE",
    "COLLATE RTRIM NOT NULL UNIQUE",
    "DEFAULT 1",
    "NOT NULL DEFAULT 'a'",
    "DEFAULT (1 + 1) NOT NULL",
    "CHECK ({c} <> 2)",
    "NOT NULL CHECK (length({c}) > 0)",
    "REFERENCES {p} (code)",
    "CONSTRAINT nn NOT NULL CONSTRAINT uq UNIQUE",
)
GENERATED = ("INT AS ({a} + 1) STORED", "TEXT AS ({a} || 'x') VIRTUAL UNIQUE", "INT AS (length({a})) CHECK ({g} < 3)")
INDEXES = (
    "CREATE UNIQUE INDEX {i} ON {t} ({a})",
    "CREATE UNIQUE INDEX {i} ON {t} ({a} DESC, {b})",
    "CREATE UNIQUE INDEX {i} ON {t} ({a} COLLATE NOCASE)",
    "CREATE UNIQUE INDEX {i} ON {t} (lower({a}))",
    "CREATE UNIQUE INDEX {i} ON {t} ({a}) WHERE {b} IS NOT NULL",
    "CREATE UNIQUE INDEX {i} ON {t} ({b}) WHERE {a} > 0",
    "CREATE UNIQUE INDEX {i} ON {t} (coalesce({a}, 0))",
    "CREATE UNIQUE INDEX {i} ON {t} ({a} || {b})",
)
INDEX_NAMES = ("{t}_i", "{t}_pkey", "Ix", "p", f"ix_{LONG}_a_{{t}}", f"ix_{LONG}_b_{{t}}", "{t}_n_key", "p_code_key")
KEYS = (
    "id INTEGER PRIMARY KEY",
    "id INTEGER PRIMARY KEY AUTOINCREMENT",
    "id INTEGER PRIMARY KEY DESC",
    "id INT PRIMARY KEY",
    "id TEXT PRIMARY KEY COLLATE NOCASE",
    "id INTEGER NOT NULL",
)
PARENT = (
    "CREATE TABLE p (id INTEGER PRIMARY KEY, code INT UNIQUE, x INT, y TEXT, folded TEXT COLLATE NOCASE,"
    "UNIQUE (x, y));"
    "CREATE UNIQUE INDEX p_folded ON p (folded); INSERT INTO p VALUES (1, 1, 1, 'a', 'a'), (2, 2, 2, 'b', 'b')"
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of SQLite's with guards, rows to try first, and rows to try after the run."""

    statements: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[Stored, ...], ...]
    tried: tuple[tuple[tuple[str, ...], tuple[Stored, ...]], ...]
    """Columns and values of rows for the judge."""


@st.composite
def spelled(draw: st.DrawFn, name: str) -> str:
    """Return a column's name as a statement of SQLite's may spell it."""
    spellings = [f'"{name.replace(chr(34), chr(34) * 2)}"', f"[{name}]", f"`{name}`"]
    if name.isidentifier() and name.isascii() and name.lower() != "order":
        spellings += [name, name.upper(), name.lower()]
    return draw(st.sampled_from(spellings))


@st.composite
def tables(draw: st.DrawFn, name: str) -> Table:
    """Draw a table of one to three columns, and its guards."""
    strict = draw(st.booleans()) and draw(st.booleans())
    kinds = draw(st.lists(st.sampled_from(STRICT if strict else sorted(KINDS)), min_size=2, max_size=3))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=len(kinds), max_size=len(kinds), unique=True))
    if f"{LONG}Letters" in names and f"{LONG}Signs" in names:
        names = [f"c{number}" for number in range(len(kinds))]

    def column() -> str:
        return draw(spelled(draw(st.sampled_from(names))))

    def filled(guard: str) -> str:
        return guard.replace("{a}", column()).replace("{b}", column()).replace("{t}", name).replace("{p}", "p")

    key = draw(st.sampled_from(KEYS))
    lines = [key.replace("id INT ", "id TEXT ") if strict and "COLLATE" in key else key]
    for own, kind in zip(names, kinds, strict=True):
        guard = draw(st.sampled_from(COLUMN_GUARDS)).replace("{p}", "p").replace("{c}", draw(spelled(own)))
        lines.append(f"{_quoted(own)} {kind} {guard}")
    generated = draw(st.sampled_from((*GENERATED, "", "", "")))
    if generated:
        lines.append(f"G {filled(generated).replace('{g}', 'g')}")
    lines += [filled(guard) for guard in draw(st.lists(st.sampled_from(GUARDS), max_size=2, unique=True))]
    options = [word for word in ("STRICT" if strict else "",) if word]
    if "PRIMARY KEY" in key and "AUTOINCREMENT" not in key and draw(st.booleans()):
        options.append("WITHOUT ROWID")
    statements = [f"CREATE TABLE {name} ({', '.join(lines)}) {', '.join(options)}"]
    for index in draw(st.lists(st.sampled_from(INDEXES), max_size=2)):
        index_name = draw(st.sampled_from(INDEX_NAMES)).replace("{t}", name)
        statements.append(filled(index).replace("{i}", f'"{index_name}"'))
    id_values: st.SearchStrategy[Stored] = st.sampled_from(["a", "A", "b"]) if "TEXT" in key else st.integers(1, 5)
    row = st.tuples(id_values, *(st.none() | KINDS[kind] | KINDS[kind] for kind in kinds))
    some = st.lists(st.integers(0, len(kinds)), min_size=1, max_size=len(kinds) + 1, unique=True)
    tried = []
    for chosen, values in zip(
        draw(st.lists(some, min_size=TRIALS, max_size=TRIALS)),
        draw(st.lists(row, min_size=TRIALS, max_size=TRIALS)),
        strict=True,
    ):
        places = sorted(chosen) if draw(st.booleans()) else range(len(kinds) + 1)
        all_names = ("id", *names)
        tried.append((tuple(all_names[at] for at in places), tuple(values[at] for at in places)))
    return Table(tuple(statements), ("id", *names), tuple(draw(st.lists(row, max_size=3))), tuple(tried))


def _quoted(name: str) -> str:
    return f'"{name.replace(chr(34), chr(34) * 2)}"'


@pytest.mark.one_server
def test_what_sqlite_refuses_postgresql_refuses(
    database: Database, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    """Whatever guards a table in SQLite guards it in PostgreSQL, or was named; and defaults store the same."""
    del environment  # cleaned, so that only what is given counts
    path = tmp_path / "random.db"

    @settings(
        max_examples=BATCHES * 2,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn=st.tuples(*(tables(f"t{number}") for number in range(6))))
    def tried(drawn: tuple[Table, ...]) -> None:
        path.unlink(missing_ok=True)
        with capture_logs():
            asyncio.run(move_and_judge(path, database, drawn))

    tried()


async def move_and_judge(path: Path, database: Database, drawn: Sequence[Table]) -> None:
    """Make the tables that SQLite accepts, move them, and compare what both sides refuse."""
    await database.execute("DROP SCHEMA IF EXISTS migrator CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    made: dict[str, Table] = {}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(PARENT)
        for number, table in enumerate(drawn):
            connection.execute("BEGIN")
            try:
                for statement in table.statements:
                    connection.execute(statement)
            except sqlite3.OperationalError as error:  # an index on what isn't there, a name that is taken
                connection.execute("ROLLBACK")
                event(f"not accepted by SQLite: {str(error)[:40]}")
                continue
            for row in table.rows:
                _insert(connection, f"t{number}", (table.columns, row))
            connection.execute("COMMIT")
            made[f"t{number}"] = table
    left_out: tuple[str, ...] = ()
    given_settings: dict[str, Any] = {"schema_mode": "create"}
    for _ in range(3):
        found = await _ended(path, database, given_settings | {"leave_out": left_out})
        if not isinstance(found, TargetRefused):
            break
        missing: Any = found.facts["missing"]
        left_out += tuple(one["leave_out"] for one in missing if "leave_out" in one)
        assert any("leave_out" in one for one in missing), found
    if found is not None:
        event(type(found).__name__)
        return  # values that the guards or types don't take; other tests are about these
    event("moved")
    without = [name for name in made if _is_without(name, left_out)]
    await _drop(path, database, without)
    await _judge(path, database, {name: table for name, table in made.items() if name not in without})


def _is_without(name: str, left_out: Sequence[str]) -> bool:
    return any(handle.startswith(f"{name}.") for handle in left_out)


async def _drop(path: Path, database: Database, names: Sequence[str]) -> None:
    """Take the tables that have lost a guard, as was agreed to, out of both sides: their keys refuse no delete then."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for name in names:
            connection.execute(f"DROP TABLE {name}")
    for name in names:
        await database.execute(f"DROP TABLE {name} CASCADE")


async def _ended(path: Path, database: Database, given_settings: dict[str, Any]) -> MigratorError | None:
    try:
        await run.run(settings_of(path, database, **given_settings), Tracker())
    except MigratorError as error:
        return error
    return None


def _insert(connection: sqlite3.Connection, name: str, row: tuple[tuple[str, ...], tuple[Stored, ...]]) -> str:
    """Insert a row into SQLite's table; return the error, or nothing."""
    listed, places = ", ".join(map(_quoted, row[0])), ", ".join("?" * len(row[0]))
    try:
        connection.execute(f"INSERT INTO {name} ({listed}) VALUES ({places})", row[1])
    except sqlite3.IntegrityError as error:
        return str(error)
    return ""


async def _judge(path: Path, database: Database, made: dict[str, Table]) -> None:
    there = await asyncpg.connect(database.url)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            for name, table in made.items():
                with suppress(sqlite3.OperationalError):  # a foreign key to no key: SQLite refuses every change
                    for row in table.tried:
                        await _judge_insert(connection, there, name, row, table)
                    await _judge_deletes(connection, there, name, table)
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
    finally:
        await there.close()


async def _judge_insert(
    connection: sqlite3.Connection,
    there: asyncpg.Connection,
    name: str,
    row: tuple[tuple[str, ...], tuple[Stored, ...]],
    table: Table,
) -> None:
    statement = f"INSERT INTO {name} ({', '.join(map(quote_postgres, map(_cut, row[0])))}) VALUES ({_literals(row[1])})"
    connection.execute("BEGIN")
    refused = _insert(connection, name, row) or _broken_keys(connection, name)
    ignored = not refused and not connection.execute("SELECT changes()").fetchone()[0]
    stored = connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
    values = _last(connection, name, row[0]) if not refused and not ignored else None
    connection.execute("ROLLBACK")
    transaction = there.transaction()
    await transaction.start()
    try:
        await there.execute(statement)
        await there.execute("SET CONSTRAINTS ALL IMMEDIATE")
        accepted = True
        count = await there.fetchval(f"SELECT count(*) FROM {name}")
        theirs = await _last_there(there, name, row[0], table)
    except asyncpg.PostgresError:
        accepted = False
    finally:
        await transaction.rollback()
    note(f"{table.statements} {statement}")
    if refused.startswith("cannot store") and refused.split(".")[-1] not in row[0]:
        return  # a STRICT table whose default no row of its own can hold guards nothing
    assert not (accepted and (refused or ignored)), (refused, table.statements, statement)
    if accepted:
        assert stored == count, ("rows", stored, count, table.statements, statement)
        assert values is None or theirs is None or values == theirs, (table.statements, statement, values, theirs)


def _broken_keys(connection: sqlite3.Connection, name: str) -> str:
    """Return what a COMMIT would be refused for: deferred foreign keys of a table."""
    broken = connection.execute(f"PRAGMA foreign_key_check({name})").fetchall()
    return f"foreign keys of {broken[0][0]}" if broken else ""


def _cut(name: str) -> str:
    return name.encode()[:63].decode(errors="ignore")


def _literals(values: Sequence[Stored]) -> str:
    return ", ".join(
        "NULL"
        if value is None
        else f"'\\x{value.hex()}'"
        if isinstance(value, bytes)
        else "'" + str(value).replace("'", "''") + "'"
        for value in values
    )


def _last(connection: sqlite3.Connection, name: str, given_columns: Sequence[str]) -> tuple[str, ...] | None:
    """Return the columns of the inserted row that the statement left out, as text."""
    try:
        cursor = connection.execute(f"SELECT * FROM {name} WHERE rowid = last_insert_rowid()")
    except sqlite3.OperationalError:
        return None  # WITHOUT ROWID
    [row] = cursor.fetchall()
    names = [column[0] for column in cursor.description]
    return _spelled({n: v for n, v in zip(names, row, strict=True) if n not in given_columns and n.lower() != "id"})


async def _last_there(
    there: asyncpg.Connection, name: str, given_columns: Sequence[str], table: Table
) -> tuple[str, ...] | None:
    if "WITHOUT ROWID" in table.statements[0]:
        return None
    [row] = await there.fetch(f"SELECT * FROM {name} ORDER BY xmin::text::bigint DESC, ctid DESC LIMIT 1")
    cut_names = {_cut(one) for one in given_columns}
    return _spelled({n: v for n, v in row.items() if n not in cut_names and n.lower() != "id"})


def _spelled(values: dict[str, object]) -> tuple[str, ...]:
    """Return values as texts that are equal for equal numbers and bytes, whichever type each side has for them."""
    return tuple(
        str(float(value))
        if isinstance(value, bool | int | float | Decimal)
        else value.decode()  # a default of a BLOB column that is a text: bytea holds its bytes
        if isinstance(value, bytes)
        else str(value)
        for value in values.values()
    )


async def _judge_deletes(connection: sqlite3.Connection, there: asyncpg.Connection, name: str, table: Table) -> None:
    """Delete each row of the parent and of the table; both sides refuse it, or are left with as many rows."""
    for parent, key in (("p", 1), ("p", 2)):
        connection.execute("BEGIN")
        try:
            connection.execute(f"DELETE FROM {parent} WHERE id = ?", (key,))
            refused = _broken_keys(connection, name)
        except sqlite3.IntegrityError as error:
            refused = str(error)
        left = connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
        connection.execute("ROLLBACK")
        transaction = there.transaction()
        await transaction.start()
        try:
            await there.execute(f"DELETE FROM {parent} WHERE id = {key}")
            await there.execute("SET CONSTRAINTS ALL IMMEDIATE")
            accepted = True
            count = await there.fetchval(f"SELECT count(*) FROM {name}")
        except asyncpg.PostgresError:
            accepted = False
        finally:
            await transaction.rollback()
        assert not (accepted and refused), (refused, table.statements)
        assert not accepted or left == count, (table.statements, parent, key)
