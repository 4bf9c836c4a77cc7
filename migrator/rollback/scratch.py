"""Writes what is found about the changes of a table into a scratch database of SQLite's, from streams of Arrow."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import adbc_driver_sqlite.dbapi as adbc
import duckdb
import pyarrow as pa

from migrator.names import quote_literal, quote_sqlite
from migrator.source.file import uri_of

_ROWS_AT_ONCE = 8_192


_ROWS, _CELLS = "rows", "cells"
"""Names of the databases: one lists rows, the other has their values. So the lists can be read while values come."""

_UNSYNCED = "synchronous = OFF"
"""Nobody needs these databases after a crash, and a disk may take longer to sync than all the rest."""

_OF_CELLS = frozenset({"here", "there"})


def empty(folder: Path) -> None:
    """Make the scratch databases in a folder, without what an earlier try has left there."""
    for name in (_ROWS, _CELLS):
        _file(folder, name).write_bytes(b"")


def attachments(folder: Path, *, write: bool = False) -> tuple[str, ...]:
    """Return the statements that attach the scratch databases of a folder to a connection."""
    return tuple(
        f"ATTACH {quote_literal(_uri(_file(folder, name), write=write))} AS {name}" for name in (_ROWS, _CELLS)
    )


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.db"


def _uri(path: Path, *, write: bool) -> str:
    return uri_of(path).replace("?mode=ro", "?mode=rw") if write else uri_of(path)


@dataclass(frozen=True, slots=True)
class Scratch:
    """The tables of the scratch databases in a folder that belong to one table of the source."""

    folder: Path
    prefix: str
    """The first word of the tables' names."""

    def name(self, kind: str) -> str:
        """Return the name of the scratch table for rows of a kind, such as changed or added, as SQL spells it."""
        return f"{_database(kind)}.{quote_sqlite(f'{self.prefix} {kind}')}"

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement in the databases and return its rows. Raises ``sqlite3.Error``."""
        with closing(sqlite3.connect(":memory:", uri=True)) as connection, connection:
            for attachment in attachments(self.folder, write=True):
                connection.execute(attachment)
            for name in (_ROWS, _CELLS):
                connection.execute(f"PRAGMA {name}.{_UNSYNCED}")
            return connection.execute(statement).fetchall()

    def fill(self, kind: str, columns: Sequence[str], duck: duckdb.DuckDBPyConnection, query: str) -> int:
        """
        Make a scratch table of the answer of DuckDB's ``query``, and return the number of its rows.

        The first of the ``columns`` is the key. Rows that come in the order of their key are written fastest.
        """
        self.create(kind, columns)
        return self.append(kind, duck, query)

    def create(self, kind: str, columns: Sequence[str]) -> None:
        """Make a scratch table without rows. The first of the ``columns`` is the key."""
        key, *others = columns
        # A key of numbers is the rowid itself; a table with another key needs none beside it.
        without = "" if key.endswith(" INTEGER") else " WITHOUT ROWID"
        self.execute(f"DROP TABLE IF EXISTS {self.name(kind)}")
        self.execute(f"CREATE TABLE {self.name(kind)} ({', '.join((f'{key} PRIMARY KEY', *others))}){without}")

    def append(self, kind: str, duck: duckdb.DuckDBPyConnection, query: str) -> int:
        """Append the answer of DuckDB's ``query`` to a scratch table, and return the number of rows."""
        reader: pa.RecordBatchReader = duck.sql(query).to_arrow_reader(_ROWS_AT_ONCE)
        rows = 0

        def counted() -> Iterator[pa.RecordBatch]:
            nonlocal rows
            for batch in reader:
                rows += batch.num_rows
                yield batch

        stream = pa.RecordBatchReader.from_batches(reader.schema, counted())
        uri = _uri(_file(self.folder, _database(kind)), write=True)
        with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(f"PRAGMA {_UNSYNCED}")
            cursor.adbc_ingest(f"{self.prefix} {kind}", stream, mode="append")
        return rows


def _database(kind: str) -> str:
    return _CELLS if kind in _OF_CELLS else _ROWS
