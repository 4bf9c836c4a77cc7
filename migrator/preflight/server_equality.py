"""
Finds keys that are equal in PostgreSQL and different in SQLite, for types that only PostgreSQL can compare.

``citext`` folds all letters, and the result depends on the database. SQLite folds only the letters of ASCII. So this
module sends PostgreSQL the keys with other letters, and the ASCII keys that may be equal to one of them. Types that
only PostgreSQL can read have several spellings of a value (10.0.0.1 and 10.0.0.1/32): for these types, PostgreSQL
returns its own spelling of each value.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
from msgspec import Struct

from migrator.findings.examples import key_scan_column
from migrator.planning.equality import equality_key
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.source.scan import ScanColumn, ScanSession, StorageClass
from migrator.target.server_types import ServerTypes

AT_ONCE = 5_000
"""The number of keys that are read, and sent to PostgreSQL, together."""

_MEMORY = "256MB"

_MOST_ASCII = 1_000
"""The largest number of keys that are kept because they fold to plain ASCII. Only two letters beyond ASCII, in all of
Unicode, do so."""

_BEYOND_ASCII = "'*[^' || char(1) || '-' || char(127) || ']*'"


class _Key(Struct, frozen=True):
    """The parts of a key: the columns that PostgreSQL folds, and SQL over the source for the other columns."""

    columns: tuple[ColumnPlan, ...]
    """The columns whose values PostgreSQL folds."""
    kept: str
    """SQL for the parts that aren't folded."""
    present: str
    """An SQL condition that is true if no part is NULL."""

    @property
    def folded(self) -> tuple[str, ...]:
        """Return SQL for the parts that are folded."""
        return tuple(f"CAST({column.source_expression} AS TEXT)" for column in self.columns)

    @property
    def beyond_ascii(self) -> str:
        """Return a condition that is true for keys with a letter beyond ASCII, or with a type other than citext."""
        if not all(_is_citext(column) for column in self.columns):
            return "true"
        return " OR ".join(f"{part} GLOB {_BEYOND_ASCII}" for part in self.folded)

    def scan_columns(self, row: ScanColumn) -> list[ScanColumn]:
        """Return the columns of the scan: the row's key, the checked key's parts, and the key as SQLite compares it."""
        lowered = " || '|' || ".join(f"quote({part})" for part in (*map(_lower, self.folded), self.kept))
        texts = [row.expression, self.kept, lowered, *self.folded]
        return [ScanColumn(text, StorageClass.TEXT) for text in texts]


def server_duplicates(
    session: ScanSession, table: TablePlan, columns: Sequence[ColumnPlan], server_types: ServerTypes
) -> list[str]:
    """
    Return the rows, by ``key_scan_column``, whose keys are equal in PostgreSQL and different in SQLite.

    ``columns`` are the columns of a unique key. The list is empty if some value can't be read as text, since the
    diagnosis refuses this value anyway. Blocks while the table is scanned; memory is bounded. Raises SourceUnreadable,
    and the errors of the connection to PostgreSQL.
    """
    key = _key(columns)
    if not key.columns:
        return []
    try:
        return _alike(session, table, key, server_types)
    except UnicodeDecodeError:
        return []


def _alike(session: ScanSession, table: TablePlan, key: _Key, server_types: ServerTypes) -> list[str]:
    with TemporaryDirectory(prefix="migrator-") as folder:
        config: dict[str, Any] = {"memory_limit": _MEMORY, "temp_directory": folder, "threads": "1"}
        with duckdb.connect(str(Path(folder) / "keys.duckdb"), config=config) as database:
            database.execute("CREATE TABLE keys (row VARCHAR, stored VARCHAR, folded VARCHAR)")
            for keys in _folded(session, table, key, server_types):
                database.register("given", keys)
                database.execute("INSERT INTO keys SELECT * FROM given")
            equal_keys = database.execute(_ALIKE).fetchall()
    return [row for (row,) in equal_keys]


def _key(columns: Sequence[ColumnPlan]) -> _Key:
    folded = [column for column in columns if _is_citext(column) or column.family.asks_server]
    kept = " || '|' || ".join(f"quote({equality_key(column)})" for column in columns if column not in folded)
    present = " AND ".join(f"{column.source_expression} IS NOT NULL" for column in columns)
    # Text with a NUL, which PostgreSQL can't hold, has been refused already.
    present += "".join(f" AND instr({column.source_expression}, char(0)) = 0" for column in folded)
    return _Key(tuple(folded), kept or "''", present)


def _is_citext(column: ColumnPlan) -> bool:
    return column.target.type_name == "citext"


def _folded(session: ScanSession, table: TablePlan, key: _Key, server_types: ServerTypes) -> Iterator[pa.Table]:
    """Yield the keys with letters beyond ASCII, folded by PostgreSQL; then the ASCII keys that may be equal to them."""
    scan_columns = key.scan_columns(key_scan_column(table.source))
    ascii_keys: dict[str, None] = {}

    def read(condition: str) -> Iterator[pa.Table]:
        where = f"{key.present} AND ({condition})"
        for batch in session.scan(table.source, scan_columns, batch_rows=AT_ONCE, where=where):
            rows, kept, lowered, *parts = (column.to_pylist() for column in batch.columns)
            folded = [
                server_types.server_spelling(column.target, part)
                for column, part in zip(key.columns, parts, strict=True)
            ]
            if len(ascii_keys) < _MOST_ASCII:
                ascii_keys.update((text, None) for part in folded for text in part if text.isascii())
            folded_keys = [repr(parts_of_key) for parts_of_key in zip(kept, *folded, strict=True)]
            yield pa.table({"row": rows, "stored": lowered, "folded": folded_keys})

    yield from read(key.beyond_ascii)
    if ascii_keys and len(key.folded) == 1 and _is_citext(key.columns[0]):
        literals = ", ".join("'" + text.replace("'", "''") + "'" for text in list(ascii_keys)[:_MOST_ASCII])
        yield from read(f"{_lower(key.folded[0])} IN ({literals}) AND NOT ({key.beyond_ascii})")


def _lower(part: str) -> str:
    return f"lower({part})"


_ALIKE = """
SELECT row FROM keys WHERE folded IN (SELECT folded FROM keys GROUP BY folded HAVING count(DISTINCT stored) > 1)
ORDER BY folded, row
"""
