"""Describes what a SQLite file holds: its tables and columns, and what of it isn't copied, with the reason."""

from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import quote_sqlite
from migrator.source.virtual_tables import VirtualTable, owner_of, virtual_table

BOOKKEEPING = frozenset({"alembic_version"})
"""Tables that say how far a schema is; each side keeps its own."""


class Affinity(StrEnum):
    """What a column makes of values that are put into it (SQLite, "Datatypes In SQLite", 3.1)."""

    INTEGER = "integer"
    TEXT = "text"
    BLOB = "blob"
    REAL = "real"
    NUMERIC = "numeric"


# The first line of which the declared type has a word; with none of them a column is NUMERIC.
_AFFINITIES = (
    (Affinity.INTEGER, ("INT",)),
    (Affinity.TEXT, ("CHAR", "CLOB", "TEXT")),
    (Affinity.BLOB, ("BLOB",)),
    (Affinity.REAL, ("REAL", "FLOA", "DOUB")),
)


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column as ``PRAGMA table_xinfo`` describes it."""

    name: str
    declared_type: str
    not_null: bool
    key_position: int
    """1 for the first column of the primary key, 0 for none."""
    generated: bool
    ignores_case: bool = False
    """Whether its collation is NOCASE, or another that takes a and A for one letter."""
    missing: str = ""
    """The function that it is computed by and that only the application has: then it can't be read."""
    utf16: bool = False
    """Whether the file keeps its text in UTF-16 (SQLite, "PRAGMA encoding")."""

    @property
    def quoted(self) -> str:
        """The name as it stands in a statement."""
        return quote_sqlite(self.name)

    @property
    def affinity(self) -> Affinity:
        """What the declared type makes of values."""
        declared = self.declared_type.upper()
        if not declared:
            return Affinity.BLOB
        fitting = (affinity for affinity, words in _AFFINITIES if any(word in declared for word in words))
        return next(fitting, Affinity.NUMERIC)


@dataclass(frozen=True, slots=True)
class SourceTable:
    """An ordinary table of the source."""

    name: str
    columns: tuple[SourceColumn, ...]
    rowid: str | None
    """What the table's rowid is called in SQL; None for WITHOUT ROWID tables, or where columns took all three names."""
    key_index: str | None = None
    """What SQLite calls the b-tree of a WITHOUT ROWID table, which is its primary key; None for other tables."""
    schema: str = ""
    """Where its rows were put, if they couldn't be read where they were (``readability``)."""

    @property
    def quoted(self) -> str:
        """The name as it stands in a statement."""
        return f"{quote_sqlite(self.schema)}.{quote_sqlite(self.name)}" if self.schema else quote_sqlite(self.name)

    @property
    def origin(self) -> str:
        """
        The table as it stands in a FROM: its own rows, never those of an index that has all that is asked for.

        An index may hold old values, and what the application reads by key is the table. NOT INDEXED has no effect on
        a table WITHOUT ROWID, whose b-tree is called an index itself (SQLite, "The INDEXED BY Clause").
        """
        how = f"INDEXED BY {quote_sqlite(self.key_index)}" if self.key_index else "NOT INDEXED"
        return f"{self.quoted} {how}"

    @property
    def key(self) -> tuple[SourceColumn, ...]:
        """The primary key's columns in the key's order; empty if there is none."""
        return tuple(sorted((c for c in self.columns if c.key_position), key=lambda c: c.key_position))

    @property
    def rowid_alias(self) -> SourceColumn | None:
        """The INTEGER PRIMARY KEY, which is the rowid itself (SQLite, "CREATE TABLE", 5); None if there is none."""
        key = self.key
        is_alias = self.rowid is not None and len(key) == 1 and key[0].declared_type.casefold() == "integer"
        return key[0] if is_alias else None


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in the source that is not copied, and why."""

    name: str
    reason: str
    rows: int | None = 0
    """Rows of its own, which no table that is copied holds; None where nobody can tell without its module."""
    over: str = ""
    """The table of whose rows it is an index, where it keeps what it has indexed."""

    @property
    def may_lose(self) -> bool:
        """Whether rows are lost that nothing else holds, or nobody can tell."""
        return self.rows != 0 and not self.over


@dataclass(frozen=True, slots=True)
class SourceDatabase:
    """What a source holds."""

    tables: tuple[SourceTable, ...]
    skipped: tuple[Skipped, ...]
    alembic_revisions: tuple[str, ...]


async def describe(connection: AsyncConnection) -> SourceDatabase:
    """Return the ordinary tables of the file, and what is left out with the reason."""
    listed = (await connection.execute(text(_TABLES))).all()
    columns: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in (await connection.execute(text(_COLUMNS))).all():
        columns[row.table_name].append(row)
    key_indexes = {row.name: row.key_index for row in (await connection.execute(text(_KEY_INDEXES))).all()}
    utf16 = str(await connection.scalar(text("PRAGMA encoding"))).upper().startswith("UTF-16")
    tables: list[SourceTable] = []
    skipped: list[Skipped] = []
    virtual = {
        name: virtual_table(name, definition or "") for name, kind, _, _, definition in listed if kind == "virtual"
    }
    for name, kind, without_rowid, collates, definition in listed:
        reason = _left_out(name, kind, definition or "", tuple(virtual.values()))
        if name in virtual:
            continue
        if reason is None:
            blind = await _ignoring_case(connection, name, columns[name]) if collates else set()
            key_index = key_indexes[name] if without_rowid else None
            tables.append(_table(name, columns[name], blind, key_index, utf16=utf16))
        elif reason:
            skipped.append(Skipped(name, reason))
    skipped += [await _virtual(connection, table, tables) for table in virtual.values()]
    skipped.sort(key=lambda entry: entry.name)
    revisions = await _alembic_revisions(connection, {row[0] for row in listed})
    return SourceDatabase(tuple(tables), tuple(skipped), revisions)


# Only with the word COLLATE in its definition a table has columns that aren't compared byte by byte.
_TABLES = """
SELECT l.name, l.type, l.wr, s.sql LIKE '%collate%' AS collates, s.sql
FROM pragma_table_list l LEFT JOIN sqlite_schema s ON s.name = l.name AND s.type = 'table'
WHERE l.schema = 'main' ORDER BY l.name
"""

_COLUMNS = """
SELECT l.name AS table_name, c.name, c.type, c."notnull", c.pk, c.hidden
FROM pragma_table_list l, pragma_table_xinfo(l.name) c
WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') ORDER BY l.name, c.cid
"""

_KEY_INDEXES = """
SELECT l.name, i.name AS key_index FROM pragma_table_list l, pragma_index_list(l.name) i
WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') AND l.wr AND i.origin = 'pk'
"""

# What table_xinfo says in `hidden` (SQLite, "PRAGMA table_xinfo"): 2 and 3 are generated columns.
_GENERATED = (2, 3)


def _left_out(name: str, kind: str, definition: str, virtual: Sequence[VirtualTable]) -> str | None:
    """Return why a table isn't copied; empty for what needs no mention, None for one that is copied."""
    if name in {"sqlite_schema", "sqlite_temp_schema", "sqlite_sequence"}:
        return ""  # the schema itself, and the counters that the sequences stage reads
    if name.startswith("sqlite_"):
        return "internal to SQLite"
    if name in BOOKKEEPING:
        return "bookkeeping of migrations: each side keeps its own"
    if kind == "view":
        return "a view"
    # Not by what SQLite says, to which whatever has such a name is storage.
    return "the storage of a virtual table" if owner_of(name, definition, virtual) else None


async def _virtual(connection: AsyncConnection, table: VirtualTable, tables: Sequence[SourceTable]) -> Skipped:
    """Return a virtual table as what it is: one that holds no row that another table doesn't hold, or one that does."""
    if table.refers:
        return Skipped(table.name, "a virtual table")
    if table.content is None:
        return Skipped(table.name, f"a virtual table of the module {table.module!r}, unknown here", None)
    rows = await connection.scalar(text(f"SELECT count(*) FROM {quote_sqlite(table.content)} NOT INDEXED"))
    if not rows:
        return Skipped(table.name, "a virtual table")
    for other in tables:
        if await _indexes(connection, table, other):
            return Skipped(
                table.name, f"a full-text index over {other.name!r}, with {rows} rows", int(rows), other.name
            )
    return Skipped(table.name, f"a virtual table, with {rows} rows of its own", int(rows))


async def _indexes(connection: AsyncConnection, index: VirtualTable, table: SourceTable) -> bool:
    """
    Return whether a full-text index that keeps its text has it from ``table``, although it may lag behind.

    It has columns of the same names, and each of its rows is one of the table's, by the number or by what it says.
    """
    named = {column.name.casefold(): column for column in table.columns}
    fed = [named[name.casefold()] for name in index.indexed if name.casefold() in named]
    if not fed or len(fed) < len(index.indexed) or any(column.missing for column in fed) or table.rowid is None:
        return False
    content = quote_sqlite(index.content or "")
    described = (await connection.exec_driver_sql(f"PRAGMA table_info({content})")).all()
    if len(described) <= len(fed):
        return False
    number, *kept = [quote_sqlite(row.name) for row in described][: len(fed) + 1]
    found = await connection.exec_driver_sql(
        f"SELECT EXISTS (SELECT {', '.join(kept)} FROM {content} NOT INDEXED "
        f"WHERE {number} NOT IN (SELECT {table.rowid} FROM {table.origin}) "
        f"EXCEPT SELECT {', '.join(column.quoted for column in fed)} FROM {table.origin})"
    )
    return not found.scalar_one()


def _table(
    name: str, rows: Sequence[Row[Any]], blind: Container[str], key_index: str | None, *, utf16: bool
) -> SourceTable:
    columns = tuple(
        SourceColumn(
            row.name, row.type, bool(row.notnull), row.pk, row.hidden in _GENERATED, row.name in blind, utf16=utf16
        )
        for row in rows
    )
    taken = {column.name.lower() for column in columns}
    free = (alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken)
    return SourceTable(name, columns, next(free, None) if key_index is None else None, key_index)


async def _ignoring_case(connection: AsyncConnection, table: str, rows: Sequence[Row[Any]]) -> set[str]:
    """
    Return the columns to which a and A are equal.

    No PRAGMA has a column's collation. But a subquery's column has that of its first SELECT, here one without rows
    (SQLite, "Datatypes In SQLite", 7.1). A collation of the application's own is unknown here, and is left out.
    """
    columns = [row.name for row in rows]
    names = [quote_sqlite(column) for column in columns]
    compared = ", ".join(f"{name} = 'A'" for name in names)
    try:
        answers = await connection.exec_driver_sql(
            f"WITH one AS MATERIALIZED (SELECT {', '.join(names)} FROM {quote_sqlite(table)} NOT INDEXED WHERE 0 "
            f"UNION ALL SELECT {', '.join(['char(97)'] * len(names))}) SELECT {compared} FROM one"
        )
        return {column for column, equal in zip(columns, answers.one(), strict=True) if equal}
    except OperationalError as error:
        if "collation" not in str(error) and "no query solution" not in str(error):
            raise
        found = [await _ignoring_case(connection, table, [row]) for row in rows if len(rows) > 1]
        return set().union(*found)


async def _alembic_revisions(connection: AsyncConnection, tables: set[str]) -> tuple[str, ...]:
    if "alembic_version" not in tables:
        return ()
    rows = await connection.execute(text("SELECT version_num FROM alembic_version ORDER BY version_num"))
    return tuple(str(row[0]) for row in rows)
