"""Pieces of a table: every row is in one of them, whatever the key is like, and none is too large."""

import sqlite3
from contextlib import closing

import pytest
from fix_sqlite import MakeSqlite

from migrator.names import TableName
from migrator.source.chunks import WHOLE_TABLE, chunk_size, split_into_chunks
from migrator.source.database import Source
from migrator.source.size import TableSize

ROWS = 1000
FILL = f"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) INSERT INTO t"
TABLES = {
    "rowid": f"CREATE TABLE t (a TEXT); {FILL} SELECT i FROM n",
    "gaps and negative keys": f"CREATE TABLE t (id INTEGER PRIMARY KEY); {FILL} SELECT i * i - 5000 FROM n",
    "reversed key": f"CREATE TABLE t (a TEXT, b INTEGER, PRIMARY KEY (b, a)) WITHOUT ROWID; "
    f"{FILL} SELECT 'it''s ' || i, i % 7 FROM n",
    "mixed classes": f"CREATE TABLE t (a PRIMARY KEY) WITHOUT ROWID; "
    f"{FILL} SELECT CASE i % 4 WHEN 0 THEN i WHEN 1 THEN i / 3.0 + 0.1 WHEN 2 THEN 'x' || i "
    "ELSE CAST('b' || i AS BLOB) END FROM n",
    "blind to case": f"CREATE TABLE t (a TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID; "
    f"{FILL} SELECT char(65 + i % 2 * 32) || i FROM n",
    "backwards": f"CREATE TABLE t (a INTEGER, PRIMARY KEY (a DESC)) WITHOUT ROWID; {FILL} SELECT i FROM n",
}


@pytest.mark.parametrize("script", TABLES.values(), ids=TABLES)
async def test_every_row_is_in_one_piece(make_sqlite: MakeSqlite, script: str) -> None:
    """The pieces' conditions part the table: together all rows, none twice, and none far larger than it should be."""
    path = make_sqlite(script)
    source = Source(path)
    [table] = (await source.describe()).tables
    table_size = TableSize(TableName("public", "t"), ROWS, ROWS * 10, 10)
    with source.session() as session:
        pieces = split_into_chunks(session, table, table_size, 900)
    await source.close()
    assert len(pieces) > 10
    assert len(set(pieces)) == len(pieces)
    with closing(sqlite3.connect(path)) as connection:
        wheres = [piece.where(table) for piece in pieces]
        counts = [connection.execute(f"SELECT count(*) FROM t WHERE {where}").fetchone()[0] for where in wheres]
        memberships = " + ".join(f"({where})" for where in wheres)
        stray = connection.execute(f"SELECT count(*) FROM t WHERE ({memberships}) IS NOT 1").fetchone()[0]
    assert sum(counts) == ROWS
    assert max(counts) == 90
    assert stray == 0


@pytest.mark.parametrize(
    "script",
    ["CREATE TABLE t (a TEXT)", "CREATE TABLE t (rowid TEXT, oid TEXT, _rowid_ TEXT); INSERT INTO t VALUES (1, 2, 3)"],
    ids=["empty", "no key to walk along"],
)
async def test_a_table_that_is_one_piece(make_sqlite: MakeSqlite, script: str) -> None:
    """Its piece has no bounds and no condition."""
    source = Source(make_sqlite(script))
    [table] = (await source.describe()).tables
    with source.session() as session:
        pieces = split_into_chunks(session, table, TableSize(TableName("public", "t"), 1, 10_000, 10), 1)
    await source.close()
    assert pieces == (WHOLE_TABLE,)
    assert not WHOLE_TABLE.where(table)


@pytest.mark.parametrize(
    ("size", "total", "jobs", "expected"),
    [
        (10 << 30, 40 << 30, 4, 256 << 20),
        (10 << 30, 10 << 30, 1, 256 << 20),
        (10 << 30, 10 << 30, 4, 256 << 20),
        (600 << 20, 1000 << 20, 2, 75 << 20),
        (80 << 20, 100 << 20, 2, 16 << 20),
        (0, 0, 4, 256 << 20),
    ],
    ids=["one of many", "one hand", "larger than all", "most of all", "not too small", "empty"],
)
def test_how_large_pieces_are(size: int, total: int, jobs: int, expected: int) -> None:
    """As large as is asked for, but smaller where a table is so large that other hands would wait for its own."""
    table_size = TableSize(TableName("public", "t"), 0, size, 1)
    assert chunk_size(table_size, total, jobs, 256 << 20) == expected
