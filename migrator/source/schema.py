"""Describes the tables and columns of a SQLite file, and lists what isn't copied, with the reason."""

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Row, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.bookkeeping.tools import VersionTable, recognised
from migrator.names import quote_sqlite
from migrator.source.virtual_tables import VirtualTable, owner_of, virtual_table
from migrator.sql.selection import ALL_ROWS, Selection


class Affinity(StrEnum):
    """The storage class that a column prefers for its values (SQLite, "Datatypes In SQLite", 3.1)."""

    INTEGER = "integer"
    TEXT = "text"
    BLOB = "blob"
    REAL = "real"
    NUMERIC = "numeric"


# The first line with a word that the declared type contains decides. If no line fits, the column is NUMERIC.
_AFFINITIES = (
    (Affinity.INTEGER, ("INT",)),
    (Affinity.TEXT, ("CHAR", "CLOB", "TEXT")),
    (Affinity.BLOB, ("BLOB",)),
    (Affinity.REAL, ("REAL", "FLOA", "DOUB")),
)


class SourceColumn(Struct, frozen=True):
    """A column as ``PRAGMA table_xinfo`` describes it."""

    name: str
    declared_type: str
    not_null: bool
    key_position: int
    """1 for the first column of the primary key; 0 if the column isn't part of the key."""
    generated: bool
    ignores_case: bool = False
    """Whether the column's collation is NOCASE, or another collation to which a and A are equal."""
    missing: str = ""
    """The function that computes the column, if only the application has this function: the column can't be read."""
    utf16: bool = False
    """Whether the file stores text in UTF-16 (SQLite, "PRAGMA encoding")."""

    @property
    def quoted(self) -> str:
        """The name as it stands in a statement."""
        return quote_sqlite(self.name)

    @property
    def affinity(self) -> Affinity:
        """The affinity that follows from the declared type."""
        declared = self.declared_type.upper()
        if not declared:
            return Affinity.BLOB
        fitting = (affinity for affinity, words in _AFFINITIES if any(word in declared for word in words))
        return next(fitting, Affinity.NUMERIC)


class SourceTable(Struct, frozen=True):
    """An ordinary table of the source."""

    name: str
    columns: tuple[SourceColumn, ...]
    rowid: str | None
    """The SQL name of the table's rowid; None for WITHOUT ROWID tables, or if columns have taken all three names."""
    key_index: str | None = None
    """SQLite's name for the b-tree of a WITHOUT ROWID table, which is its primary key; None for other tables."""
    key_has_index: bool = False
    """Whether the primary key has a b-tree beside the table's own. The rowid's alias has none."""
    schema: str = ""
    """The schema in scratch space with the table's rows, if they can't be read in the source (``readability``)."""
    selection: Selection = ALL_ROWS
    """The rows that are carried."""

    @property
    def quoted(self) -> str:
        """The name as it stands in a statement."""
        return f"{quote_sqlite(self.schema)}.{quote_sqlite(self.name)}" if self.schema else quote_sqlite(self.name)

    @property
    def origin(self) -> str:
        """
        The carried rows of the table as they stand in a FROM clause.

        Every reading of the table uses this clause, so none sees a row that stays behind. SQLite merges the subquery
        into the statement around it, so that the condition costs no pass of its own (SQLite, "The SQLite Query
        Optimizer Overview", 10).
        """
        if not self.condition and not self.selection.set_null:
            return self.stored
        columns = [
            self.selection.expression(column.name, column.quoted) for column in self.columns if not column.missing
        ]
        if self.rowid is not None:
            columns.insert(0, f"{self.rowid} AS {self.rowid}")
        where = f" WHERE {self.condition}" if self.condition else ""
        return f"(SELECT {', '.join(columns)} FROM {self.stored}{where}) AS {quote_sqlite(self.name)}"

    @property
    def condition(self) -> str:
        """The condition that every carried row meets, in SQLite's SQL over ``stored``; empty if all rows are."""
        return self.selection.condition

    @property
    def stored(self) -> str:
        """
        The table as it stands in a FROM clause that reads the table itself, never an index that has all the columns.

        It has all rows, also those that stay behind.

        An index may hold old values, while the application reads the table when it looks up a key. NOT INDEXED has no
        effect on a table WITHOUT ROWID, because its b-tree is itself an index (SQLite, "The INDEXED BY Clause").
        """
        how = f"INDEXED BY {quote_sqlite(self.key_index)}" if self.key_index else "NOT INDEXED"
        return f"{self.quoted} {how}"

    @property
    def version_table(self) -> VersionTable | None:
        """The kind of bookkeeping table that this one is; None for a table of the application."""
        return recognised(self.name, (column.name for column in self.columns))

    @property
    def key(self) -> tuple[SourceColumn, ...]:
        """The primary key's columns in the key's order; empty if there is none."""
        return tuple(sorted((c for c in self.columns if c.key_position), key=lambda c: c.key_position))

    @property
    def rowid_alias(self) -> SourceColumn | None:
        """
        The INTEGER PRIMARY KEY, which is the rowid itself (SQLite, "CREATE TABLE", 5); None if there is none.

        INTEGER PRIMARY KEY DESC isn't the rowid: such a key has an index, and may be NULL or hold text.
        """
        key = self.key
        is_integer = len(key) == 1 and key[0].declared_type.casefold() == "integer"
        return key[0] if is_integer and self.rowid is not None and not self.key_has_index else None


class Skipped(Struct, frozen=True):
    """A table, view or index of the source that isn't copied, and the reason."""

    name: str
    reason: str
    rows: int | None = 0
    """The number of its own rows, which no copied table stores; None if unknown without the virtual table's module."""
    over: str = ""
    """The table that it indexes, if it is a full-text index that keeps the indexed text."""

    @property
    def may_lose(self) -> bool:
        """Whether rows are lost, or may be lost, that no copied table holds."""
        return self.rows != 0 and not self.over


class SourceDatabase(Struct, frozen=True):
    """The tables of a source, what isn't copied, and the revisions of its schema."""

    tables: tuple[SourceTable, ...]
    skipped: tuple[Skipped, ...]
    alembic_revisions: tuple[str, ...]
    bookkeeping: tuple[SourceTable, ...] = ()
    """The tables in which migration tools keep versions, as long as they aren't among the ``tables``."""

    @property
    def all_tables(self) -> tuple[SourceTable, ...]:
        """The ordinary tables and the bookkeeping tables."""
        return self.tables + self.bookkeeping

    def set_aside(self) -> "SourceDatabase":
        """Return the source with its bookkeeping tables apart from the others."""
        kept = tuple(table for table in self.tables if table.version_table)
        others = tuple(table for table in self.tables if not table.version_table)
        return replace(self, tables=others, bookkeeping=self.bookkeeping + kept)


async def describe(connection: AsyncConnection) -> SourceDatabase:
    """Return the ordinary tables of the file, and what isn't copied, with the reason."""
    listed_tables = (await connection.execute(text(_TABLES))).all()
    columns: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in (await connection.execute(text(_COLUMNS))).all():
        columns[row.table_name].append(row)
    key_indexes = {row.name: row.key_index for row in (await connection.execute(text(_KEY_INDEXES))).all()}
    utf16 = str(await connection.scalar(text("PRAGMA encoding"))).upper().startswith("UTF-16")
    tables: list[SourceTable] = []
    skipped: list[Skipped] = []
    virtual = {
        name: virtual_table(name, definition or "")
        for name, kind, _, _, definition in listed_tables
        if kind == "virtual"
    }
    for name, kind, without_rowid, collates, definition in listed_tables:
        reason = _left_out(name, kind, definition or "", tuple(virtual.values()))
        if name in virtual:
            continue
        if reason is None:
            blind = await _ignoring_case(connection, name, columns[name]) if collates else set()
            key_index = key_indexes[name] if without_rowid else None
            table = _table(name, columns[name], blind, key_index, utf16=utf16)
            tables.append(replace(table, key_has_index=name in key_indexes))
        elif reason:
            skipped.append(Skipped(name, reason))
    skipped += [await _virtual(connection, table, tables) for table in virtual.values()]
    skipped.sort(key=lambda entry: entry.name)
    revisions = await _alembic_revisions(connection, {row[0] for row in listed_tables})
    return SourceDatabase(tuple(tables), tuple(skipped), revisions)


# A table has columns that aren't compared byte by byte only if its definition contains the word COLLATE.
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
WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') AND i.origin = 'pk'
"""

# The values of `hidden` in table_xinfo for generated columns (SQLite, "PRAGMA table_xinfo").
_GENERATED = (2, 3)


def _left_out(name: str, kind: str, definition: str, virtual: Sequence[VirtualTable]) -> str | None:
    """Return why a table isn't copied; empty if the reader need not know, None for a table that is copied."""
    if name in {"sqlite_schema", "sqlite_temp_schema", "sqlite_sequence"}:
        return ""  # the schema itself, and the counters that the sequences stage reads
    if name.startswith("sqlite_"):
        return "internal to SQLite"
    if kind == "view":
        return "a view"
    # SQLite's own answer isn't used: SQLite judges by the name alone, and calls every table of that name storage.
    return "the storage of a virtual table" if owner_of(name, definition, virtual) else None


async def _virtual(connection: AsyncConnection, table: VirtualTable, tables: Sequence[SourceTable]) -> Skipped:
    """Return a virtual table as skipped, with the number of its rows that may be in no copied table."""
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
    Return whether a full-text index that keeps its text has the text from ``table``, even if the index lags behind.

    The index has columns of the same names, and each of its rows is in the table, by its number or by its values.
    """
    columns_by_name = {column.name.casefold(): column for column in table.columns}
    fed = [columns_by_name[name.casefold()] for name in index.indexed if name.casefold() in columns_by_name]
    if not fed or len(fed) < len(index.indexed) or any(column.missing for column in fed) or table.rowid is None:
        return False
    content = quote_sqlite(index.content or "")
    described = (await connection.exec_driver_sql(f"PRAGMA table_info({content})")).all()
    if len(described) <= len(fed):
        return False
    number, *kept = [quote_sqlite(row.name) for row in described][: len(fed) + 1]
    result = await connection.exec_driver_sql(
        f"SELECT EXISTS (SELECT {', '.join(kept)} FROM {content} NOT INDEXED "
        f"WHERE {number} NOT IN (SELECT {table.rowid} FROM {table.origin}) "
        f"EXCEPT SELECT {', '.join(column.quoted for column in fed)} FROM {table.origin})"
    )
    return not result.scalar_one()


def _table(
    name: str, rows: Sequence[Row[Any]], blind: Container[str], key_index: str | None, *, utf16: bool
) -> SourceTable:
    columns = tuple(
        SourceColumn(
            row.name, row.type, bool(row.notnull), row.pk, row.hidden in _GENERATED, row.name in blind, utf16=utf16
        )
        for row in rows
    )
    rowid = rowid_name(column.name for column in columns) if key_index is None else None
    return SourceTable(name, columns, rowid, key_index)


def rowid_name(columns: Iterable[str]) -> str | None:
    """Return the name that the rowid of a table with such columns has in SQL; None if they take all three names."""
    taken = {column.lower() for column in columns}
    return next((alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken), None)


async def _ignoring_case(connection: AsyncConnection, table: str, rows: Sequence[Row[Any]]) -> set[str]:
    """
    Return the columns whose collation treats a and A as equal.

    No PRAGMA returns a column's collation. But a column of a subquery has the collation of the subquery's first SELECT,
    and that SELECT may have no rows (SQLite, "Datatypes In SQLite", 7.1). A collation that only the application has is
    unknown to SQLite: its column isn't returned.
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
        groups = [await _ignoring_case(connection, table, [row]) for row in rows if len(rows) > 1]
        return set().union(*groups)


async def _alembic_revisions(connection: AsyncConnection, tables: set[str]) -> tuple[str, ...]:
    if "alembic_version" not in tables:
        return ()
    rows = await connection.execute(text("SELECT version_num FROM alembic_version ORDER BY version_num"))
    return tuple(str(row[0]) for row in rows)
