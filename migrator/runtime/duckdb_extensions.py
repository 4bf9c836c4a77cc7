"""
Loads DuckDB's extensions from installed packages, and says why one can't be loaded. Nothing is ever downloaded.

An extension is a binary with the signature of DuckDB's makers. DuckDB checks the signature when it loads the binary,
and refuses a binary that is built for another version or platform. Its package is pinned like any other. Where there is
no package (another platform, another version of DuckDB), the readers that need no extension do the work.
"""

from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import duckdb

from migrator.names import quote_literal

LOCKED: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}
"""Settings of a database that never looks for an extension by itself, neither on disk nor in the network."""


class Extension(StrEnum):
    """An extension, by the name that DuckDB gives it."""

    SQLITE = "sqlite_scanner"
    """Reads SQLite files."""


@cache
def extension_file(extension: Extension) -> Path | None:
    """Return the file of an extension for this version of DuckDB; None if its package isn't installed."""
    package = find_spec(f"duckdb_extension_{extension}")
    for folder in package.submodule_search_locations or () if package else ():
        file = Path(folder, "extensions", f"v{duckdb.__version__}", f"{extension}.duckdb_extension")
        if file.is_file():
            return file
    return None


def load(connection: duckdb.DuckDBPyConnection, extension: Extension) -> str:
    """
    Load an extension into the database of ``connection``, which should have been opened with ``LOCKED``.

    Returns why that isn't possible, in words for a log; empty if the extension is loaded. To load it again costs
    nothing. Raises nothing: without the extension, another reader does the work.
    """
    file = extension_file(extension)
    if file is None:
        return f"no package has DuckDB's extension {extension} for version {duckdb.__version__}"
    try:
        connection.execute(f"LOAD {quote_literal(str(file))}")
    except duckdb.Error as error:
        return f"DuckDB {duckdb.__version__} refuses its extension {extension}: {str(error).splitlines()[0]}"
    return ""
