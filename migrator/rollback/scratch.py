"""Writes what is found about the changes of a table into a scratch database of SQLite's, from streams of Arrow."""

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import adbc_driver_sqlite.dbapi as adbc
import duckdb
import pyarrow as pa
from msgspec import Struct

from migrator.errors import ConfigurationError
from migrator.names import quote_literal, quote_sqlite
from migrator.source.file import open_file, uri_of

_ROWS_AT_ONCE = 8_192


_ROWS, _CELLS = "rows", "cells"
"""Names of the databases: one lists rows, the other has their values. So the lists can be read while values come."""

_UNSYNCED = "synchronous = OFF"
"""Nobody needs these databases after a crash, and a disk may take longer to sync than all the rest."""

_OF_CELLS = frozenset({"here", "there"})


_BYTES_A_ROW = 48
"""What a table takes for certain if it has changed: three numbers of eight bytes for each row of both sides."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder for the scratch databases. Raises ConfigurationError if there is none that can be written to."""
    try:
        folder = TemporaryDirectory(prefix="migrator-")
    except OSError as error:
        raise ConfigurationError(
            f"there is no folder for the lists of changed rows: {error.strerror or error}",
            next_step="Set TMPDIR to a folder that the user of the job may write to.",
        ) from error
    with folder as name:
        yield Path(name)


def refuse_without_room(folder: Path, rows: int) -> None:
    """Raise ConfigurationError if there is no room to list the changes of a table with so many rows."""
    needed, free = rows * _BYTES_A_ROW, shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigurationError(
            f"there is no room for the lists of changed rows in {str(folder.parent)!r}: at least {needed} bytes are "
            f"needed for the largest table, {free} are free",
            next_step="Make room, or set TMPDIR to a folder on another disk. The changed rows' values come there, too.",
        )


_FULL = ("disk is full", "No space left", "failed to offload", "cannot rollback - no transaction is active")
"""What SQLite, DuckDB and the driver say when a disk is full. The last is SQLite's: it has rolled back by itself."""


@contextmanager
def telling_a_full_disk(folder: Path) -> Iterator[None]:
    """Raise ConfigurationError instead of an error by which a program says that the disk of ``folder`` is full."""
    try:
        yield
    except Exception as error:
        if not any(words in str(error) for words in _FULL):
            raise
        raise ConfigurationError(
            f"there was no room for the changed rows any more in {str(folder.parent)!r}",
            next_step="Make room, or set TMPDIR to a folder on another disk, and run it again.",
        ) from error


def empty(folder: Path, old: Path) -> None:
    """
    Make the scratch databases in a folder, without what an earlier try has left there.

    They have the encoding of the ``old`` file: else SQLite attaches none of them to it. Raises ``sqlite3.Error``.
    """
    with closing(open_file(old)) as connection:
        [encoding] = connection.execute("PRAGMA encoding").fetchone()
    for name in (_ROWS, _CELLS):
        _file(folder, name).write_bytes(b"")
        with closing(sqlite3.connect(_file(folder, name))) as connection:
            # A file keeps its encoding from its first table on.
            connection.executescript(
                f"PRAGMA {_UNSYNCED}; PRAGMA encoding = {quote_literal(encoding)}; CREATE TABLE none (none); "
                "DROP TABLE none"
            )


@contextmanager
def attached(folder: Path, *, write: bool = False) -> Iterator[sqlite3.Connection]:
    """Yield a connection that has the scratch databases of a folder, and can have the old file beside them."""
    with closing(sqlite3.connect(_file(folder, _ROWS))) as connection:
        [encoding] = connection.execute("PRAGMA encoding").fetchone()
    with closing(sqlite3.connect(":memory:", uri=True)) as connection:
        connection.execute(f"PRAGMA encoding = {quote_literal(encoding)}")
        for attachment in attachments(folder, write=write):
            connection.execute(attachment)
        yield connection


def attachments(folder: Path, *, write: bool = False) -> tuple[str, ...]:
    """Return the statements that attach the scratch databases of a folder to a connection."""
    return tuple(
        f"ATTACH {quote_literal(_uri(_file(folder, name), write=write))} AS {name}" for name in (_ROWS, _CELLS)
    )


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.db"


def bytes_of_values(folder: Path) -> int:
    """Return the size of the scratch database with the values of changed rows."""
    return _file(folder, _CELLS).stat().st_size


def _uri(path: Path, *, write: bool) -> str:
    return uri_of(path).replace("?mode=ro", "?mode=rw") if write else uri_of(path)


class Scratch(Struct, frozen=True):
    """The tables of the scratch databases in a folder that belong to one table of the source."""

    folder: Path
    prefix: str
    """The first word of the tables' names."""

    def name(self, kind: str) -> str:
        """Return the name of the scratch table for rows of a kind, such as changed or added, as SQL spells it."""
        return f"{_database(kind)}.{quote_sqlite(f'{self.prefix} {kind}')}"

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement in the databases and return its rows. Raises ``sqlite3.Error``."""
        with attached(self.folder, write=True) as connection, connection:
            for name in (_ROWS, _CELLS):
                connection.execute(f"PRAGMA {name}.{_UNSYNCED}")
            return connection.execute(statement).fetchall()

    def fill(self, kind: str, columns: Sequence[str], duck: duckdb.DuckDBPyConnection, query: str) -> int:
        """
        Make a scratch table of the answer of DuckDB's ``query``, and return the number of its rows.

        The first of the ``columns`` is the key. Rows that come in the order of their key are written fastest. The
        answer passes as a stream, so its rows have to be narrow.
        """
        self.create(kind, columns)
        reader: pa.RecordBatchReader = duck.sql(query).to_arrow_reader(_ROWS_AT_ONCE)
        rows = 0

        def counted() -> Iterator[pa.RecordBatch]:
            nonlocal rows
            for batch in reader:
                rows += batch.num_rows
                yield batch

        self.ingest(kind, pa.RecordBatchReader.from_batches(reader.schema, counted()))
        return rows

    def create(self, kind: str, columns: Sequence[str]) -> None:
        """Make a scratch table without rows. The first of the ``columns`` is the key."""
        key, *others = columns
        # A key of numbers is the rowid itself; a table with another key needs none beside it.
        without = "" if key.endswith(" INTEGER") else " WITHOUT ROWID"
        self.execute(f"DROP TABLE IF EXISTS {self.name(kind)}")
        self.execute(f"CREATE TABLE {self.name(kind)} ({', '.join((f'{key} PRIMARY KEY', *others))}){without}")

    def ingest(self, kind: str, rows: pa.RecordBatchReader) -> None:
        """Append rows to a scratch table. Raises the driver's errors."""
        uri = _uri(_file(self.folder, _database(kind)), write=True)
        with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(f"PRAGMA {_UNSYNCED}")
            cursor.adbc_ingest(f"{self.prefix} {kind}", rows, mode="append")


def _database(kind: str) -> str:
    return _CELLS if kind in _OF_CELLS else _ROWS
