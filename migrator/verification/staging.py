"""Writes rows that DuckDB has selected into a scratch database of SQLite's, as record batches."""

from collections.abc import Iterator
from pathlib import Path

import adbc_driver_sqlite.dbapi as adbc
import duckdb
import pyarrow as pa

_BATCH_ROWS = 8_192


def stage(duck: duckdb.DuckDBPyConnection, query: str, scratch: Path, name: str) -> int:
    """Write the answer of a query into a new table of the scratch database, and return the number of its rows."""
    reader: pa.RecordBatchReader = duck.sql(query).to_arrow_reader(_BATCH_ROWS)
    rows = 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for batch in reader:
            rows += batch.num_rows
            yield batch

    with adbc.connect(f"file:{scratch}") as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(name, pa.RecordBatchReader.from_batches(reader.schema, counted()), mode="create")
        connection.commit()
    return rows
