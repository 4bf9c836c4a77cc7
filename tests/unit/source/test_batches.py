"""Batches: bounded in bytes whatever the rows are like, and together the whole table."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from fix_sqlite import MakeSqlite

from migrator.names import TableName
from migrator.source.batches import MOST_ROWS, SKEW, ScanRequest, is_skewed, rows_per_batch, scan
from migrator.source.database import Source
from migrator.source.scan import ScanColumn, StorageClass
from migrator.source.schema import SourceTable
from migrator.source.size import TableSize

NAME = TableName("public", "t")
BUDGET = 1 << 20
LANES = (ScanColumn("id", StorageClass.INTEGER), ScanColumn("body", StorageClass.BLOB))


def table_size(rows: int, size: int, widest: int) -> TableSize:
    """Return a profile."""
    return TableSize(NAME, rows, size, widest)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (table_size(0, 0, 0), 1),
        (table_size(10_000_000, 80_000_000, 8), MOST_ROWS),
        (table_size(1000, 1_024_000, 1024), 1024),
        (table_size(10, 50 << 20, 5 << 20), 1),
        (table_size(1000, 1_000_000 + (3 << 20), 3 << 20), SKEW * BUDGET // (3 << 20)),
    ],
    ids=["empty", "narrow", "even", "wider than the budget", "one wide row"],
)
def test_rows_per_batch(given: TableSize, expected: int) -> None:
    """The usual row fills the budget, and rows as wide as the widest stay within a few budgets."""
    assert rows_per_batch(given, BUDGET) == expected


async def table_of(path: Path) -> tuple[Source, SourceTable]:
    """Return the source and its one table."""
    source = Source(path)
    [table] = (await source.describe()).tables
    await source.close()
    return source, table


async def sizes(path: Path, scan_columns: Sequence[ScanColumn], budget: int) -> tuple[list[int], list[int], TableSize]:
    """Return the bytes of every batch, all ids in the order they came, and the table's profile."""
    source, table = await table_of(path)
    with source.session() as session:
        [found] = session.ask(
            "SELECT count(*) AS n, coalesce(sum(8 + octet_length(body)), 0) AS s, "
            "coalesce(max(8 + octet_length(body)), 0) AS w FROM t"
        )
        seen = table_size(found["n"], found["s"], found["w"])
        batches = list(scan(session, ScanRequest(table, scan_columns, seen, budget)))
    ids = [row for batch in batches for row in batch.column(0).to_pylist()]
    return [sum(map(len, (body for body in batch.column(1).to_pylist() if body))) for batch in batches], ids, seen


WIDTHS = {
    "all 5 MB": [5_000_000] * 6,
    "one wide": [100] * 3000 + [5_000_000] + [100] * 3000,
    "wide ones together": [10] * 2000 + [900_000] * 5 + [10] * 2000,
    "growing": [2**power for power in range(21)] * 2,
    "empty values": [0] * 5000,
    "no rows": [],
}


@pytest.mark.parametrize("shape", WIDTHS)
async def test_no_batch_is_much_larger_than_the_budget(make_sqlite: MakeSqlite, shape: str) -> None:
    """Whatever the widths: at most a few budgets, or one and a wide row; and every row comes exactly once."""
    widths = WIDTHS[shape]
    path = make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)", {"t": [(i, b"x" * w) for i, w in enumerate(widths)]}
    )
    found, ids, _ = await sizes(path, LANES, BUDGET)
    assert max(found, default=0) <= max(SKEW * BUDGET, BUDGET + max(widths, default=0))
    assert sorted(ids) == list(range(len(widths)))


async def test_a_skewed_table_is_not_read_in_tiny_pieces(make_sqlite: MakeSqlite) -> None:
    """One wide row among many narrow ones costs a batch or two, not thousands."""
    rows = [(i, b"x" * 10) for i in range(20_000)]
    rows[7777] = (7777, b"x" * 4_000_000)
    path = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)", {"t": rows})
    found, ids, seen = await sizes(path, LANES, BUDGET)
    assert is_skewed(seen, BUDGET)
    assert len(found) < 10
    assert ids == list(range(20_000))


async def test_gaps_and_negative_rowids(make_sqlite: MakeSqlite) -> None:
    """Ranges are of the rowids there are, to the ends of 64 bits."""
    ids = [-(2**63), -5, 0, 3, 10**12, 2**63 - 1]
    rows = [(i, b"x" * 10) for i in ids] + [(50, b"x" * 9_000_000)] + [(i, b"") for i in range(100, 30_000)]
    path = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)", {"t": rows})
    _, found, seen = await sizes(path, LANES, BUDGET)
    assert is_skewed(seen, BUDGET)
    assert sorted(found) == sorted(i for i, _ in rows)


@pytest.mark.parametrize(
    "columns",
    ["id INTEGER, body BLOB, PRIMARY KEY (id)) WITHOUT ROWID", "id, body, rowid, _rowid_, oid)"],
    ids=["without rowid", "names taken"],
)
async def test_a_skewed_table_without_a_name_for_its_rowid(make_sqlite: MakeSqlite, columns: str) -> None:
    """There are no ranges then: batches are small instead, and stay in bounds."""
    path = make_sqlite(f"CREATE TABLE t ({columns}")
    with sqlite3.connect(path) as connection:
        connection.executemany("INSERT INTO t (id, body) VALUES (?, ?)", [(i, b"x" * 10) for i in range(3000)])
        connection.execute("INSERT INTO t (id, body) VALUES (9999, zeroblob(4000000))")
    connection.close()
    found, ids, _ = await sizes(path, LANES, BUDGET)
    assert max(found) <= SKEW * BUDGET
    assert len(set(ids)) == 3001
