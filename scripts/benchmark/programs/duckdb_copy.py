"""
Moves tables with DuckDB's extensions: ``duckdb_copy.py SOURCE URL TABLES``; without arguments it only loads them.

A program of its own, since the extensions fit one version of DuckDB each. They come as packages of their own
(``duckdb-extension-sqlite-scanner``, ``duckdb-extension-postgres-scanner``), or else DuckDB downloads them.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import duckdb


def attach(connection: duckdb.DuckDBPyConnection, extension: str) -> None:
    """Load an extension from its package, or wherever DuckDB finds it."""
    package = find_spec(f"duckdb_extension_{extension}")
    files = Path(package.origin).parent.rglob("*.duckdb_extension") if package and package.origin else iter(())
    connection.execute(f"LOAD '{next(files, extension)}'")


def main(arguments: list[str]) -> None:
    """Load the extensions, attach both ends, and copy table by table."""
    connection = duckdb.connect()
    for extension in ("sqlite_scanner", "postgres_scanner"):
        attach(connection, extension)
    if not arguments:
        return
    source, url, tables = arguments
    connection.execute(f"ATTACH '{source}' AS source (TYPE sqlite, READ_ONLY)")
    connection.execute(f"ATTACH '{url}' AS target (TYPE postgres)")
    for table in json.loads(tables):
        connection.execute(f"INSERT INTO target.public.{table} SELECT * FROM source.{table}")
    connection.execute("CALL postgres_execute('target', 'ANALYZE')")


if __name__ == "__main__":
    main(sys.argv[1:])
