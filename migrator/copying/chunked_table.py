"""Loads a large table in chunks, each in a transaction of its own, with the workers that are free for it."""

import asyncio
from collections import deque
from typing import cast

from msgspec import Struct

from migrator.catalog.triggers import has_triggers, triggers_disabled
from migrator.copying import ledger_lines
from migrator.copying.chunk_copy import ChunkData, copy_chunk, read_chunk
from migrator.copying.load_transaction import (
    listed,
    lock_and_check,
    refuse_other_number,
    tell_begun,
    transaction,
    write_terms,
)
from migrator.copying.table_load import CopyContext, CopyWorker, TableLoad
from migrator.ledger import loads
from migrator.ledger.loads import CopyProgress, CopyStats
from migrator.source.chunks import Chunk


async def load_chunks(context: CopyContext, load: TableLoad) -> list[CopyStats]:
    """
    Load the chunks of a table that are still missing, each with its ledger line in a transaction of its own.

    The worker that begins the table goes on with its chunks, so that a large table keeps its place before smaller ones.
    Other workers take chunks of it when they have no table to begin.
    """
    async with asyncio.TaskGroup() as group:
        async with context.workers.worker() as worker:
            chunks = await _begin(context, worker, load)
            waiting: set[asyncio.Task[None]] = set()
            waiting |= {group.create_task(chunks.help(waiting)) for _ in range(chunks.most_helpers)}
            await chunks.load(worker)
        for helper in waiting:
            helper.cancel()  # no chunk is left for it
    return [chunks.total]


async def _begin(context: CopyContext, worker: CopyWorker, load: TableLoad) -> "_Chunks":
    """Empty a table that no earlier run has begun, record its chunks in the ledger, and return those to be loaded."""
    name, run, connection = load.name, context.run, worker.connection
    async with transaction(worker, durable=False):
        tell_begun([load])
        begun = load.begun or CopyProgress(left=dict(enumerate(load.chunks)))
        if load.begun is None:
            await lock_and_check(context, connection, [load])
            async with triggers_disabled(connection, [name]):
                await connection.exec_driver_sql(f"TRUNCATE {await listed(connection, [name])}")
            await run.hold(connection)
            await write_terms(context, connection, [load])
            await loads.write_chunks(connection, run, name, begun.left)
        # Disabling a trigger locks the table until the end of the transaction.
        at_once = 1 if await has_triggers(connection, name) else min(context.limits.jobs, len(begun.left))
    return _Chunks(context, load, deque(begun.left.items()), max(0, at_once - 1), begun.brought)


class _Chunks(Struct):
    """The chunks of one table that are still to be loaded. Several workers take them, one after the other."""

    context: CopyContext
    table_load: TableLoad
    left: deque[tuple[int, Chunk]]
    most_helpers: int
    """How many workers may take chunks besides the one that has begun the table."""
    total: CopyStats
    """What is loaded, by earlier runs too."""
    under_way: int = 0
    is_complete: bool = False

    async def help(self, waiting: "set[asyncio.Task[None]]") -> None:
        """Wait for a free worker, and load chunks with it. Meanwhile the task is in ``waiting``."""
        async with self.context.workers.worker() as worker:
            waiting.discard(cast("asyncio.Task[None]", asyncio.current_task()))
            await self.load(worker)

    async def load(self, worker: CopyWorker) -> None:
        """Load chunks until none is left. The worker that ends last records that the table is copied."""
        while self.left:
            position, chunk = self.left.popleft()
            self.under_way += 1
            stats = await self._load_chunk(worker, position, chunk)
            self.total += stats  # after the await: meanwhile other workers have added theirs
            self.under_way -= 1
        if not self.under_way and not self.is_complete:
            self.is_complete = True
            await self._write_copied(worker)

    async def _load_chunk(self, worker: CopyWorker, position: int, chunk: Chunk) -> CopyStats:
        context, name = self.context, self.table_load.name
        async with transaction(worker, durable=False):
            context.tracker.begin_table("copy", str(name))
            async with triggers_disabled(worker.connection, [name]):
                data = ChunkData(chunk, read_chunk(context, worker, self.table_load, chunk))
                stats = await copy_chunk(context, worker, self.table_load, data)
            await context.run.hold(worker.connection)
            await loads.write_chunk(worker.connection, context.run, name, position, stats)
        return stats

    async def _write_copied(self, worker: CopyWorker) -> None:
        context, name = self.context, self.table_load.name
        refuse_other_number(self.table_load, self.total)
        async with transaction(worker):
            await context.run.hold(worker.connection)
            await context.existing.settle(worker.connection, [name])
            await ledger_lines.write_copied(worker.connection, context.run, {name: self.total})
