"""
Reads the leaf pages of a table as hashes, by which a later run sees where in the table rows have changed.

A leaf page holds the rows of a range of rowids (SQLite, "Database File Format", 1.6, "B-tree Pages"), and of a row that
is too large its first part, with the number of the overflow page that goes on. So a page of the same number that holds
the same bytes, with all its overflow pages, holds the same rows. The pages' bytes are read from the file: SQLite itself
offers no reading of them that every build has.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from migrator.names import quote_literal
from migrator.source.file import beside, unreadable
from migrator.source.schema import SourceTable

if TYPE_CHECKING:
    from migrator.source.database import Source
    from migrator.source.scan import ScanSession

HASH_BYTES = 12
"""The bytes of a page's hash. Of 2^40 pages, two would have the same hash by chance with a probability of 10^-5."""

ENTRY_BYTES = 4 + HASH_BYTES
"""The bytes of an entry: the number of the page, and its hash."""

_FILE_HEADER_BYTES = 100
"""The header of the file, which is at the beginning of the first page."""

_LEAF_OF_TABLE = 0x0D

_MOST_ENTRIES = 1 << 16


class PageFile(Struct, frozen=True):
    """The pages of a source's file, as they are on disk."""

    path: Path
    descriptor: int
    page_bytes: int

    def read(self, number: int) -> bytes:
        """Return the bytes of a page, from 1 on. Raises SourceUnreadable, also if the file is cut off."""
        try:
            page = os.pread(self.descriptor, self.page_bytes, (number - 1) * self.page_bytes)
        except OSError as error:
            raise unreadable(self.path, error) from error
        if len(page) != self.page_bytes:
            raise unreadable(self.path, EOFError(f"it ends before page {number}"))
        return page

    def first_and_last(self, number: int) -> tuple[int, int] | None:
        """Return the smallest and the largest rowid on a leaf page of a table; None if the page holds no row."""
        page = self.read(number)
        header = _FILE_HEADER_BYTES if number == 1 else 0
        cells = int.from_bytes(page[header + 3 : header + 5], "big")
        if page[header] != _LEAF_OF_TABLE or not cells:
            return None
        places = header + 8
        first, last = (int.from_bytes(page[place : place + 2], "big") for place in (places, places + 2 * (cells - 1)))
        return _rowid(page, first), _rowid(page, last)


def _rowid(page: bytes, cell: int) -> int:
    """Return the rowid of a cell: the second of two numbers at its beginning."""
    _, end = _varint(page, cell)
    value, _ = _varint(page, end)
    return value - (1 << 64) if value >= 1 << 63 else value


def _varint(page: bytes, start: int) -> tuple[int, int]:
    """Return a number of variable length and the place after it (SQLite, "Database File Format", 1.6)."""
    value = 0
    for place in range(start, start + 8):
        value = value << 7 | page[place] & 0x7F
        if not page[place] & 0x80:
            return value, place + 1
    return value << 8 | page[start + 8], start + 9


def page_file(source: "Source", session: "ScanSession") -> PageFile | None:
    """
    Return the pages of a source, or None if the file alone doesn't have them, or SQLite can't tell whose they are.

    Rows may be in the write-ahead log only. Call it again after reading: what was read counts if the answer is the
    same. Raises SourceUnreadable.
    """
    [facts] = session.ask(
        "SELECT page_size, EXISTS (SELECT 1 FROM pragma_module_list WHERE name = 'dbstat') AS has_dbstat "
        "FROM pragma_page_size"
    )
    log = beside(source.path, "-wal")
    if not facts["has_dbstat"] or (log.exists() and log.stat().st_size):
        return None
    return PageFile(source.path, source.descriptor(), facts["page_size"])


def definition_of(session: "ScanSession", file: PageFile, table: SourceTable) -> str:
    """Return a hash of what else decides which rows a table's pages hold: its definition, and the size of a page."""
    [facts] = session.ask(
        f"SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = {quote_literal(table.name)} COLLATE BINARY"
    )
    return hashlib.sha256(f"{file.page_bytes} {facts['sql']}".encode()).hexdigest()


def leaf_pages(session: "ScanSession", file: PageFile, table: SourceTable) -> Iterator[bytes]:
    """
    Yield the entries of a table's leaf pages in the order of its rowids, some thousands in one piece.

    An entry is the page's number, and the hash of its bytes and of its overflow pages'. A table WITHOUT ROWID holds
    rows on the pages above the leaves, too, so that each of its pages has an entry. Blocks while the file is read.
    Raises SourceUnreadable.
    """
    from migrator.source.scan import ScanColumn, StorageClass  # noqa: PLC0415 - loads Arrow

    columns = [ScanColumn(expression, StorageClass.INTEGER) for expression in ("pageno", "pagetype = 'overflow'")]
    rows_only = " AND pagetype <> 'internal'" if table.rowid is not None else ""
    origin = f"dbstat WHERE schema = 'main' AND name = {quote_literal(table.name)}{rows_only}"
    piece = bytearray()
    number, digest = 0, hashlib.sha256()
    # SQLite visits the pages in the order of the tree, and the overflow pages of a leaf after the leaf (dbstat.c).
    for batch in session.read(origin, columns, batch_rows=_MOST_ENTRIES):
        for page, continues in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if continues:
                digest.update(file.read(page))
                continue
            if number:
                piece += _entry(number, digest)
            number, digest = page, hashlib.sha256(file.read(page))
        if len(piece) >= _MOST_ENTRIES * ENTRY_BYTES:
            yield bytes(piece)
            piece.clear()
    if number:
        piece += _entry(number, digest)
    yield bytes(piece)


def _entry(number: int, digest: "hashlib._Hash") -> bytes:
    return number.to_bytes(ENTRY_BYTES - HASH_BYTES, "big") + digest.digest()[:HASH_BYTES]


def number_of(entry: bytes) -> int:
    """Return the number of the page of an entry."""
    return int.from_bytes(entry[: ENTRY_BYTES - HASH_BYTES], "big")
