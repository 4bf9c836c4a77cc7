"""
Loads a table, or a group of small tables, in one transaction of the target; ``chunked_table`` loads large tables.

The data passes through ``copy_data → prefetch → copy_in``. The ledger's line about a chunk is written in the same
transaction as its rows: after any failure the target has the chunk with its line, or neither of them.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

from migrator.catalog.triggers import triggers_disabled
from migrator.copying import ledger_lines
from migrator.copying.chunk_copy import ChunkData, copy_chunk, read_chunk
from migrator.copying.chunked_table import load_chunks
from migrator.copying.copy_stream import copy_data_of_small
from migrator.copying.load_transaction import (
    listed,
    lock_and_check,
    refuse_other_number,
    tell_begun,
    transaction,
    write_terms,
)
from migrator.copying.table_load import CopyContext, CopyWorker, TableLoad
from migrator.ledger.loads import CopyStats
from migrator.planning.grouping import is_small
from migrator.source.chunks import WHOLE_TABLE


async def load_tables(context: CopyContext, group: Sequence[TableLoad]) -> list[CopyStats]:
    """
    Load one table, or continue it, or load a group of small tables; return the rows, bytes and seconds of each.

    A group, or a table of one chunk, is loaded in one transaction, any other table in one transaction for each chunk.
    Raises SourceChanged if the number of rows differs from preflight's, RowsInTheWay if the target has rows that are
    not the source's, and GaveUp if another run has taken over.
    """
    [first, *others] = group
    return await (_load_whole(context, group) if others or first.is_whole else load_chunks(context, first))


async def _load_whole(context: CopyContext, group: Sequence[TableLoad]) -> list[CopyStats]:
    """Load all rows of some tables, with their ledger lines, in one transaction."""
    names = [load.name for load in group]
    async with context.workers.worker() as worker, transaction(worker):
        for name in names:
            context.tracker.begin_table("copy", str(name))
        tell_begun(group)
        occupied = await lock_and_check(context, worker.connection, group)
        # TRUNCATE makes a new file for the table, which takes the server longer than loading a few rows.
        emptied = [load.name for load in group if load.name in occupied or not is_small(load.table_size)]
        async with triggers_disabled(worker.connection, names):
            if emptied:
                await worker.connection.exec_driver_sql(f"TRUNCATE {await listed(worker.connection, emptied)}")
            # FREEZE marks the rows as visible to all, so PostgreSQL needn't write them again; it needs TRUNCATE.
            frozen = {load.name for load in group if load.name in emptied and not load.table.target.partitioned}
            data = [
                ChunkData(WHOLE_TABLE, parts, freeze=load.name in frozen)
                for load, parts in zip(group, await _whole_tables(context, worker, group), strict=True)
            ]
            stats = [
                await copy_chunk(context, worker, load, chunk_data)
                for load, chunk_data in zip(group, data, strict=True)
            ]
        for load, copied in zip(group, stats, strict=True):
            refuse_other_number(load, copied)
        await context.run.hold(worker.connection)
        await context.existing.settle(worker.connection, names)
        await write_terms(context, worker.connection, group)
        await ledger_lines.write_whole(worker.connection, context.run, dict(zip(names, stats, strict=True)))
    return stats


async def _whole_tables(
    context: CopyContext, worker: CopyWorker, group: Sequence[TableLoad]
) -> list[AsyncIterator[tuple[int, bytes]]]:
    """Return the COPY data of whole tables; small tables, which share a transaction, are read together in advance."""
    if not is_small(group[0].table_size):
        return [read_chunk(context, worker, load, WHOLE_TABLE) for load in group]
    tables = [(load.table, load.table_size) for load in group]
    data = await asyncio.to_thread(worker.reading.call, copy_data_of_small, tables, context.limits.batch_bytes)
    return [_single_part(rows, part) for rows, part in data]


async def _single_part(rows: int, part: bytes) -> AsyncIterator[tuple[int, bytes]]:
    yield rows, part
