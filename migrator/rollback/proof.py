"""Proves that what nobody has changed is in the new file as it was in the old one: value and storage class."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from migrator.names import quote_literal, quote_sqlite
from migrator.rollback.changes import StagedTable
from migrator.rollback.scratch import attachments
from migrator.source.chunks import identity_of
from migrator.source.file import open_file, uri_of


def altered_rows(path: Path, old: Path, scratch: Path, tables: Sequence[StagedTable]) -> dict[str, int]:
    """
    Return, by table, the number of rows of the ``old`` file that nobody has changed and the new file has not as it was.

    ``scratch`` is the folder with the staged rows. Blocks while both files are read. Raises ``sqlite3.Error``.
    """
    with closing(open_file(path)) as connection:
        connection.execute(f"ATTACH {quote_literal(uri_of(old))} AS old")
        for attachment in attachments(scratch):
            connection.execute(attachment)
        counts = {table.plan.source.name: _altered(connection, table) for table in tables}
    return {name: rows for name, rows in counts.items() if rows}


def _altered(connection: sqlite3.Connection, table: StagedTable) -> int:
    source = table.plan.source
    name = quote_sqlite(source.name)
    columns = [column.quoted for column in source.columns if not column.missing]
    same = " AND ".join(
        f"o.{column} IS n.{column} COLLATE BINARY AND typeof(o.{column}) = typeof(n.{column})" for column in columns
    )
    changed = "" if table.is_unchanged else " WHERE " + _untouched(table)
    [(rows,)] = connection.execute(
        f"SELECT count(*) FROM old.{name} o LEFT JOIN main.{name} n "
        f"ON {identity_of(source, 'n')} = {identity_of(source, 'o')}{changed}{' AND' if changed else ' WHERE'} "
        f"({identity_of(source, 'n')} IS NULL OR NOT ({same}))"
    )
    return int(rows)


def _untouched(table: StagedTable) -> str:
    touched = " UNION ALL ".join(f"SELECT identity FROM {table.scratch.name(kind)}" for kind in ("deleted", "changed"))
    return f"{identity_of(table.plan.source, 'o')} NOT IN ({touched})"
