"""Disables the target's own triggers during the load, because they must not change the rows that are copied."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import TableName, quote_postgres
from migrator.target.database import FILLS_TSVECTOR


@asynccontextmanager
async def triggers_disabled(connection: AsyncConnection, tables: Sequence[TableName]) -> AsyncIterator[None]:
    """
    Disable the triggers of the tables, and of all their partitions, while the block runs, inside the transaction.

    Triggers would change rows that must arrive unchanged (an ``updated_at``), or add rows (an audit trail). A table's
    owner may disable ordinary triggers; triggers of constraints stay enabled (PostgreSQL, "ALTER TABLE": DISABLE
    TRIGGER). A row fires the triggers of the partition that receives it: the partition's own, and triggers from the
    parent, each of which may be enabled or disabled in this partition alone. So the triggers of every table are
    disabled separately, and afterwards each gets its earlier state.

    A trigger of PostgreSQL's own that only fills a ``tsvector`` column goes on firing: the source's column of that name
    isn't copied, and without the trigger the application's search would find nothing.
    """
    with_triggers = await _enabled(connection, tables)
    for table in with_triggers:
        await _alter(connection, table, ["DISABLE"] * len(table.triggers))
    yield
    for table in with_triggers:
        await _alter(connection, table, [_BACK[state] for state in table.states])


async def has_triggers(connection: AsyncConnection, table: TableName) -> bool:
    """Return whether the table, or one of its partitions, has an ordinary trigger that is not disabled."""
    return bool(await _enabled(connection, [table]))


_BACK = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


async def _enabled(connection: AsyncConnection, tables: Sequence[TableName]) -> Sequence[Row[Any]]:
    return (await connection.execute(text(_ENABLED), {"tables": [table.quoted for table in tables]})).all()


async def _alter(connection: AsyncConnection, table: Row[Any], ways: Sequence[str]) -> None:
    name = TableName(table.schema_name, table.table_name).quoted
    switches = [f"{way} TRIGGER {quote_postgres(name)}" for way, name in zip(ways, table.triggers, strict=True)]
    await connection.exec_driver_sql(f"ALTER TABLE {table.only} {name} {', '.join(switches)}")


# Before PostgreSQL 15, the catalogs count a trigger from the parent as internal, and ALTER TABLE switches it together
# with the parent's trigger.
_ENABLED = f"""
WITH RECURSIVE tree AS (
    SELECT CAST(name AS regclass)::oid AS oid FROM unnest(CAST(:tables AS text[])) AS listed(name)
    UNION
    SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
    JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
)
SELECT n.nspname AS schema_name, c.relname AS table_name,
       CASE WHEN current_setting('server_version_num')::int >= 150000 THEN 'ONLY' ELSE '' END AS only,
       array_agg(tgname::text ORDER BY tgname) AS triggers, array_agg(tgenabled::text ORDER BY tgname) AS states
FROM tree JOIN pg_trigger g ON g.tgrelid = tree.oid
JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND NOT ({FILLS_TSVECTOR})
GROUP BY 1, 2 ORDER BY 1, 2
"""
