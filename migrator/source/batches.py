"""
How a table is cut into batches: by bytes, not only by rows, so that memory doesn't depend on how wide rows are.

The driver counts rows. Where rows are of about one width, a number of rows is a number of bytes. Where a few are far
wider than the rest, SQLite adds up the widths and names the ranges of rowids that make a batch each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from migrator.source.scan import ScanColumn, ScanSession
from migrator.source.schema import SourceTable
from migrator.source.size import Profile

MOST_ROWS = 65_536
"""Per batch, however narrow: more gained nothing and made the first rows arrive later."""

SKEW = 4
"""How many times its share of memory a batch may take if all its rows were as wide as the widest."""


@dataclass(frozen=True, slots=True)
class _Range:
    first: int
    last: int
    rows: int


def rows_per_batch(profile: Profile, batch_bytes: int) -> int:
    """Return a number of rows that stays within ``SKEW`` times ``batch_bytes``, whichever rows come together."""
    if not profile.rows:
        return 1
    usual = batch_bytes // max(profile.bytes // profile.rows, 1)
    at_worst = SKEW * batch_bytes // max(profile.widest_row_bytes, 1)
    return max(1, min(usual, at_worst, MOST_ROWS))


def is_skewed(profile: Profile, batch_bytes: int) -> bool:
    """Return whether a few wide rows would make every batch small."""
    usual = min(batch_bytes * profile.rows // max(profile.bytes, 1), MOST_ROWS)
    return rows_per_batch(profile, batch_bytes) * 8 < usual


def scan(  # noqa: PLR0913 - what is read, and how
    session: ScanSession,
    table: SourceTable,
    scan_columns: Sequence[ScanColumn],
    *,
    profile: Profile,
    batch_bytes: int,
    where: str = "",
) -> Iterator[pa.RecordBatch]:
    """Yield the table, or its rows ``where``, in batches of about ``batch_bytes``; raises what the scan raises."""
    rowid = table.rowid
    if rowid is None or not is_skewed(profile, batch_bytes):
        yield from session.scan(table, scan_columns, batch_rows=rows_per_batch(profile, batch_bytes), where=where)
        return
    for piece in _ranges(session, table, rowid, batch_bytes, where):
        where = f"{rowid} BETWEEN {piece.first} AND {piece.last}"
        yield from session.scan(table, scan_columns, batch_rows=piece.rows + 1, where=where)


def _ranges(session: ScanSession, table: SourceTable, rowid: str, batch_bytes: int, where: str) -> list[_Range]:
    width = " + ".join(f"coalesce(octet_length({column.quoted}), 0)" for column in table.columns if not column.missing)
    condition = f" WHERE {where}" if where else ""
    rows = session.ask(
        f"SELECT min(row) AS first, max(row) AS last, count(*) AS rows FROM ("
        f"SELECT {rowid} AS row, row_number() OVER w / {MOST_ROWS} AS by_rows, "
        f"sum({width}) OVER w / {batch_bytes} AS by_bytes "
        f"FROM {table.origin}{condition} WINDOW w AS (ORDER BY {rowid} ROWS UNBOUNDED PRECEDING)"
        f") GROUP BY by_bytes, by_rows ORDER BY 1"
    )
    return [_Range(row["first"], row["last"], row["rows"]) for row in rows]
