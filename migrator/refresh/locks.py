"""Locks the target's tables against writers while a refresh works. Readers go on."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.foreign_keys import keys_of
from migrator.errors import GaveUp
from migrator.names import TableName
from migrator.runtime.retry import sqlstate_of
from migrator.sessions.connections import in_transaction
from migrator.target.database import Target, own_rows
from migrator.target.lock_room import lock_room

TO_READ = "SHARE"
"""The mode in which nobody writes, not even this transaction, and other sessions may take the same lock."""

TO_WRITE = "SHARE ROW EXCLUSIVE"
"""The mode in which only this transaction writes."""

_LOCK_NOT_AVAILABLE = "55P03"


async def lock_tables(connection: AsyncConnection, tables: Collection[TableName], mode: str, seconds: float) -> None:
    """
    Lock the tables in a mode until the connection's transaction ends; wait at most ``seconds`` for each.

    Raises GaveUp if a writer doesn't end in that time, and TargetRefused if the server has no room for the locks.
    """
    if not tables:
        return
    ordered = sorted(tables)  # otherwise two commands that lock the same tables could wait for each other
    (await lock_room(connection, ordered)).refuse_too_large()
    listed = ", ".join((await own_rows(connection, ordered)).values())
    await connection.execute(
        text("SELECT set_config('lock_timeout', :limit, true)"), {"limit": f"{round(seconds * 1000)}ms"}
    )
    try:
        await connection.exec_driver_sql(f"LOCK TABLE {listed} IN {mode} MODE")
    except DBAPIError as error:
        if sqlstate_of(error) != _LOCK_NOT_AVAILABLE:
            raise
        raise GaveUp(
            f"a table of the target is in use: somebody has written to it in a transaction that did not end in "
            f"{seconds:g} s",
            next_step="Stop what writes to the target, find its session in pg_stat_activity, and run again.",
        ) from error
    await connection.execute(text("SELECT set_config('lock_timeout', '0', true)"))


@asynccontextmanager
async def locked_to_read(target: Target, tables: Sequence[TableName], seconds: float) -> AsyncIterator[AsyncConnection]:
    """Keep writers out of the tables while the block runs. Raises what ``lock_tables`` raises."""
    async with target.connect() as connection, in_transaction(connection):
        await lock_tables(connection, tables, TO_READ, seconds)
        yield connection


async def neighbours(connection: AsyncConnection, tables: Sequence[TableName]) -> set[TableName]:
    """Return the tables that foreign keys connect with ``tables``, without these: their keys lock them, too."""
    keys = await keys_of(connection, tables) if tables else []
    return {name for key in keys for name in (key.table, key.parent)} - set(tables)


async def have_room(connection: AsyncConnection, tables: Sequence[TableName]) -> bool:
    """Return whether the server has room to lock all of the tables for as long as a refresh lasts."""
    room = await lock_room(connection, tables)
    return sum(room.needed.values()) <= room.locks // _PART


_PART = 3
"""The part of the room that these locks may take: the stages of the job lock tables at the same time."""
