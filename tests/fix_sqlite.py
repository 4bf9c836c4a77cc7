"""SQLite files for tests: ``sqlite_file`` and ``make_sqlite``; and how they are read."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pytest

from migrator.contents import SourceTable
from migrator.scanning import Lane, ScanSession


class MakeSqlite(Protocol):
    """Makes SQLite files; what the fixture ``make_sqlite`` gives."""

    def __call__(
        self, script: str, rows: Mapping[str, Iterable[Sequence[object]]] | None = None, *, file: Path | None = None
    ) -> Path:
        """
        Run the SQL script in a new file, insert the rows by table name, and return the file's path.

        A row has a value for every column of its table, in the table's order; values keep their Python type's storage
        class unless the column's affinity changes it. Nothing has the file open afterwards.
        """


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    """Give the path of a SQLite file that is not there yet: ``make_sqlite`` makes this one unless told otherwise."""
    return tmp_path / "source.db"


@pytest.fixture
def make_sqlite(sqlite_file: Path) -> MakeSqlite:
    """Give a function that makes a SQLite file: ``make_sqlite("CREATE TABLE a (id)", {"a": [(1,), (2,)]})``."""

    def make(
        script: str, rows: Mapping[str, Iterable[Sequence[object]]] | None = None, *, file: Path | None = None
    ) -> Path:
        path = file or sqlite_file
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
            for table, values in (rows or {}).items():
                _insert(connection, table, list(values))
            connection.commit()
        return path

    return make


def _insert(connection: sqlite3.Connection, table: str, rows: list[Sequence[object]]) -> None:
    if rows:
        quoted = table.replace('"', '""')
        places = ", ".join("?" * len(rows[0]))
        connection.executemany(f'INSERT INTO "{quoted}" VALUES ({places})', rows)


@pytest.fixture
def read_alone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the names of the tables that have had a scan to themselves, in the order of the scans."""
    names: list[str] = []
    scan = ScanSession.scan

    def watched(
        self: ScanSession, table: SourceTable, lanes: Sequence[Lane], *, batch_rows: int, where: str = ""
    ) -> Iterator[pa.RecordBatch]:
        names.append(table.name)
        return scan(self, table, lanes, batch_rows=batch_rows, where=where)

    monkeypatch.setattr(ScanSession, "scan", watched)
    return names
