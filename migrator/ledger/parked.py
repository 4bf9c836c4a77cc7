"""Parks keys and indexes: records each in the ledger, then drops it. The stage ``restore`` restores them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.foreign_keys import keys_of
from migrator.ledger.migration import Migration
from migrator.ledger.run_ledger import RunLedger
from migrator.ledger.schema import Taken, now, parked
from migrator.names import TableName
from migrator.target.database import Target
from migrator.target.lock_room import LockRoom


class Entry(Struct, frozen=True):
    """A key or an index that can be parked, with the statement that drops it."""

    taken: Taken
    drop: str


async def take_foreign_keys(run: RunLedger, tables: Sequence[TableName], room: LockRoom) -> int:
    """Park the foreign keys from and to the tables, a few in each transaction. Return their number."""
    async with qualifying(run.target) as connection:
        keys = await keys_of(connection, tables)
    entries = [Entry(Taken(key.table, FOREIGN_KEY, key.name, key.restore), key.drop) for key in keys]
    for part in room.few_statements(entries):
        async with qualifying(run.target) as connection:
            await take(connection, part, run)
    return len(entries)


@asynccontextmanager
async def qualifying(target: Target) -> AsyncIterator[AsyncConnection]:
    """Open a transaction in which PostgreSQL qualifies every name in a definition with its schema."""
    async with target.transaction() as connection:
        await connection.execute(text("SELECT set_config('search_path', '', true)"))
        yield connection


async def take(connection: AsyncConnection, entries: Sequence[Entry], run: RunLedger) -> None:
    """Record and drop the entries in the connection's transaction. Raises GaveUp if another run has taken over."""
    await run.hold(connection)
    for entry in entries:
        await write_parked(connection, run.migration, entry.taken)
        await connection.exec_driver_sql(entry.drop)


FOREIGN_KEY = "foreign key"
"""The kind of a parked foreign key. It is restored after all other kinds."""


INDEX = "index"
"""The kind of a parked index that belongs to no key."""


class Parked(Struct, frozen=True):
    """A parked key or index, as it stands in the ledger."""

    id: int
    table: TableName
    kind: str
    name: str
    statements: tuple[str, ...]


async def write_parked(connection: AsyncConnection, migration: Migration, taken: "Taken") -> None:
    """Record a parked key or index. Call it in the transaction that drops it."""
    values = {
        "migration": migration.name,
        "schema_name": taken.table.schema,
        "table_name": taken.table.name,
        "kind": taken.kind,
        "name": taken.name,
        "statements": list(taken.statements),
    }
    await connection.execute(parked.insert().values(values))


async def still_parked(connection: AsyncConnection, migration: Migration) -> list[Parked]:
    """Return the keys and indexes that the migration has parked and not restored, in the order of parking."""
    remaining = migration.lines(parked).where(parked.c.restored_at.is_(None)).order_by(parked.c.id)
    rows = await connection.execute(remaining)
    return [
        Parked(row.id, TableName(row.schema_name, row.table_name), row.kind, row.name, tuple(row.statements))
        for row in rows
    ]


async def write_restored(connection: AsyncConnection, entry: Parked) -> None:
    """Record that an entry is restored. Call it in the transaction that restores it."""
    await connection.execute(parked.update().where(parked.c.id == entry.id).values(restored_at=now))
