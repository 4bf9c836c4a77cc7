"""Holds the size of a table. Record batches, chunks and the order of work depend on it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from migrator.names import TableName, quote_literal

if TYPE_CHECKING:
    from migrator.source.scan import ScanSession  # loads Arrow, which `status` does without


class TableSize(Struct, frozen=True):
    """The size of a table, in rows and bytes."""

    table: TableName
    rows: int
    bytes: int
    """The stored bytes of all values that will be sent."""
    widest_row_bytes: int
    fast: bool = False
    """Whether the faster way of reading is correct, because the table's columns hold no unusual values."""

    @property
    def weight(self) -> int:
        """The cost of copying the table, in bytes: each row costs as much as ``_A_ROW`` bytes."""
        return self.bytes + _A_ROW * self.rows


_A_ROW = 100
"""Measured: a million rows of 40 bytes take about as long as 140 MB of BLOBs."""


class StoredSize(Struct, frozen=True):
    """What the pages of a table hold, as their headers tell it. No value takes more room than its record."""

    rows: int
    bytes: int
    """The bytes of all records, with the values that ``ALTER TABLE ADD COLUMN`` has given to rows without storing."""
    widest_row_bytes: int


def stored_sizes(session: "ScanSession", names: Sequence[str]) -> dict[str, StoredSize]:
    """
    Return the size of each table with a rowid in ``names``, without looking at a value.

    SQLite adds up numbers out of each page's header and cells (SQLite, "The DBSTAT Virtual Table"): a tenth of what it
    takes to open every record. Blocks; raises what ``ScanSession.ask`` raises.
    """
    listed = ", ".join(map(quote_literal, names))
    answers = session.ask(_IN_PAGES.format(names=listed)) if names else []
    return {
        row["name"]: StoredSize(
            row["stored_rows"],
            row["stored_bytes"] + row["stored_rows"] * row["filled"],
            row["widest"] + row["filled"],
        )
        for row in answers
    }


def has_large_tables(session: "ScanSession") -> bool:
    """
    Return whether the file's tables are so large that ``stored_sizes`` takes less time than a look at the rows.

    False if the driver's SQLite can't tell what pages hold.
    """
    [file] = session.ask(
        "SELECT page_count, (SELECT count(*) FROM sqlite_schema) AS entries, "
        "EXISTS (SELECT 1 FROM pragma_module_list WHERE name = 'dbstat') AS has_dbstat FROM pragma_page_count"
    )
    return bool(file["has_dbstat"] and file["page_count"] > _PAGES_AN_ENTRY * file["entries"])


_PAGES_AN_ENTRY = 50
"""Measured: for each table that it is asked about, ``dbstat`` reads the whole schema."""

# A row that is older than a column has the column's default, which its record doesn't hold.
_IN_PAGES = """
SELECT name, sum(ncell) FILTER (WHERE pagetype = 'leaf') AS stored_rows, sum(payload) AS stored_bytes,
       max(mx_payload) AS widest,
       (SELECT coalesce(sum(octet_length(dflt_value)), 0) FROM pragma_table_xinfo(dbstat.name)) AS filled
FROM dbstat WHERE schema = 'main' AND name IN ({names}) GROUP BY name
"""
