"""
Finds columns and tables that SQLite can't read without the application's own functions and collations.

SQLite needs the application's function for a column that it computes while reading. SQLite needs the application's
collation to read a table WITHOUT ROWID whose key uses it. The driver offers no way to register a collation; Python's
SQLite does. So Python's SQLite copies the rows of that table into a separate file in scratch space, where no order is
needed.
"""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from migrator.errors import SourceUnreadable
from migrator.names import quote_sqlite
from migrator.source.file import open_file, unreadable, uri_of
from migrator.source.schema import SourceColumn, SourceDatabase, SourceTable, rowid_name

if TYPE_CHECKING:
    from migrator.source.scan import ScanSession

SCHEMA = "readable"
"""The schema name of the file in scratch space, as statements use it."""

_FUNCTION = re.compile(r"(?:no such|unknown) function: (?P<name>.+?)(?:\(\))?$", re.MULTILINE)


def is_doubtful(database: SourceDatabase) -> bool:
    """Return whether the database has a table that may be unreadable."""
    return any(table.key_index or any(column.generated for column in table.columns) for table in database.tables)


def looked_at(session: "ScanSession", database: SourceDatabase) -> SourceDatabase:
    """Return the description of the file, completed by the function that each unreadable column misses. Blocks."""
    tables = [
        replace(table, columns=tuple(_looked_at(session, table, column) for column in table.columns))
        if any(column.generated for column in table.columns)
        else table
        for table in database.tables
    ]
    return replace(database, tables=tuple(tables))


def _looked_at(session: "ScanSession", table: SourceTable, column: SourceColumn) -> SourceColumn:
    if not column.generated:
        return column
    try:
        session.ask(f"EXPLAIN SELECT {column.quoted} FROM {table.origin}")
    except SourceUnreadable as error:
        missing = _FUNCTION.search(str(error.__cause__))
        if missing is None:
            raise
        return replace(column, missing=f"{missing['name']}()")
    return column


def without_order(session: "ScanSession", database: SourceDatabase) -> list[SourceTable]:
    """Return the tables that the driver can't read, because their key has a collation that it doesn't know."""
    return [table for table in database.tables if table.key_index and not _can_walk(session, table)]


def _can_walk(session: "ScanSession", table: SourceTable) -> bool:
    try:
        session.ask(f"EXPLAIN SELECT 1 FROM {table.origin}")
    except SourceUnreadable as error:
        if "no query solution" not in str(error) and "no such collation" not in str(error):
            raise
        return False
    return True


def put_into(file: Path, path: Path, session: "ScanSession", tables: Sequence[SourceTable]) -> list[SourceTable]:
    """
    Copy the rows of ``tables`` of the source at ``path`` into a new ``file``, and return the tables of the new file.

    Blocks; the file takes as much space as the rows. Raises SourceUnreadable.
    """
    try:
        with closing(open_file(path)) as connection:
            # SQLite uses only collations that exist when it reads the schema, so they are registered first.
            for name in _collations(session, tables):
                connection.create_collation(name, lambda left, right: (left > right) - (left < right))
            connection.execute("ATTACH ? AS " + SCHEMA, (uri_of(file).replace("?mode=ro", "?mode=rwc"),))
            copied = [
                replace(table, schema=SCHEMA, rowid=rowid_name(column.name for column in table.columns), key_index=None)
                for table in tables
            ]
            for old, new in zip(tables, copied, strict=True):
                readable = [column for column in old.columns if not column.missing]
                declared = ", ".join(f"{column.quoted} {_type(column)}" for column in readable)
                names = ", ".join(column.quoted for column in readable)
                connection.execute(f"CREATE TABLE {new.quoted} ({declared})")
                connection.execute(f"INSERT INTO {new.quoted} SELECT {names} FROM main.{old.origin}")
            connection.commit()
    except sqlite3.Error as error:
        raise unreadable(path, error) from error
    return copied


def _type(column: SourceColumn) -> str:
    """Return the declared type, quoted as one name. The affinity is the same, and SQLite need not parse a size."""
    return quote_sqlite(column.declared_type) if column.declared_type else ""


def _collations(session: "ScanSession", tables: Sequence[SourceTable]) -> set[str]:
    literals = ["'" + (table.key_index or "").replace("'", "''") + "'" for table in tables]
    rows = [row for name in literals for row in session.ask(f"SELECT coll FROM pragma_index_xinfo({name})")]
    return {str(row["coll"]) for row in rows} - {"BINARY", "NOCASE", "RTRIM"}
