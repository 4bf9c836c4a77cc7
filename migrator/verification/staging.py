"""Writes rows that DuckDB has selected into a scratch database of SQLite's, as record batches."""

from pathlib import Path

import adbc_driver_sqlite.dbapi as adbc
import duckdb

_BATCH_ROWS = 8_192


def stage(duck: duckdb.DuckDBPyConnection, query: str, scratch: Path, name: str) -> None:
    """Write the answer of a query into a new table of the scratch database."""
    reader = duck.sql(query).to_arrow_reader(_BATCH_ROWS)
    with adbc.connect(f"file:{scratch}") as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(name, reader, mode="create")
        connection.commit()
