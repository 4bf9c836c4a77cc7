"""Sizes from the headers of pages: the rows are exact, and no row or table takes more bytes than they say."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import settings_of
from fix_postgres import Database

from migrator.planning.matching import make_plan
from migrator.planning.plan import TablePlan
from migrator.preflight import table_check
from migrator.preflight.table_check import measure_tables
from migrator.source.database import Source
from migrator.source.size import TableSize, stored_sizes
from migrator.target.database import Target

pytestmark = pytest.mark.one_server

LARGE = 200_000  # more than a page, so that the rest of the record is on overflow pages
FILES: dict[str, tuple[str, list[tuple[object, ...]]]] = {
    "text and bytes": ("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, b BLOB)", [("ä" * 9, b"\0" * 7), (None, None)]),
    "long": ("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, b BLOB)", [("x" * LARGE, None), (None, b"y" * LARGE)]),
    "numbers where text may be": (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v NUMERIC, b)",
        [(-(2**63), 2**62), (-1.2345678901234567e-300, 0)],
    ),
    "many levels": ("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, b BLOB)", [("abc" * 60, b"z")] * 9_000),
    "no rows": ("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, b BLOB)", []),
    "no alias of the rowid": ("CREATE TABLE t (id TEXT PRIMARY KEY, v TEXT, b BLOB)", [("v", b"b")] * 500),
    "without rowid": ("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, b BLOB) WITHOUT ROWID", [("v", b"b")] * 500),
    "generated": ("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT AS (hex(b)), b BLOB)", [(b"b" * 500,)]),
}


async def plan_of(path: Path, database: Database) -> tuple[Source, TablePlan]:
    """Return the source and the plan of its table."""
    source, target = Source(path), Target(settings_of(path, database).target)
    async with target.connect() as connection:
        described = await target.describe(connection, "public")
    [table] = make_plan(await source.describe(), described).tables
    await source.close()
    await target.close()
    return source, table


def fill(path: Path, definition: str, rows: list[tuple[object, ...]]) -> None:
    """Make the file with its table, and the rows, numbered from 0."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(definition)
        for number, row in enumerate(rows):
            columns = "id, b" if len(row) == 1 else "id, v, b"
            marks = ", ".join("?" * (len(row) + 1))
            connection.execute(f"INSERT INTO t ({columns}) VALUES ({marks})", (number, *row))
        connection.commit()


def both(source: Source, table: TablePlan, monkeypatch: pytest.MonkeyPatch) -> tuple[TableSize, TableSize]:
    """Return the size as that of a large file is measured, and the exact one, for which each value is looked at."""
    with source.session() as session:
        monkeypatch.setattr(table_check, "has_large_tables", lambda _session: True)
        [from_pages] = measure_tables(session, [table])
        monkeypatch.setattr(table_check, "has_large_tables", lambda _session: False)
        [exact] = measure_tables(session, [table])
    return from_pages, exact


@pytest.mark.parametrize("case", FILES)
async def test_no_row_is_larger_than_its_pages_say(
    sqlite_file: Path, database: Database, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Memory depends on it: a batch takes as many rows as the widest of them allows."""
    definition, rows = FILES[case]
    fill(sqlite_file, definition, rows)
    await database.execute("CREATE TABLE t (id text, v text, b bytea)")
    source, table = await plan_of(sqlite_file, database)
    from_pages, exact = both(source, table, monkeypatch)
    assert from_pages.rows == exact.rows == len(rows)
    assert from_pages.bytes >= exact.bytes
    assert from_pages.widest_row_bytes >= exact.widest_row_bytes
    assert from_pages.bytes <= 2 * exact.bytes + 100 * len(rows)  # and not so much more that batches are tiny


async def test_a_column_that_was_added_is_in_no_record(
    sqlite_file: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``ALTER TABLE ADD COLUMN`` leaves the rows as they are: the default stands in the schema, and counts for each."""
    fill(sqlite_file, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", [])
    with closing(sqlite3.connect(sqlite_file)) as connection:
        connection.executemany("INSERT INTO t VALUES (?, 'v')", [(n,) for n in range(100)])
        connection.execute(f"ALTER TABLE t ADD COLUMN b TEXT DEFAULT '{'d' * 3000}'")
        connection.commit()
    await database.execute("CREATE TABLE t (id int, v text, b text)")
    source, table = await plan_of(sqlite_file, database)
    from_pages, exact = both(source, table, monkeypatch)
    assert exact.widest_row_bytes > 3000
    assert from_pages.widest_row_bytes >= exact.widest_row_bytes
    assert from_pages.bytes >= exact.bytes


async def test_an_index_is_no_row(sqlite_file: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are counted in the table's own pages, also where an index has the table's name in another spelling."""
    fill(sqlite_file, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, b BLOB)", [("v", b"b")] * 777)
    with closing(sqlite3.connect(sqlite_file)) as connection:
        connection.execute("CREATE INDEX t_v ON t (v, b)")
        connection.execute("DELETE FROM t WHERE id % 3 = 0")
        connection.commit()
    await database.execute("CREATE TABLE t (id int, v text, b bytea)")
    source, table = await plan_of(sqlite_file, database)
    from_pages, exact = both(source, table, monkeypatch)
    assert from_pages.rows == exact.rows == 518
    with source.session() as session:
        assert set(stored_sizes(session, ["t", "t_v", "none"])) == {"t", "t_v"}
