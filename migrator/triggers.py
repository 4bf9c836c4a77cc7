"""The target's own triggers, which must not touch the rows that a migration brings."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import TableName, quote_postgres


@asynccontextmanager
async def silenced(connection: AsyncConnection, tables: Sequence[TableName]) -> AsyncIterator[None]:
    """
    Disable the tables' own triggers while the block runs, inside the connection's transaction.

    They would rewrite or add to rows that must arrive as they are (an ``updated_at``, an audit trail). An owner may do
    this to ordinary triggers; those of constraints stay (PostgreSQL, "ALTER TABLE": DISABLE TRIGGER).
    """
    triggers = await _enabled(connection, tables)
    for trigger in triggers:
        await _alter(connection, tables, trigger, "DISABLE")
    yield
    for trigger in triggers:
        how = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}[trigger.tgenabled]
        await _alter(connection, tables, trigger, how)


async def has_triggers(connection: AsyncConnection, table: TableName) -> bool:
    """Return whether the table has a trigger of its own that is not switched off."""
    return bool(await _enabled(connection, [table]))


async def _enabled(connection: AsyncConnection, tables: Sequence[TableName]) -> Sequence[Row[Any]]:
    return (await connection.execute(text(_ENABLED), {"tables": [table.quoted for table in tables]})).all()


async def _alter(connection: AsyncConnection, tables: Sequence[TableName], trigger: Row[Any], how: str) -> None:
    table = tables[trigger.place - 1]
    await connection.exec_driver_sql(f"ALTER TABLE {table.quoted} {how} TRIGGER {quote_postgres(trigger.tgname)}")


_ENABLED = """
SELECT place, tgname, tgenabled::text AS tgenabled
FROM unnest(CAST(:tables AS text[])) WITH ORDINALITY AS listed(name, place)
JOIN pg_trigger ON tgrelid = CAST(listed.name AS regclass)
WHERE NOT tgisinternal AND tgenabled <> 'D' ORDER BY place, tgname
"""
