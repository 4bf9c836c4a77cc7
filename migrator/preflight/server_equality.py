"""
Keys that are one to PostgreSQL and two to SQLite, where only PostgreSQL can tell.

``citext`` folds all letters, and how depends on the database; SQLite folds those of ASCII alone. So keys with others
are shown to PostgreSQL, and those it may take for one of them. Types that only it can read have several spellings of a
value (10.0.0.1 and 10.0.0.1/32): of these it is asked for its own spelling.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from migrator.findings.examples import key_scan_column
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.preflight.key_violations import equality_key
from migrator.source.scan import ScanColumn, ScanSession, StorageClass
from migrator.target.server_types import ServerTypes

AT_ONCE = 5_000
"""Keys that are read, and shown to PostgreSQL, together."""

_MEMORY = "256MB"

_MOST_ASCII = 1_000
"""Keys that fold to plain ASCII, of which there are two letters in all of Unicode."""

_BEYOND_ASCII = "'*[^' || char(1) || '-' || char(127) || ']*'"


@dataclass(frozen=True, slots=True)
class _Key:
    """The parts of a key: those that are folded, and, as SQL over the source, the others, and whether none is NULL."""

    columns: tuple[ColumnPlan, ...]
    """Those that are folded."""
    kept: str
    present: str

    @property
    def folded(self) -> tuple[str, ...]:
        """Return SQL for the parts that are folded."""
        return tuple(f"CAST({column.source_expression} AS TEXT)" for column in self.columns)

    @property
    def beyond_ascii(self) -> str:
        """Return a condition that is true for keys with a letter that SQLite doesn't fold; or with another type."""
        if not all(_is_citext(column) for column in self.columns):
            return "true"
        return " OR ".join(f"{part} GLOB {_BEYOND_ASCII}" for part in self.folded)

    def scan_columns(self, row: ScanColumn) -> list[ScanColumn]:
        """Return what is read: the row's own key, the parts as they are, and all that SQLite takes for one key."""
        lowered = " || '|' || ".join(f"quote({part})" for part in (*map(_lower, self.folded), self.kept))
        texts = [row.expression, self.kept, lowered, *self.folded]
        return [ScanColumn(text, StorageClass.TEXT) for text in texts]


def server_duplicates(
    session: ScanSession, table: TablePlan, columns: Sequence[ColumnPlan], server_types: ServerTypes
) -> list[str]:
    """
    Return the rows, by ``key_scan_column``, whose keys PostgreSQL takes for one and SQLite doesn't.

    ``columns`` are those of a unique key. None, if some can't be read as text, which is refused for that. Blocks;
    memory is bounded. Raises what scanning and asking raise.
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
            found = database.execute(_ALIKE).fetchall()
    return [row for (row,) in found]


def _key(columns: Sequence[ColumnPlan]) -> _Key:
    folded = [column for column in columns if _is_citext(column) or column.family.asks_server]
    kept = " || '|' || ".join(f"quote({equality_key(column)})" for column in columns if column not in folded)
    present = " AND ".join(f"{column.source_expression} IS NOT NULL" for column in columns)
    # What PostgreSQL's text can't hold has been refused already.
    present += "".join(f" AND instr({column.source_expression}, char(0)) = 0" for column in folded)
    return _Key(tuple(folded), kept or "''", present)


def _is_citext(column: ColumnPlan) -> bool:
    return column.target.type_name == "citext"


def _folded(session: ScanSession, table: TablePlan, key: _Key, server_types: ServerTypes) -> Iterator[pa.Table]:
    """Yield the keys with letters beyond ASCII, folded by PostgreSQL; then those in ASCII that these may meet."""
    scan_columns = key.scan_columns(key_scan_column(table.source))
    plain: dict[str, None] = {}

    def read(condition: str) -> Iterator[pa.Table]:
        where = f"{key.present} AND ({condition})"
        for batch in session.scan(table.source, scan_columns, batch_rows=AT_ONCE, where=where):
            rows, kept, lowered, *parts = (column.to_pylist() for column in batch.columns)
            folded = [
                server_types.server_spelling(column.target, part)
                for column, part in zip(key.columns, parts, strict=True)
            ]
            if len(plain) < _MOST_ASCII:
                plain.update((text, None) for part in folded for text in part if text.isascii())
            whole = [repr(one) for one in zip(kept, *folded, strict=True)]
            yield pa.table({"row": rows, "stored": lowered, "folded": whole})

    yield from read(key.beyond_ascii)
    if plain and len(key.folded) == 1 and _is_citext(key.columns[0]):
        literals = ", ".join("'" + text.replace("'", "''") + "'" for text in list(plain)[:_MOST_ASCII])
        yield from read(f"{_lower(key.folded[0])} IN ({literals}) AND NOT ({key.beyond_ascii})")


def _lower(part: str) -> str:
    return f"lower({part})"


_ALIKE = """
SELECT row FROM keys WHERE folded IN (SELECT folded FROM keys GROUP BY folded HAVING count(DISTINCT stored) > 1)
ORDER BY folded, row
"""
