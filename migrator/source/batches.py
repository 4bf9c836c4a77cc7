"""
Cuts a table into record batches by bytes, not only by rows, so that memory use doesn't depend on the width of the rows.

The driver counts rows. If all rows have about the same width, a number of rows corresponds to a number of bytes. If a
few rows are far wider than the others, SQLite adds up the widths and returns ranges of rowids, one for each batch.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
from msgspec import Struct

from migrator.source.scan import ScanColumn, ScanSession
from migrator.source.schema import SourceTable
from migrator.source.size import TableSize

MOST_ROWS = 65_536
"""Rows in a batch, even if they are narrow. In measurements, more rows gained nothing and delayed the first rows."""

SKEW = 4
"""A batch may take this many times its share of memory, if all its rows are as wide as the table's widest row."""


class _Range(Struct, frozen=True):
    first: int
    last: int
    count: int


def rows_per_batch(table_size: TableSize, batch_bytes: int) -> int:
    """Return a number of rows for each batch. Any rows of that number stay within ``SKEW`` times ``batch_bytes``."""
    if not table_size.rows:
        return 1
    usual = batch_bytes // max(table_size.bytes // table_size.rows, 1)
    at_worst = SKEW * batch_bytes // max(table_size.widest_row_bytes, 1)
    return max(1, min(usual, at_worst, MOST_ROWS))


def is_skewed(table_size: TableSize, batch_bytes: int) -> bool:
    """Return whether a few wide rows would make every batch small."""
    usual = min(batch_bytes * table_size.rows // max(table_size.bytes, 1), MOST_ROWS)
    return rows_per_batch(table_size, batch_bytes) * 8 < usual


class ScanRequest(Struct, frozen=True):
    """The columns and rows of a table that a scan reads, in batches of about ``batch_bytes``."""

    table: SourceTable
    columns: Sequence[ScanColumn]
    size: TableSize
    batch_bytes: int
    where: str = ""
    """A condition in SQL; empty for all rows."""


def scan(session: ScanSession, request: ScanRequest) -> Iterator[pa.RecordBatch]:
    """Yield the requested rows in record batches. Blocks while it reads; raises what ``ScanSession.scan`` raises."""
    table, columns = request.table, request.columns
    if table.rowid is None or not is_skewed(request.size, request.batch_bytes):
        batch_rows = rows_per_batch(request.size, request.batch_bytes)
        yield from session.scan(table, columns, batch_rows=batch_rows, where=request.where)
        return
    for rows in _ranges(session, request, table.rowid):
        within = f"{table.rowid} BETWEEN {rows.first} AND {rows.last}"
        where = f"{within} AND ({request.where})" if request.where else within
        yield from session.scan(table, columns, batch_rows=rows.count + 1, where=where)


def _ranges(session: ScanSession, request: ScanRequest, rowid: str) -> list[_Range]:
    """Return ranges of rowids that hold about ``batch_bytes`` each."""
    table = request.table
    width = " + ".join(f"coalesce(octet_length({column.quoted}), 0)" for column in table.columns if not column.missing)
    # The condition stands beside the table itself: SQLite would sort the rows of a subquery before it adds up widths.
    conditions = " AND ".join(part for part in (table.condition, request.where) if part)
    condition = f" WHERE {conditions}" if conditions else ""
    ranges = session.ask(
        f"SELECT min(row) AS first, max(row) AS last, count(*) AS rows FROM ("
        f"SELECT {rowid} AS row, row_number() OVER w / {MOST_ROWS} AS by_rows, "
        f"sum({width}) OVER w / {request.batch_bytes} AS by_bytes "
        f"FROM {table.stored}{condition} WINDOW w AS (ORDER BY {rowid} ROWS UNBOUNDED PRECEDING)"
        f") GROUP BY by_bytes, by_rows ORDER BY 1"
    )
    return [_Range(row["first"], row["last"], row["rows"]) for row in ranges]
