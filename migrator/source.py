"""
The SQLite end: it describes itself and yields record batches. Nothing here can write.

Two libraries read the file. SQLAlchemy over aiosqlite asks the small questions (schema, PRAGMAs). The ADBC driver does
the scans: it steps the statement in C and appends to Arrow arrays, so no Python object per value exists.
"""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi as adbc
import pyarrow as pa
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from migrator.errors import SourceChanged, SourceUnreadable
from migrator.names import quote_sqlite
from migrator.retry import is_transient
from migrator.source_file import Fingerprint, Stamp, stamp, unreadable, uri_of

BOOKKEEPING = frozenset({"alembic_version"})
"""Tables that say how far a schema is; each side keeps its own."""


class StorageClass(StrEnum):
    """What ``typeof()`` says of a stored value (SQLite, "Datatypes In SQLite", 2)."""

    NULL = "null"
    INTEGER = "integer"
    REAL = "real"
    TEXT = "text"
    BLOB = "blob"


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


# The typed row that goes first in every scan, and what the driver makes of it.
_TYPED_LITERAL = {
    StorageClass.INTEGER: "0",
    StorageClass.REAL: "0.0",
    StorageClass.TEXT: "''",
    StorageClass.BLOB: "x''",
}
_ARROW_TYPE = {
    StorageClass.INTEGER: pa.int64(),
    StorageClass.REAL: pa.float64(),
    StorageClass.TEXT: pa.string(),
    StorageClass.BLOB: pa.binary(),
}


_MOST_LANES = 1_900
"""Of one statement, which has at most 2,000 result columns (SQLite, "Implementation Limits")."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One column of a scan: an SQL expression, and the storage class that all its values (but NULL) must have."""

    expression: str
    storage: StorageClass

    @property
    def arrow_type(self) -> pa.DataType:
        """What the driver makes of it."""
        return _ARROW_TYPE[self.storage]


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

    @property
    def quoted(self) -> str:
        """The name as it stands in a statement."""
        return quote_sqlite(self.name)

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


@dataclass(frozen=True, slots=True)
class SourceDatabase:
    """What a source holds."""

    tables: tuple[SourceTable, ...]
    skipped: tuple[Skipped, ...]
    alembic_revisions: tuple[str, ...]


class Source:
    """A SQLite database file, opened for reading only."""

    def __init__(self, path: Path, stamp: Stamp | None = None) -> None:
        """``stamp`` is that of the file of which this one is a copy."""
        self.path = path
        self.uri = uri_of(path)
        self._stamp = stamp
        self._engine = create_async_engine(f"sqlite+aiosqlite:///{self.uri}&uri=true")

    async def close(self) -> None:
        """Close the connections of the small questions; scans close their own."""
        await self._engine.dispose()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """
        Open a connection for the small questions.

        Raises SourceUnreadable if SQLite can't open or read the file; that it is busy comes as it is, to be retried.
        """
        try:
            async with self._engine.connect() as connection:
                yield connection
        except (DBAPIError, sqlite3.Error) as error:
            # What the block has raised comes through here too: an error of the target is none of ours.
            if is_transient(error) or not isinstance(getattr(error, "orig", error), sqlite3.Error):
                raise
            raise unreadable(self.path, error) from error

    @asynccontextmanager
    async def pinned(self) -> AsyncIterator["Watch"]:
        """
        Hold a read transaction while the block runs, and watch for writers.

        A database with a rollback journal takes no commits while somebody reads, so its writers are told that it is
        locked. One in WAL mode takes them; the watch notices (SQLite, "Isolation In SQLite").
        """
        async with self.connect() as pin, self.connect() as watch:
            await pin.exec_driver_sql("BEGIN")
            await pin.execute(text("SELECT count(*) FROM sqlite_schema"))
            yield Watch(self.path, watch, await _data_version(watch))

    async def describe(self) -> SourceDatabase:
        """Return the ordinary tables of the file, and what is left out with the reason."""
        async with self.connect() as connection:
            listed = (await connection.execute(text(_TABLES))).all()
            tables: list[SourceTable] = []
            skipped: list[Skipped] = []
            for name, kind, without_rowid in listed:
                reason = _left_out(name, kind)
                if reason is None:
                    tables.append(await _table(connection, name, without_rowid=bool(without_rowid)))
                elif reason:
                    skipped.append(Skipped(name, reason))
            revisions = await _alembic_revisions(connection, {row[0] for row in listed})
        return SourceDatabase(tuple(tables), tuple(skipped), revisions)

    async def fingerprint(self) -> Fingerprint:
        """Return what tells this file, as it is now, from another."""
        async with self.connect() as connection:
            schema = await connection.scalar(text(_SCHEMA_TEXT))
        digest = hashlib.sha256(str(schema).encode(errors="surrogatepass")).hexdigest()
        return Fingerprint(*(self._stamp or stamp(self.path)), digest)

    @contextmanager
    def session(self) -> Iterator["ScanSession"]:
        """Open one connection for scans, in one read transaction: its scans all see the same moment."""
        try:
            connection = adbc.connect(self.uri)
        except adbc.Error as error:
            raise unreadable(self.path, error) from error
        try:
            yield ScanSession(self.path, connection)
        finally:
            connection.close()


class Watch:
    """Notices commits of others to the file since it began."""

    def __init__(self, path: Path, connection: AsyncConnection, version: int) -> None:
        self._path = path
        self._connection = connection
        self._version = version
        self._in_turn = asyncio.Lock()

    async def check(self) -> None:
        """Raise SourceChanged if somebody has committed to the file."""
        async with self._in_turn:
            version = await _data_version(self._connection)
        if version != self._version:
            raise SourceChanged(
                f"somebody writes to the source {str(self._path)!r} while it is read",
                next_step="stop the application and run again with --restart, or use --snapshot to leave it running",
                source=str(self._path),
            )


async def _data_version(watch: AsyncConnection) -> int:
    """
    Return a number that changes when another connection commits to the file.

    It means something only on one connection, which is in no transaction when asked (SQLite, "PRAGMA data_version").
    """
    version = await watch.scalar(text("PRAGMA data_version"))
    await watch.rollback()
    return int(version or 0)


class ScanSession:
    """Scans over one connection of the ADBC driver; to be used by one thread at a time."""

    def __init__(self, path: Path, connection: Any) -> None:  # noqa: ANN401 - the driver ships no types
        self._path = path
        self._connection = connection

    def ask(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows of a statement with a small answer: aggregates, PRAGMAs, a handful of examples."""
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(statement)
                rows: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
            except adbc.Error as error:
                if is_transient(error):
                    raise
                raise unreadable(self._path, error) from error
        return rows

    def scan(
        self, table: SourceTable, lanes: Sequence[Lane], *, batch_rows: int, where: str = ""
    ) -> Iterator[pa.RecordBatch]:
        """
        Yield the table's rows as record batches of at most ``batch_rows`` rows, one array a lane, in scan order.

        Raises SourceUnreadable for a damaged file, and for a value whose storage class isn't its lane's: preflight has
        counted those, so a stray one means that the file changed.
        """
        if len(lanes) <= _MOST_LANES:
            yield from self._scan(table, table.quoted, lanes, batch_rows, where)
            return
        # Side by side, in the order of the table: an index may hold the columns of one part and not of another.
        parts = [lanes[start : start + _MOST_LANES] for start in range(0, len(lanes), _MOST_LANES)]
        origin = f"{table.quoted} NOT INDEXED"
        for batches in zip(*(self._scan(table, origin, part, batch_rows, where) for part in parts), strict=True):
            arrays = [array for batch in batches for array in batch.columns]
            yield pa.record_batch(arrays, names=[f"c{i}" for i in range(len(arrays))])

    def _scan(
        self, table: SourceTable, origin: str, lanes: Sequence[Lane], batch_rows: int, where: str
    ) -> Iterator[pa.RecordBatch]:
        # One typed row goes first: the driver takes a column's type from its first batch, where a leading run of NULLs
        # would become int64 and a later string an error. `_without_typed_row` takes it out again.
        typed = ", ".join(f"{_TYPED_LITERAL[lane.storage]} AS c{i}" for i, lane in enumerate(lanes))
        selected = ", ".join(lane.expression for lane in lanes)
        condition = f" WHERE {where}" if where else ""
        statement = f"SELECT {typed} UNION ALL SELECT {selected} FROM {origin}{condition}"
        with self._connection.cursor() as cursor:
            try:
                cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(max(batch_rows, 1))})
                cursor.execute(statement)
                reader = cursor.fetch_record_batch()
                self._check_types(table, lanes, reader.schema)
                yield from _without_typed_row(reader)
            except (adbc.Error, OSError) as error:  # Arrow's reader turns the driver's errors into OSError
                if is_transient(error):
                    raise
                raise unreadable(self._path, error, table=table.name) from error

    def _check_types(self, table: SourceTable, lanes: Sequence[Lane], schema: pa.Schema) -> None:
        for lane, field in zip(lanes, schema, strict=True):
            if field.type != lane.arrow_type:
                raise SourceUnreadable(
                    f"table {table.name!r}: {lane.expression} gave {field.type} where {lane.storage} was counted",
                    next_step="the file was written to while it was read: stop the writer and run again",
                    table=table.name,
                )


def _without_typed_row(reader: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    first = True
    for batch in reader:
        kept = batch.slice(1) if first else batch
        first = False
        if kept.num_rows:
            yield kept


_TABLES = """
SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' ORDER BY name
"""

_COLUMNS = """
SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(:table) ORDER BY cid
"""

_SCHEMA_TEXT = """
SELECT coalesce(group_concat(type || name || coalesce(sql, ''), char(10)), '')
FROM (SELECT type, name, sql FROM sqlite_schema ORDER BY type, name)
"""

# What table_xinfo says in `hidden` (SQLite, "PRAGMA table_xinfo"): 2 and 3 are generated columns.
_GENERATED = (2, 3)


def _left_out(name: str, kind: str) -> str | None:
    """Return why a table isn't copied; empty for what needs no mention, None for one that is copied."""
    if name in {"sqlite_schema", "sqlite_temp_schema", "sqlite_sequence"}:
        return ""  # the schema itself, and the counters that the sequences stage reads
    if name.startswith("sqlite_"):
        return "internal to SQLite"
    if name in BOOKKEEPING:
        return "bookkeeping of migrations: each side keeps its own"
    return {"view": "a view", "virtual": "a virtual table", "shadow": "the storage of a virtual table"}.get(kind)


async def _table(connection: AsyncConnection, name: str, *, without_rowid: bool) -> SourceTable:
    rows = (await connection.execute(text(_COLUMNS), {"table": name})).all()
    blind = await _ignoring_case(connection, name, [row[0] for row in rows])
    columns = tuple(
        SourceColumn(column, declared, bool(not_null), position, hidden in _GENERATED, column in blind)
        for column, declared, not_null, position, hidden in rows
    )
    taken = {column.name.lower() for column in columns}
    free = (alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken)
    return SourceTable(name, columns, None if without_rowid else next(free, None))


async def _ignoring_case(connection: AsyncConnection, table: str, columns: Sequence[str]) -> set[str]:
    """
    Return the columns to which a and A are equal.

    No PRAGMA has a column's collation. But a subquery's column has that of its first SELECT, here one without rows
    (SQLite, "Datatypes In SQLite", 7.1). A collation of the application's own is unknown here, and is left out.
    """
    names = [quote_sqlite(column) for column in columns]
    compared = ", ".join(f"{name} = 'A'" for name in names)
    try:
        answers = await connection.exec_driver_sql(
            f"WITH one AS MATERIALIZED (SELECT {', '.join(names)} FROM {quote_sqlite(table)} WHERE 0 "
            f"UNION ALL SELECT {', '.join(['char(97)'] * len(names))}) SELECT {compared} FROM one"
        )
        return {column for column, equal in zip(columns, answers.one(), strict=True) if equal}
    except OperationalError as error:
        if "collation" not in str(error):
            raise
        found = [await _ignoring_case(connection, table, [column]) for column in columns if len(columns) > 1]
        return set().union(*found)


async def _alembic_revisions(connection: AsyncConnection, tables: set[str]) -> tuple[str, ...]:
    if "alembic_version" not in tables:
        return ()
    rows = await connection.execute(text("SELECT version_num FROM alembic_version ORDER BY version_num"))
    return tuple(str(row[0]) for row in rows)
