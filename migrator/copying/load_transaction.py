"""The transactions in which tables are loaded, and the steps that they have in common."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.copying.table_load import CopyContext, CopyWorker, TableLoad
from migrator.errors import SourceChanged
from migrator.events import Event
from migrator.ledger import carried
from migrator.ledger.carried import Carried
from migrator.ledger.loads import CopyStats
from migrator.names import TableName
from migrator.sessions.connections import in_transaction
from migrator.target.database import own_rows, row_counts
from migrator.verification.recipe import recorded

log = structlog.get_logger()


@asynccontextmanager
async def transaction(worker: CopyWorker, *, durable: bool = True) -> AsyncIterator[None]:
    """
    Run the block in a transaction of the worker's session of the target.

    The commit of a transaction that isn't ``durable`` returns before it is on the disk; the next durable commit writes
    it there, too. A table counts as copied only after a durable commit: otherwise other stages would use rows that a
    crash of the server can undo.
    """
    async with in_transaction(worker.connection):
        if not durable:
            await worker.connection.execute(text("SELECT set_config('synchronous_commit', 'off', true)"))
        yield


def tell_begun(group: Sequence[TableLoad]) -> None:
    """Log that a worker begins to load these tables."""
    for load in group:
        log.debug(Event.TABLE_BEGUN, table=str(load.name))


async def lock_and_check(
    context: CopyContext, connection: AsyncConnection, group: Sequence[TableLoad]
) -> Collection[TableName]:
    """
    Lock the tables against writers, and return the tables that hold rows; all these rows may be deleted.

    Raises RowsInTheWay if some of the rows must stay.
    """
    # An application that was started too early may have written since preflight. This lock blocks writers until the end
    # of the transaction. It doesn't block readers, because the comparison reads with a connection of its own.
    names = [load.name for load in group]
    tables = await listed(connection, names)
    await connection.exec_driver_sql(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")
    counts = await row_counts(connection, names)
    await context.existing.make_way(connection, [(load, counts[load.name]) for load in group if load.name in counts])
    return counts


async def listed(connection: AsyncConnection, names: Sequence[TableName]) -> str:
    """Return the tables in SQL, separated by commas, without the rows of tables that inherit from them."""
    return ", ".join((await own_rows(connection, names)).values())


async def write_terms(context: CopyContext, connection: AsyncConnection, group: Sequence[TableLoad]) -> None:
    """Write the terms under which the tables are begun, and the digests that preflight has computed."""
    lines = {
        load.name: Carried(terms, recorded(known.comparison, known.digest) if known else None)
        for load in group
        for known in (load.known_digest,)
        if (terms := context.terms.get(load.table.source.name))
    }
    await carried.write(connection, context.run.migration, lines)


def refuse_other_number(load: TableLoad, stats: CopyStats) -> None:
    """Raise SourceChanged if the number of copied rows differs from the number that preflight has counted."""
    name, surveyed = load.table.source.name, load.table_size.rows
    if stats.rows != surveyed:
        raise SourceChanged(
            f"table {name!r} had {surveyed} rows in preflight and {stats.rows} now",
            next_step="Stop whatever writes to the source and run again.",
            table=name,
        )
