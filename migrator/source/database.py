"""
Opens the source for reading only, describes it, and opens sessions for scans.

Two libraries read the file. SQLAlchemy with aiosqlite runs the small queries (schema, PRAGMAs). The ADBC driver runs
the scans.
"""

import asyncio
import hashlib
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from msgspec.structs import asdict, replace
from sqlalchemy import AsyncAdaptedQueuePool, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from migrator.errors import SourceChanged
from migrator.names import quote_literal
from migrator.runtime.retry import is_transient
from migrator.source import readability
from migrator.source import schema as source_schema
from migrator.source.file import TOUCHED, Fingerprint, Stamp, stamp, unreadable, uri_of
from migrator.source.schema import SourceDatabase

if TYPE_CHECKING:
    from migrator.source.scan import ScanSession

_NUMBERS: Final = ("schema_version", "user_version")
"""Pragmas that tell one state of a schema from another (SQLite, "PRAGMA Statements")."""

_THREAD_SECONDS: Final = 10.0
"""A thread ends within SQLite's busy timeout (5 s). A file system that hangs must not keep the process."""


class Source:
    """A SQLite database file, opened for reading only."""

    def __init__(self, path: Path, stamp: Stamp | None = None) -> None:
        """Take the database file at ``path``. If it is a copy, ``stamp`` is the stamp of the original file."""
        self.path = path
        self.uri = uri_of(path)
        self._stamp = stamp
        self._scratch: TemporaryDirectory[str] | None = None
        self._attached: dict[str, str] = {}
        self._threads: set[threading.Thread] = set()
        self._descriptor: int | None = None
        self._opening = threading.Lock()
        # SQLAlchemy's URL isn't used: it would split and decode the path, and the result may be another path.
        self._engine = create_async_engine("sqlite+aiosqlite://", creator=self._open, poolclass=AsyncAdaptedQueuePool)

    def _open(self) -> DBAPIConnection:
        driver = self._engine.dialect.loaded_dbapi
        connection: DBAPIConnection = driver.connect(self.uri, uri=True, factory=self._open_in_thread)
        return connection

    def _open_in_thread(self, path: str, **_options: object) -> sqlite3.Connection:
        self._threads.add(threading.current_thread())
        return sqlite3.Connection(path, uri=True)

    async def close(self) -> None:
        """
        Close the connections of the small queries, and wait until their threads end.

        Sessions for scans close their own connections.
        """
        await self._engine.dispose()
        # A connection that couldn't be opened, or was given up, ends in its thread, which reports to the event loop.
        # If the loop were closed by then, the thread would print a traceback.
        await asyncio.to_thread(_join, frozenset(self._threads))
        if self._scratch is not None:
            self._scratch.cleanup()
        if self._descriptor is not None:
            os.close(self._descriptor)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """
        Open a connection for the small queries.

        Raises SourceUnreadable if SQLite can't open or read the file. If the file is busy, the driver's error is raised
        unchanged, so that the caller can retry.
        """
        try:
            async with self._engine.connect() as connection:
                if self._attached:
                    there = await _schemas(connection)
                    for statement in (attach for schema, attach in self._attached.items() if schema not in there):
                        await connection.exec_driver_sql(statement)
                yield connection
        except (DBAPIError, sqlite3.Error) as error:
            # Errors that the block has raised arrive here too, and an error of the target must not be changed.
            if is_transient(error) or not isinstance(getattr(error, "orig", error), sqlite3.Error):
                raise
            raise unreadable(self.path, error) from error

    @asynccontextmanager
    async def pinned(self) -> AsyncIterator["Watch"]:
        """
        Hold a read transaction while the block runs, and yield a watch that notices writers.

        A database with a rollback journal accepts no commits while somebody reads: its writers get the error that it is
        locked. A database in WAL mode accepts commits, and the watch notices them (SQLite, "Isolation In SQLite").
        """
        async with self.connect() as pin, self.connect() as watch:
            # The stamp is read before the lock is taken: when a process closes a file, it loses all its locks on that
            # file (fcntl, POSIX).
            before = stamp(self.path)
            await pin.exec_driver_sql("BEGIN")
            await pin.execute(text("SELECT count(*) FROM sqlite_schema"))
            yield Watch(self.path, watch, await _data_version(watch), before)

    async def describe(self) -> SourceDatabase:
        """
        Return the ordinary tables of the file, the bookkeeping tables, and what isn't copied, with the reason.

        If the driver of the scans can't read the rows of a table, these rows are copied into scratch space first.
        """
        async with self.connect() as connection:
            database = await source_schema.describe(connection)
        if readability.is_doubtful(database):
            database = await asyncio.to_thread(self._made_readable, database)
        return database.set_aside()

    def _made_readable(self, described: SourceDatabase) -> SourceDatabase:
        with self.session() as session:
            database = readability.looked_at(session, described)
            unreadable_tables = readability.without_order(session, database)
            if not unreadable_tables:
                return database
            file = self._scratch_file()
            copied = {table.name: table for table in readability.put_into(file, self.path, session, unreadable_tables)}
        self.attach(file, readability.SCHEMA)
        return replace(database, tables=tuple(copied.get(table.name, table) for table in database.tables))

    def _scratch_file(self) -> Path:
        self._scratch = self._scratch or TemporaryDirectory(prefix="migrator-")
        return Path(self._scratch.name) / f"{uuid4().hex}.db"

    def scratch_database(self) -> tuple[Path, str]:
        """Return a new path in scratch space, which is removed with the source, and a schema name for its database."""
        file = self._scratch_file()
        return file, f"scratch_{file.stem}"

    def attach(self, file: Path, schema: str) -> None:
        """Attach a database in scratch space, for reading, to every session that is opened from now on."""
        self._attached[schema] = f"ATTACH {quote_literal(uri_of(file))} AS {schema}"

    def beside(self, path: Path) -> "Source":
        """Return a source for another file of the same schema, whose sessions see the same scratch databases."""
        other = Source(path)
        other._attached = dict(self._attached)
        return other

    def descriptor(self) -> int:
        """
        Return a descriptor of the file, for reading, which is open until the source is closed.

        To close it earlier would release the locks of all connections: a process that closes a file loses all its locks
        on that file (fcntl, POSIX).
        """
        with self._opening:  # several tables are looked at in threads of their own
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            return self._descriptor

    async def fingerprint(self) -> Fingerprint:
        """Return the fingerprint, which tells this file, as it is now, from another file or an earlier state."""
        async with self.connect() as connection:
            schema = await connection.scalar(text(_SCHEMA_TEXT))
        digest = hashlib.sha256(str(schema).encode(errors="surrogatepass")).hexdigest()
        return Fingerprint(**asdict(self._stamp or stamp(self.path)), schema_digest=digest)

    async def facts(self) -> dict[str, int]:
        """Return the sizes of the file and its log in bytes, and the numbers of its schema and of the application."""
        measured = self._stamp or stamp(self.path)
        async with self.connect() as connection:
            numbers = [int(await connection.scalar(text(f"PRAGMA {name}")) or 0) for name in _NUMBERS]
        sizes = {"bytes": measured.size_bytes, "wal_bytes": measured.wal_bytes}
        return {**sizes, **dict(zip(_NUMBERS, numbers, strict=True))}

    @contextmanager
    def session(self) -> Iterator["ScanSession"]:
        """Open one connection for scans, in one read transaction. All its scans see the same moment."""
        # The drivers are loaded only for a scan: a run with nothing left to do ends sooner than they would be loaded.
        import adbc_driver_sqlite.dbapi as adbc  # noqa: PLC0415

        from migrator.source.scan import ScanSession  # noqa: PLC0415

        try:
            connection = adbc.connect(self.uri)
        except adbc.Error as error:
            raise unreadable(self.path, error) from error
        try:
            session = ScanSession(self.path, connection)
            for statement in self._attached.values():
                session.ask(statement)
            yield session
        finally:
            connection.close()


def _join(threads: Iterable[threading.Thread]) -> None:
    for thread in threads:
        thread.join(_THREAD_SECONDS)


async def _schemas(connection: AsyncConnection) -> set[str]:
    databases = await connection.exec_driver_sql("PRAGMA database_list")
    return {row.name for row in databases}


class Watch:
    """Notices commits that other programs have made to the file since the watch began."""

    def __init__(self, path: Path, connection: AsyncConnection, version: int, before: Stamp) -> None:
        self._path = path
        self._connection = connection
        self._version = version
        self._before = before
        self._in_turn = asyncio.Lock()

    async def check(self) -> None:
        """
        Raise SourceChanged if somebody has committed to the file.

        The version also grows when SQLite has rebuilt the index of a write-ahead log. This happens if two copies of
        SQLite (Python's and the driver's) read a file in one process. Then the file and its log are unchanged.
        """
        async with self._in_turn:
            version = await _data_version(self._connection)
            if version == self._version:
                return
            now = Fingerprint(**asdict(stamp(self._path)))
            if not Fingerprint(**asdict(self._before)).differences(now, but=TOUCHED):
                self._version = version
                return
            raise SourceChanged(
                f"somebody writes to the source {str(self._path)!r} while it is read",
                next_step="Stop the application and run again with --refresh, which brings what has changed. Or leave "
                "it running, and read a copy with --snapshot.",
                source=str(self._path),
            )


async def _data_version(watch: AsyncConnection) -> int:
    """
    Return a number that changes when another connection commits to the file.

    Numbers may be compared only if they come from the same connection, outside a transaction (SQLite, "PRAGMA
    data_version").
    """
    version = await watch.scalar(text("PRAGMA data_version"))
    await watch.rollback()
    return int(version or 0)


_SCHEMA_TEXT = """
SELECT coalesce(group_concat(type || name || coalesce(sql, ''), char(10)), '')
FROM (SELECT type, name, sql FROM sqlite_schema ORDER BY type, name)
"""
