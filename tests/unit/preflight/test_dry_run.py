"""The quick pass of preflight: what comes through it holds nothing that the closer look would have found."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite, Rows
from msgspec.structs import replace
from type_probes import PROBES

from migrator.catalog.keys import Keys
from migrator.planning.matching import make_plan
from migrator.planning.plan import Plan, TablePlan
from migrator.preflight.dry_run import dry_run
from migrator.preflight.table_check import TableCheck, TableChecker, measure_tables
from migrator.runtime.limits import ExampleOptions
from migrator.source.database import Source
from migrator.source.scan import ScanSession
from migrator.target.database import Target
from migrator.target.server_types import ServerTypes
from migrator.verification import digest

pytestmark = pytest.mark.one_server

TYPES = {
    "smallint": 7,
    "integer": 7,
    "bigint": 7,
    "boolean": 1,
    "real": 0.5,
    "double precision": 0.1,
    "numeric(12, 2)": 12.5,
    "numeric(20, 4)": 12.5,
    "text": "ä",
    "varchar(30)": "ä",
    "char(5)": "ä",
    "bytea": b"\0",
    "date": "2024-02-29",
    "time": "12:34:56",
    "timestamp": "2024-02-29 12:34:56",
    "timestamp(3)": "2024-02-29 12:34:56.789",
    "timestamptz": "2024-02-29 12:34:56.789012",
    "json": "[1, 2]",
    "jsonb": '{"a": 1}',
    "uuid": "97033619-6371-4874-8591-279e78663470",
    "mood": "ok",
}
"""Types, each with a value that is usual for it."""

BATCH_BYTES = 100  # a few rows
STRAYS = [value for values in PROBES.values() for value in values.values()] + [
    2**53 + 1,
    float(2**53 + 2),
    123456789012.34,
    0.1 + 0.2,
    -0.0,
    1e300,
    "97033619637148748591279e78663470",
    "97033619-6371-4874-8591-279e7866\x00123",
    "z" * 36,
    "z" * 16,
    "2024-02-29 12",
    "2024-02-29 24:00:00",
    "2024-02-29 12:34:56.1234567",
    '{"a": 1, "a": 2}',
    b"2024-02-29",
    b"{}",
    b"ok",
]


@pytest.fixture
async def tables(database: Database, sqlite_file: Path) -> tuple[Source, Target, Plan]:
    """Give a plan of one column a type, of a source table that every test fills anew."""
    await database.execute("CREATE TYPE mood AS ENUM ('ok', 'bad')")
    columns = ", ".join(f"c{i} {declared}" for i, declared in enumerate(TYPES))
    await database.execute(f"CREATE TABLE t (id bigint, {columns})")
    with closing(sqlite3.connect(sqlite_file)) as connection:
        connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(f'c{i}' for i in range(len(TYPES)))})")
    source, target = Source(sqlite_file), Target(settings_of(sqlite_file, database).target)
    async with target.connect() as connection:
        described = await target.describe(connection, "public")
    plan = make_plan(await source.describe(), described)
    await source.close()
    await target.close()
    return source, target, plan


def columns(table: TablePlan, *, beside_number: bool = False) -> Iterator[tuple[str, TablePlan]]:
    """Yield a plan of its own for each column, with its declared type; ``beside_number`` adds the table's number."""
    number, *others = table.columns
    for declared, column in zip(TYPES, others, strict=True):
        yield declared, replace(table, columns=(number, column) if beside_number else (column,))


def look(session: ScanSession, target: Target, table: TablePlan, *, quickly: bool = True) -> TableCheck:
    """Check a table, after the dry run or without it."""
    [table_size], example_options = measure_tables(session, [table]), ExampleOptions(3, mask_values=False)
    [known_digest] = dry_run(session, [(table, table_size)], BATCH_BYTES) if quickly else [None]
    with ServerTypes(target.address, table.name) as server_types:
        checker = TableChecker(session, {table.name: table}, table, Keys(), server_types, BATCH_BYTES, example_options)
        return checker.check(table_size, known_digest)


@pytest.mark.parametrize(("place", "beside_number"), [("first", False), ("last", False), ("last", True)])
async def test_nothing_comes_through_that_the_closer_look_refuses(
    tables: tuple[Source, Target, Plan], place: str, *, beside_number: bool
) -> None:
    """
    Wherever among usual values the odd one stands, in the driver's first batch or in a later one.

    Beside a number the guards stop the driver in its column, else they have one of their own.
    """
    source, target, plan = tables
    [table] = plan.tables
    came_through = []
    # Only numbers and BLOBs are another matter in the first batch, from which the driver takes a lane's type.
    strays = [stray for stray in STRAYS if place == "last" or isinstance(stray, int | float | bytes)]
    for stray in strays:
        fill(source.path, stray, place)
        with source.session() as session:
            quick = [
                (declared, alone, look(session, target, alone))
                for declared, alone in columns(table, beside_number=beside_number)
            ]
            sound = [(declared, alone) for declared, alone, found in quick if found.known_digest is not None]
            for declared, alone in sound:
                assert not look(session, target, alone, quickly=False).findings, (declared, stray)
            came_through += sound
    assert len(came_through) > len(strays)


def fill(path: Path, stray: Any, place: str) -> None:  # noqa: ANN401 - any value
    """Put one odd value into every column, before or behind more usual ones than a batch takes."""
    text = stray[1] if isinstance(stray, tuple) else None
    odd = [text if text is not None else stray] * len(TYPES)
    usual = [list(TYPES.values())] * 20
    rows = [odd, *usual] if place == "first" else [*usual, odd]
    cast = "CAST(? AS TEXT)" if text is not None else "?"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM t")
        for row in rows:
            marks = ", ".join([cast if row is odd else "?"] * len(TYPES))
            connection.execute(f"INSERT INTO t VALUES (NULL, {marks})", row)
        connection.commit()


async def test_usual_values_come_through(tables: tuple[Source, Target, Plan]) -> None:
    """The quick pass is not in vain: a column of usual values, and missing ones, needs no closer look."""
    source, _, plan = tables
    [table] = plan.tables
    fill(source.path, None, "last")
    with source.session() as session:
        for declared, alone in columns(table):
            [passed] = dry_run(session, list(zip([alone], measure_tables(session, [alone]), strict=True)), BATCH_BYTES)
            assert passed is not None, declared


async def test_the_digest_is_that_of_the_source(tables: tuple[Source, Target, Plan]) -> None:
    """What is digested in passing is what verification would have read, one column and all together."""
    source, target, plan = tables
    [table] = plan.tables
    fill(source.path, None, "first")
    with source.session() as session:
        for alone in (table, *(one for _, one in columns(table))):
            [passed] = dry_run(session, list(zip([alone], measure_tables(session, [alone]), strict=True)), BATCH_BYTES)
            assert passed is not None
            assert passed.digest == digest.of_source(session, target.address, passed.comparison)


async def test_what_only_the_comparison_can_not_read(
    tables: tuple[Source, Target, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB may read a value otherwise than copier and PostgreSQL do: that is no reason to refuse it, or to fail."""
    source, target, plan = tables
    [table] = plan.tables
    fill(source.path, None, "last")

    def fail(*_: object) -> None:
        raise duckdb.InvalidInputException

    monkeypatch.setattr(digest, "of_source_rows", fail)
    with source.session() as session:
        found = look(session, target, table)
    assert (found.known_digest, found.findings) == (None, ())


@pytest.mark.parametrize("strange", [None, b"no text"])
async def test_small_tables_of_one_shape_go_together(
    make_sqlite: MakeSqlite, database: Database, read_alone: list[str], strange: bytes | None
) -> None:
    """Each has the digest that it has alone; one with a value that needs a closer look leaves the others alone."""
    names = ("a", "b", "empty", "c", "other")
    script = "".join(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, t TEXT);" for name in names)
    rows: Rows = {"a": [(1, "x"), (2, None)], "b": [(1, "x"), (2, strange)], "c": [(1, "y")], "other": [(1, "1")]}
    source = Source(make_sqlite(script, rows))
    for name in names:
        await database.execute(f"CREATE TABLE {name} (id int, t {'varchar(9)' if name == 'other' else 'text'})")
    target = Target(settings_of(source.path, database).target)
    async with target.connect() as connection:
        plan = make_plan(await source.describe(), await target.describe(connection, "public"))
    with source.session() as session:
        found = dry_run(session, list(zip(plan.tables, measure_tables(session, plan.tables), strict=True)), BATCH_BYTES)
        assert sorted(read_alone) == (sorted(names) if strange else ["other"])
        by_name = {table.source.name: one for table, one in zip(plan.tables, found, strict=True)}
        if strange:
            assert by_name.pop("b") is None
        for name, one in by_name.items():
            assert one is not None, name
            assert one.digest == digest.of_source(session, target.address, one.comparison), name
            assert one.digest.rows == len(rows.get(name, ()))
    await source.close()
    await target.close()


async def test_one_that_only_the_comparison_can_not_read_leaves_the_others_alone(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where DuckDB fails over several tables, each is tried by itself."""
    source = Source(make_sqlite("CREATE TABLE a (t TEXT); CREATE TABLE b (t TEXT)", {"a": [("x",)], "b": [("y",)]}))
    await database.execute("CREATE TABLE a (t text); CREATE TABLE b (t text)")
    target = Target(settings_of(source.path, database).target)
    async with target.connect() as connection:
        plan = make_plan(await source.describe(), await target.describe(connection, "public"))

    def fail(*_: object) -> None:
        raise duckdb.InvalidInputException

    monkeypatch.setattr(digest, "of_parts", fail)
    with source.session() as session:
        found = dry_run(session, list(zip(plan.tables, measure_tables(session, plan.tables), strict=True)), BATCH_BYTES)
    assert [one.digest.rows for one in found if one] == [1, 1]
    await source.close()
    await target.close()


async def test_a_missing_value_where_one_must_be(make_sqlite: MakeSqlite, database: Database) -> None:
    """NULL under NOT NULL needs the closer look."""
    source = Source(make_sqlite("CREATE TABLE t (a)", {"t": [(1,), (None,)]}))
    await database.execute("CREATE TABLE t (a int NOT NULL)")
    target = Target(settings_of(source.path, database).target)
    async with target.connect() as connection:
        plan = make_plan(await source.describe(), await target.describe(connection, "public"))
    [table] = plan.tables
    with source.session() as session:
        [finding] = look(session, target, table).findings
    assert "missing" in finding.reason
    await source.close()
    await target.close()
