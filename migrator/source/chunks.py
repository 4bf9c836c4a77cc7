"""Splits a large table into chunks. Each chunk is read, committed and compared by itself, several at a time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.source.schema import SourceTable
from migrator.source.size import TableSize

if TYPE_CHECKING:
    from migrator.source.scan import ScanSession  # loads Arrow, which `status` does without


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of rows in the order of the table's key, its bounds written as SQL literals. Without bounds, all rows."""

    after: str | None = None
    """The key of the row before the first."""
    last: str | None = None
    """The key of the last row."""

    def where(self, table: SourceTable) -> str:
        """Return the condition in SQLite's SQL; empty for the whole table."""
        row = f"({', '.join(key_of(table))})"
        begin = f"{row} > ({self.after})" if self.after is not None else ""
        end = f"{row} <= ({self.last})" if self.last is not None else ""
        return " AND ".join(part for part in (begin, end) if part)


WHOLE_TABLE = Chunk()


def key_of(table: SourceTable) -> list[str]:
    """Return the key that a table is walked along: its rowid, or the columns of its key; empty if it has neither."""
    return [table.rowid] if table.rowid else [column.quoted for column in table.key]


_CHUNKS_A_WORKER = 4
"""Chunks for each worker, where all would wait for one table: the last worker ends soon after the first."""

_LEAST_BYTES = 16 << 20
"""Below this size the fixed cost of a chunk (the start of a scan, the end of a transaction) begins to show."""


def chunk_size(table_size: TableSize, total_weight: int, jobs: int, chunk_bytes: int) -> int:
    """
    Return the size of a table's chunks in bytes: ``chunk_bytes``, or less for a table that all workers would wait for.

    ``total_weight`` is the weight of all tables together, which ``jobs`` workers share.
    """
    if jobs == 1 or table_size.weight * jobs <= total_weight:
        return chunk_bytes
    return min(chunk_bytes, max(_LEAST_BYTES, table_size.bytes // (_CHUNKS_A_WORKER * jobs)))


def split_into_chunks(
    session: "ScanSession", table: SourceTable, table_size: TableSize, size: int
) -> tuple[Chunk, ...]:
    """
    Return a table's chunks of about ``size`` bytes each, in the order of its key.

    SQLite walks over the keys once and keeps none of them in memory. A table without a key to walk along (a column took
    each of the rowid's names) is one chunk. Blocks; raises SourceUnreadable.
    """
    rows = max(1, size * table_size.rows // max(table_size.bytes, 1))
    if rows >= table_size.rows or not key_of(table):
        return (WHOLE_TABLE,)
    chunks: list[Chunk] = []
    after: str | None = None
    while (last := _last_key(session, table, after, rows)) is not None:
        chunks.append(Chunk(after, last))
        after = last
    return (*chunks, Chunk(after))


def _last_key(session: "ScanSession", table: SourceTable, after: str | None, rows: int) -> str | None:
    """Return the key of the last of so many rows after a key; None if there are not so many."""
    key = key_of(table)
    literals = " || ', ' || ".join(f"quote({part})" for part in key)
    begin = f" WHERE {Chunk(after).where(table)}" if after is not None else ""
    found = session.ask(
        f"SELECT {literals} AS last FROM {table.origin}{begin} ORDER BY {', '.join(key)} LIMIT 1 OFFSET {rows - 1}"
    )
    return str(found[0]["last"]) if found else None
