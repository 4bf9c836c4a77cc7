"""
Scans the source: yields rows as record batches, with one array for each column.

The ADBC driver steps through the statement in C and appends to Arrow arrays, so no Python object is made for a value.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi as adbc
import pyarrow as pa
from msgspec import Struct

from migrator.errors import SourceUnreadable
from migrator.runtime.retry import is_transient
from migrator.source.file import unreadable
from migrator.source.schema import SourceTable


class StorageClass(StrEnum):
    """The answer of ``typeof()`` for a stored value (SQLite, "Datatypes In SQLite", 2)."""

    NULL = "null"
    INTEGER = "integer"
    REAL = "real"
    TEXT = "text"
    BLOB = "blob"


# The typed row that goes first in every scan, and the Arrow types that the driver derives from it.
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

_MOST_SCAN_COLUMNS = 1_900
"""Columns of one statement, which has at most 2,000 result columns (SQLite, "Implementation Limits")."""

MOST_TOGETHER = 4_000
"""Columns of several tables in one statement. SQLite parses the statement as a whole, at most a megabyte of it."""


class ScanColumn(Struct, frozen=True):
    """One column of a scan: an SQL expression, and the storage class that all its values (but NULL) must have."""

    expression: str
    storage: StorageClass

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type that the driver gives the column."""
        return _ARROW_TYPE[self.storage]


class ScanSession:
    """Runs scans on one connection of the ADBC driver. Only one thread at a time may use it."""

    def __init__(self, path: Path, connection: Any) -> None:  # noqa: ANN401 - the driver ships no types
        self._path = path
        self._connection = connection

    def ask(self, statement: str) -> list[dict[str, Any]]:
        """
        Return the rows of a statement with a small answer: aggregates, PRAGMAs, a few examples.

        Raises SourceUnreadable; if the file is busy, raises the driver's error, so that the caller can retry.
        """
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(statement)
                rows: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
            except adbc.Error as error:
                if is_transient(error):
                    raise
                raise unreadable(self._path, error) from error
        return rows

    def commit(self) -> None:
        """Commit what was written into attached databases in scratch space, and end the read transaction."""
        self._connection.commit()

    def scan(
        self, table: SourceTable, scan_columns: Sequence[ScanColumn], *, batch_rows: int, where: str = ""
    ) -> Iterator[pa.RecordBatch]:
        """
        Yield the table's rows as record batches of at most ``batch_rows`` rows, with one array for each scan column.

        ``where`` is a condition in SQL; empty for all rows. Raises SourceUnreadable for a damaged file, and for a value
        whose storage class isn't the storage class of its column: preflight has counted the classes, so the file has
        changed.
        """
        if len(scan_columns) <= _MOST_SCAN_COLUMNS:
            yield from self._scan(table, scan_columns, batch_rows, where)
            return
        # A wide table is read by several statements in parallel. All return the rows in the table's order.
        parts = [
            scan_columns[start : start + _MOST_SCAN_COLUMNS]
            for start in range(0, len(scan_columns), _MOST_SCAN_COLUMNS)
        ]
        for batches in zip(*(self._scan(table, part, batch_rows, where) for part in parts), strict=True):
            arrays = [array for batch in batches for array in batch.columns]
            yield pa.record_batch(arrays, names=[f"c{i}" for i in range(len(arrays))])

    def _scan(
        self, table: SourceTable, scan_columns: Sequence[ScanColumn], batch_rows: int, where: str
    ) -> Iterator[pa.RecordBatch]:
        condition = f" WHERE {where}" if where else ""
        yield from self._run(
            table.name, scan_columns, [f"{_select(scan_columns)} FROM {table.origin}{condition}"], batch_rows
        )

    def read(self, origin: str, scan_columns: Sequence[ScanColumn], *, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """
        Yield rows of something that isn't a table of the application's, as ``scan`` yields the rows of a table.

        ``origin`` is what stands after FROM, with conditions. Raises what ``scan`` raises.
        """
        yield from self._run(origin, scan_columns, [f"{_select(scan_columns)} FROM {origin}"], batch_rows)

    def scan_together(
        self, tables: Sequence[tuple[SourceTable, Sequence[ScanColumn]]], *, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """
        Yield the rows of several tables, table after table, as ``scan`` yields the rows of one table.

        All tables must have the same storage classes, column by column, and together at most ``MOST_TOGETHER`` columns.
        An additional last column holds the position of the row's table in ``tables``. Raises what ``scan`` raises; the
        error names all of the tables.
        """
        numbered = [
            ([*scan_columns, ScanColumn(str(place), StorageClass.INTEGER)], table)
            for place, (table, scan_columns) in enumerate(tables)
        ]
        selects = [f"{_select(scan_columns)} FROM {table.origin}" for scan_columns, table in numbered]
        table_names = ", ".join(table.name for table, _ in tables)
        yield from self._run(table_names, numbered[0][0], selects, batch_rows)

    def _run(
        self, table_names: str, scan_columns: Sequence[ScanColumn], selects: Sequence[str], batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        # One typed row goes first, because the driver takes a column's type from the first batch. If that batch held
        # only NULLs, the type would be int64, and a later string an error. `_without_typed_row` removes the row again.
        typed = ", ".join(f"{_TYPED_LITERAL[column.storage]} AS c{i}" for i, column in enumerate(scan_columns))
        statement = " UNION ALL ".join([f"SELECT {typed}", *selects])
        with self._connection.cursor() as cursor:
            try:
                cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(max(batch_rows, 1))})
                cursor.execute(statement)
                reader = cursor.fetch_record_batch()
                _check_types(table_names, scan_columns, reader.schema)
                yield from _without_typed_row(reader)
            except (adbc.Error, OSError) as error:  # Arrow's reader turns the driver's errors into OSError
                if is_transient(error):
                    raise
                raise unreadable(self._path, error, table=table_names) from error


def _select(scan_columns: Sequence[ScanColumn]) -> str:
    return f"SELECT {', '.join(column.expression for column in scan_columns)}"


def _check_types(table_names: str, scan_columns: Sequence[ScanColumn], schema: pa.Schema) -> None:
    for column, field in zip(scan_columns, schema, strict=True):
        if field.type != column.arrow_type:
            raise SourceUnreadable(
                f"table {table_names!r}: {column.expression} gave {field.type} where {column.storage} was counted",
                next_step="Stop the program that writes to the file, and run again.",
                table=table_names,
            )


def _without_typed_row(reader: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    first = True
    for batch in reader:
        kept = batch.slice(1) if first else batch
        first = False
        if kept.num_rows:
            yield kept
