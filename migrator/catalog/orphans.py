"""Finds orphans, which prevent a foreign key from being restored: rows that refer to a row that doesn't exist."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import TableName, quote_postgres

SHOWN: Final = 5
"""The most rows that a message names."""


async def orphans_of(connection: AsyncConnection, table: TableName, name: str, statement: str) -> str:
    """
    Return, in words, the number of orphans in ``table`` and their keys, for the foreign key ``name``.

    ``statement`` is the statement that adds the key. The key is added NOT VALID, without a check of the rows, so that
    the catalogs have its columns; then the transaction is rolled back. Returns an empty text if the server can't do
    that, or no orphan is left. Begins its own transaction.
    """
    transaction = await connection.begin()
    try:
        await connection.exec_driver_sql(f"{statement} NOT VALID")
        row = (await connection.execute(text(_COLUMNS), {"table": table.quoted, "name": name})).one()
        child = [f"c.{quote_postgres(column)}" for column in row.columns]
        parent = [f"p.{quote_postgres(column)}" for column in row.referred_columns]
        shown = list(row.key or row.columns)
        values = ", ".join(f"CAST(c.{quote_postgres(column)} AS text)" for column in shown)
        refers = " AND ".join(f"{column} IS NOT NULL" for column in child)
        meets = " AND ".join(f"{column} = {referred}" for column, referred in zip(child, parent, strict=True))
        result = await connection.exec_driver_sql(
            f"SELECT count(*) OVER () AS orphans, {values} FROM {table.quoted} c "
            f"WHERE {refers} AND NOT EXISTS (SELECT FROM {row.referred} p WHERE {meets}) LIMIT {SHOWN}"
        )
        rows = result.all()
    except DBAPIError:  # a partitioned table, for example, may refuse NOT VALID; the first error is what is reported
        return ""
    finally:
        await transaction.rollback()
    if not rows:
        return ""
    names = [_named(shown, tuple(row)[1:]) for row in rows]
    more = rows[0].orphans - len(names)
    return f"{rows[0].orphans} rows: {'; '.join(names)}" + (f"; and {more} more" if more else "")


def _named(columns: Sequence[str], values: Sequence[str]) -> str:
    return ", ".join(f"{column} = {value}" for column, value in zip(columns, values, strict=True))


_COLUMNS = """
SELECT CAST(k.confrelid AS regclass)::text AS referred,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(n, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY place) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u(n, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY place) AS referred_columns,
       ARRAY(SELECT a.attname::text FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS u(n, place)
             JOIN pg_attribute a ON a.attnum = u.n
             WHERE i.indrelid = k.conrelid AND i.indisprimary AND a.attrelid = k.conrelid ORDER BY place) AS key
FROM pg_constraint k WHERE k.conrelid = to_regclass(:table) AND k.conname = :name AND k.contype = 'f'
"""
