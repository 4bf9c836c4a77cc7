"""
Brings the full-text indexes of the new file up to its rows, where SQLite can; else says which statement does.

An index over another table's text is rebuilt. One that keeps its own text beside a table, row by row, gets the rows of
that table which changed. Triggers that feed an index have fed it already. What is left is named.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping

from migrator.names import quote_sqlite
from migrator.runtime.file_room import lacks_room
from migrator.source.schema import rowid_name
from migrator.source.virtual_tables import VirtualTable, virtual_table

_FULL_TEXT = frozenset({"fts3", "fts4", "fts5"})

_WRITES = re.compile(
    r"\b(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|REPLACE\s+INTO|UPDATE(?:\s+OR\s+\w+)?(?!\s+OF\b|\s+ON\b)|DELETE\s+FROM)\s+"
    r"(?:\w+\.)?(\"[^\"]+\"|\[[^\]]+\]|`[^`]+`|\w+)",
    re.IGNORECASE,
)
"""The tables that the statements of a trigger write to."""


def virtual_tables(connection: sqlite3.Connection) -> tuple[VirtualTable, ...]:
    """Return the virtual tables of a file."""
    rows = connection.execute("SELECT name, sql FROM main.sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL TABLE%'")
    return tuple(virtual_table(str(name), str(sql)) for name, sql in rows.fetchall())


def written_by(trigger: str) -> set[str]:
    """Return the names, in small letters, of the tables that a trigger writes to."""
    body = re.split(r"\bBEGIN\b", trigger, maxsplit=1, flags=re.IGNORECASE)[-1]
    return {name.strip('"[]`').casefold() for name in _WRITES.findall(body)}


def bring_text_indexes(connection: sqlite3.Connection, over: Mapping[str, str], fed: set[str]) -> tuple[str, ...]:
    """
    Bring the full-text indexes up to the rows of the new file, which is ``main``; ``old`` is attached. Return notes.

    ``over`` has the table that an index with its own text indexes, by the index's name; ``fed`` are the names, in small
    letters, of the indexes that triggers have fed.
    """
    return tuple(_brought(connection, over, fed))


def _brought(connection: sqlite3.Connection, over: Mapping[str, str], fed: set[str]) -> Iterator[str]:
    for index in virtual_tables(connection):
        if index.module not in _FULL_TEXT:
            continue
        name = quote_sqlite(index.name)
        try:
            if index.options.get("content"):
                # SQLite, "FTS5", 6.9; "FTS3 and FTS4", 6.2
                connection.execute(f"INSERT INTO {name} ({name}) VALUES ('rebuild')")
            elif index.name in over:
                yield from _refilled(connection, index, over[index.name])
            elif index.refers and index.name.casefold() not in fed:
                yield _by_hand(index, "it keeps no text, so nothing can fill it from here", _emptied(index))
        except sqlite3.Error as error:  # such as a tokenizer that only the application has
            if lacks_room(error):
                raise
            yield _by_hand(index, f"SQLite says: {error}", f"run INSERT INTO {name} ({name}) VALUES ('rebuild');")


def _refilled(connection: sqlite3.Connection, index: VirtualTable, table: str) -> Iterator[str]:
    """Replace the rows that differ, if each row of the old index was the row of the old table with its number."""
    name, rows, columns = quote_sqlite(index.name), quote_sqlite(table), [*map(quote_sqlite, index.indexed)]
    names = [str(column) for (column,) in connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))]
    number = f"t.{rowid_name(names)}"  # never None: an index over a table whose rowid has no name isn't recognised
    filled = ", ".join(["rowid", *columns])
    selected = ", ".join([number, *(f"t.{column}" for column in columns)])

    def differing(schema: str) -> tuple[str, str]:
        """Return what follows on FROM for rows of the index that aren't the table's, and for rows that it misses."""
        differs = " OR ".join(f"f.{column} IS NOT t.{column} COLLATE BINARY" for column in columns)
        index_rows, table_rows = f"{schema}.{name}", f"{schema}.{rows}"
        return (
            f"{index_rows} f LEFT JOIN {table_rows} t ON {number} = f.rowid WHERE {number} IS NULL OR {differs}",
            f"{table_rows} t WHERE {number} NOT IN (SELECT f.rowid FROM {index_rows} f)",
        )

    for found in differing("old"):
        if connection.execute(f"SELECT 1 FROM {found} LIMIT 1").fetchone():
            statements = f"run DELETE FROM {name}; INSERT INTO {name} ({filled}) SELECT {selected} FROM {rows} t;"
            yield _by_hand(index, f"its rows were not those of {table!r}, one for one", statements)
            return
    others, missing = differing("main")
    connection.execute(f"DELETE FROM {name} WHERE rowid IN (SELECT f.rowid FROM {others})")
    connection.execute(f"INSERT INTO {name} ({filled}) SELECT {selected} FROM {missing}")


def _emptied(index: VirtualTable) -> str:
    name = quote_sqlite(index.name)
    if index.module == "fts5":
        return f"run INSERT INTO {name} ({name}) VALUES ('delete-all'); and then fill it with the application"
    return f"run DROP TABLE {name}; create it again as in the old file, and fill it with the application"


def _by_hand(index: VirtualTable, reason: str, advice: str) -> str:
    return f"WARNING: the full-text index {index.name} is as in the old file: {reason}; {advice}"
