"""How a large table is cut into pieces that are committed one by one: a kill costs no more than the one under way."""

from dataclasses import dataclass

from migrator.findings import Profile
from migrator.source import ScanSession, SourceTable


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of rows in the order of the key, as a condition in SQLite's SQL."""

    where: str
    """Empty for the whole table."""
    last: str | None
    """The key of its last row, as SQL literals: where the next piece begins. None for the last piece of a table."""


def rows_per_piece(profile: Profile, piece_bytes: int) -> int:
    """Return a number of rows that are about ``piece_bytes`` together."""
    return max(1, piece_bytes * profile.rows // max(profile.bytes, 1))


def next_piece(session: ScanSession, table: SourceTable, after: str | None, rows: int) -> Piece:
    """
    Return the piece of at most ``rows`` rows that begins after the key ``after``, or at the table's first row.

    SQLite walks over the keys of one piece and remembers none of them. A table without a key to walk along (a column
    took each of the rowid's names) is one piece. Raises SourceUnreadable.
    """
    key = [table.rowid] if table.rowid else [column.quoted for column in table.key]
    if not key:
        return Piece("", None)
    row = f"({', '.join(key)})"
    literals = " || ', ' || ".join(f"quote({part})" for part in key)
    begin = f"{row} > ({after})" if after is not None else ""
    found = session.ask(
        f"SELECT {literals} AS last FROM {table.quoted}{f' WHERE {begin}' if begin else ''} "
        f"ORDER BY {', '.join(key)} LIMIT 1 OFFSET {rows - 1}"
    )
    if not found:
        return Piece(begin, None)
    last = str(found[0]["last"])
    return Piece(" AND ".join(part for part in (begin, f"{row} <= ({last})") if part), last)
