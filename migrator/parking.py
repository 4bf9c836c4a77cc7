"""What is parked: keys and indexes are taken away, and written down before they go; ``restore`` brings them back."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator import ledger
from migrator.catalog.foreign_keys import keys_of
from migrator.ledger import Taken
from migrator.names import TableName
from migrator.run_ledger import RunLedger
from migrator.target.database import Target
from migrator.target.lock_room import LockRoom


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that can be taken away, and what brings it back."""

    taken: Taken
    drop: str


async def take_foreign_keys(run: RunLedger, tables: Sequence[TableName], room: LockRoom) -> int:
    """Take away the foreign keys from and to the tables, some in a transaction, and return how many those were."""
    async with qualifying(run.target) as connection:
        keys = await keys_of(connection, tables)
    entries = [Entry(Taken(key.table, ledger.FOREIGN_KEY, key.name, key.restore), key.drop) for key in keys]
    for few in room.few_statements(entries):
        async with qualifying(run.target) as connection:
            await take(connection, few, run)
    return len(entries)


@asynccontextmanager
async def qualifying(target: Target) -> AsyncIterator[AsyncConnection]:
    """Open a transaction in which PostgreSQL writes every name in a definition with its schema."""
    async with target.transaction() as connection:
        await connection.execute(text("SELECT set_config('search_path', '', true)"))
        yield connection


async def take(connection: AsyncConnection, entries: Sequence[Entry], run: RunLedger) -> None:
    """Drop the entries and write them down, in the connection's transaction; raises GaveUp if another run took over."""
    await run.hold(connection)
    for entry in entries:
        await ledger.write_parked(connection, run.migration, entry.taken)
        await connection.exec_driver_sql(entry.drop)
