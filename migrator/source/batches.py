"""
Cuts a table into batches, by bytes and not only by rows: memory doesn't depend on how wide the rows are.

The driver counts rows. Where all rows are of about one width, a number of rows is a number of bytes. Where a few rows
are far wider than the rest, SQLite adds up the widths and returns the ranges of rowids that make a batch each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from migrator.source.scan import ScanColumn, ScanSession
from migrator.source.schema import SourceTable
from migrator.source.size import TableSize

MOST_ROWS = 65_536
"""Per batch, however narrow: more gained nothing and made the first rows arrive later."""

SKEW = 4
"""How many times its share of memory a batch may take if all its rows were as wide as the widest."""


@dataclass(frozen=True, slots=True)
class _Range:
    first: int
    last: int
    count: int


def rows_per_batch(table_size: TableSize, batch_bytes: int) -> int:
    """Return a number of rows that stays within ``SKEW`` times ``batch_bytes``, whichever rows come together."""
    if not table_size.rows:
        return 1
    usual = batch_bytes // max(table_size.bytes // table_size.rows, 1)
    at_worst = SKEW * batch_bytes // max(table_size.widest_row_bytes, 1)
    return max(1, min(usual, at_worst, MOST_ROWS))


def is_skewed(table_size: TableSize, batch_bytes: int) -> bool:
    """Return whether a few wide rows would make every batch small."""
    usual = min(batch_bytes * table_size.rows // max(table_size.bytes, 1), MOST_ROWS)
    return rows_per_batch(table_size, batch_bytes) * 8 < usual


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """The columns and rows of a table that a scan reads, in batches of about ``batch_bytes``."""

    table: SourceTable
    columns: Sequence[ScanColumn]
    size: TableSize
    batch_bytes: int
    where: str = ""
    """A condition in SQL; empty for all rows."""


def scan(session: ScanSession, request: ScanRequest) -> Iterator[pa.RecordBatch]:
    """Yield the requested rows in batches; blocks while it reads, and raises what ``ScanSession.scan`` raises."""
    table, columns = request.table, request.columns
    if table.rowid is None or not is_skewed(request.size, request.batch_bytes):
        batch_rows = rows_per_batch(request.size, request.batch_bytes)
        yield from session.scan(table, columns, batch_rows=batch_rows, where=request.where)
        return
    for rows in _ranges(session, request, table.rowid):
        where = f"{table.rowid} BETWEEN {rows.first} AND {rows.last}"
        yield from session.scan(table, columns, batch_rows=rows.count + 1, where=where)


def _ranges(session: ScanSession, request: ScanRequest, rowid: str) -> list[_Range]:
    """Return ranges of rowids that hold about ``batch_bytes`` each."""
    table = request.table
    width = " + ".join(f"coalesce(octet_length({column.quoted}), 0)" for column in table.columns if not column.missing)
    condition = f" WHERE {request.where}" if request.where else ""
    ranges = session.ask(
        f"SELECT min(row) AS first, max(row) AS last, count(*) AS rows FROM ("
        f"SELECT {rowid} AS row, row_number() OVER w / {MOST_ROWS} AS by_rows, "
        f"sum({width}) OVER w / {request.batch_bytes} AS by_bytes "
        f"FROM {table.origin}{condition} WINDOW w AS (ORDER BY {rowid} ROWS UNBOUNDED PRECEDING)"
        f") GROUP BY by_bytes, by_rows ORDER BY 1"
    )
    return [_Range(found["first"], found["last"], found["rows"]) for found in ranges]
