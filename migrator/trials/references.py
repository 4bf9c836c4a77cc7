"""Counts the rows of another table that refer to rows which are not on trial, so which the source doesn't hold."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.constraints import Constraint
from migrator.names import quote_literal, quote_postgres


async def referring_rows(connection: AsyncConnection, constraint: Constraint, condition: str) -> tuple[int, str]:
    """
    Return the number of rows of ``constraint.relation`` that break the foreign key, and one such reference in words.

    ``condition`` is SQL that is true for these rows, which it calls ``c``.
    """
    bound = {"table": constraint.relation, "name": constraint.name}
    names = (await connection.execute(text(_COLUMNS), bound)).scalars().all()
    shown = " || ', ' || ".join(
        f"{quote_literal(f'{name} = ')} || quote_literal(CAST(c.{quote_postgres(name)} AS text))" for name in names
    )
    result = await connection.exec_driver_sql(
        f"SELECT count(*) AS number, min({shown or 'NULL'}) AS example FROM {constraint.relation} c WHERE {condition}"
    )
    row = result.one()
    return int(row.number), row.example or ""


_COLUMNS = """
SELECT a.attname FROM pg_constraint k CROSS JOIN unnest(k.conkey) WITH ORDINALITY AS part(attnum, place)
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = part.attnum
WHERE k.conrelid = to_regclass(:table) AND k.conname = :name ORDER BY part.place
"""
