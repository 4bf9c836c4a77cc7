"""Splits a large table into chunks. Each chunk is read, committed and compared by itself, several at a time."""

from typing import TYPE_CHECKING

from msgspec import Struct

from migrator.source.schema import SourceTable
from migrator.source.size import TableSize

if TYPE_CHECKING:
    from migrator.source.scan import ScanSession  # loads Arrow, which `status` does without


class Chunk(Struct, frozen=True):
    """
    Consecutive rows in the order of the table's key.

    The bounds are keys, written as SQL literals. A chunk without bounds holds all rows.
    """

    after: str | None = None
    """The key of the row before the chunk's first row."""
    last: str | None = None
    """The key of the chunk's last row."""

    def where(self, table: SourceTable) -> str:
        """Return the condition in SQLite's SQL that selects the chunk's rows; empty for the whole table."""
        row = f"({', '.join(key_of(table))})"
        begin = f"{row} > ({self.after})" if self.after is not None else ""
        end = f"{row} <= ({self.last})" if self.last is not None else ""
        return " AND ".join(part for part in (begin, end) if part)


WHOLE_TABLE = Chunk()


def key_of(table: SourceTable) -> list[str]:
    """Return the key by which a table is read in order: its rowid, or its key's columns; empty if it has neither."""
    return [table.rowid] if table.rowid else [column.quoted for column in table.key]


def identity_of(table: SourceTable, alias: str = "") -> str:
    """
    Return SQL that tells the rows of a source table apart: the rowid, or the text of the key's values.

    A table that hides its rowid behind columns of that name is told by all of its columns.
    """
    prefix = f"{alias}." if alias else ""
    if table.rowid is not None:
        return f"{prefix}{table.rowid}"
    columns = table.key or tuple(column for column in table.columns if not column.missing)
    return " || '|' || ".join(f"quote({prefix}{column.quoted})" for column in columns)


_CHUNKS_A_WORKER = 4
"""Chunks for each worker in a table that all workers would wait for. So the last worker ends soon after the first."""

_LEAST_BYTES = 16 << 20
"""Below this size the fixed cost of a chunk (the start of a scan, the end of a transaction) begins to show."""


def chunk_size(table_size: TableSize, total_weight: int, jobs: int, chunk_bytes: int) -> int:
    """
    Return the size of a table's chunks in bytes.

    The size is ``chunk_bytes``, or less if all workers would wait for this table. ``total_weight`` is the weight of all
    tables together, which ``jobs`` workers share.
    """
    if jobs == 1 or table_size.weight * jobs <= total_weight:
        return chunk_bytes
    return min(chunk_bytes, max(_LEAST_BYTES, table_size.bytes // (_CHUNKS_A_WORKER * jobs)))


def split_into_chunks(
    session: "ScanSession", table: SourceTable, table_size: TableSize, size: int
) -> tuple[Chunk, ...]:
    """
    Return a table's chunks of about ``size`` bytes each, in the order of its key.

    SQLite reads the keys once, in order, and keeps none of them in memory. A table is one chunk if it has no key and
    its columns have taken each name of the rowid. Blocks; raises SourceUnreadable.
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
    """Return the key of the last of the next ``rows`` rows after a key; None if fewer rows follow."""
    key = key_of(table)
    literals = " || ', ' || ".join(f"quote({part})" for part in key)
    begin = f" WHERE {Chunk(after).where(table)}" if after is not None else ""
    # In ORDER BY, a name means the answer's column before the table's: the answer has none that a key may have, too.
    keys = session.ask(
        f"SELECT {literals} FROM {table.origin}{begin} ORDER BY {', '.join(key)} LIMIT 1 OFFSET {rows - 1}"
    )
    return str(next(iter(keys[0].values()))) if keys else None
