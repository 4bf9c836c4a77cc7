"""
Loads a table, a chunk of a table, or a group of small tables in one transaction of the target.

The data passes through ``copy_data → prefetch → copy_in``. The ledger's line about a chunk is written in the same
transaction as its rows: after any failure the target has the chunk with its line, or neither of them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import asyncpg
import structlog
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.triggers import has_triggers, triggers_disabled
from migrator.concurrency.blocking import BlockingConnection
from migrator.concurrency.pool import WorkerPool, gather_or_cancel
from migrator.concurrency.prefetch import prefetch
from migrator.copying import check_violations, ledger_lines
from migrator.copying.copy_stream import copy_data, copy_data_of_small
from migrator.errors import SourceChanged
from migrator.events import Event
from migrator.ledger import carried, loads
from migrator.ledger.carried import Carried, Terms
from migrator.ledger.loads import CopyProgress, CopyStats
from migrator.ledger.run_ledger import RunLedger
from migrator.monitoring.tracker import Tracker
from migrator.names import TableName
from migrator.planning.grouping import is_small
from migrator.planning.plan import TablePlan
from migrator.runtime.limits import Limits
from migrator.sessions.connections import in_transaction, is_open
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.database import Source
from migrator.source.scan import ScanSession
from migrator.source.size import TableSize
from migrator.target.copy_in import CopyTarget, copy_in
from migrator.target.database import Target, own_rows, row_counts
from migrator.verification.digest import KnownDigest
from migrator.verification.recipe import recorded

log = structlog.get_logger()


class TableLoad(Struct, frozen=True):
    """One table to be loaded: its plan, the results of preflight, and the progress of earlier runs."""

    table: TablePlan
    table_size: TableSize
    chunks: tuple[Chunk, ...]
    known_digest: KnownDigest | None
    """The digest of the source's rows, if preflight has computed it."""
    begun: CopyProgress | None
    """The progress of earlier runs; None if nothing of the table has been loaded."""

    @property
    def name(self) -> TableName:
        """The name of the target's table."""
        return self.table.name

    @property
    def is_whole(self) -> bool:
        """Whether all its rows are loaded in one transaction."""
        return self.begun is None and len(self.chunks) == 1

    def size_if_whole(self) -> TableSize | None:
        """Return the table's size if it may share a transaction with other tables, otherwise None."""
        return self.table_size if self.is_whole else None


class CopyWorker(Struct, frozen=True):
    """A worker with a session of each database. It loads one table, chunk or group at a time."""

    reading: BlockingConnection[ScanSession]
    connection: AsyncConnection


class ExistingRows(Protocol):
    """Decides about rows that a table holds before it is filled."""

    async def make_way(self, connection: AsyncConnection, occupied: Sequence[tuple[TableLoad, int]]) -> None:
        """
        Return when all rows of the ``occupied`` tables, each with its number of rows, may be taken away.

        It is called in the transaction that takes them away. Raises RowsInTheWay if some of the rows must stay.
        """

    async def settle(self, connection: AsyncConnection, tables: Sequence[TableName]) -> None:
        """Settle what was kept of the ``tables``. It is called in the transaction in which the last rows arrive."""


class CopyContext(Struct, frozen=True):
    """What the loads of all tables of one run have in common."""

    source: Source
    run: RunLedger
    limits: Limits
    terms: Mapping[str, Terms]
    """Terms of the source's tables, by their names."""
    tracker: Tracker
    workers: WorkerPool[CopyWorker]
    existing: ExistingRows


class _ChunkData(Struct, frozen=True):
    """A chunk and its COPY data, each part with its number of rows."""

    chunk: Chunk
    parts: AsyncIterator[tuple[int, bytes]]
    freeze: bool = False
    """Whether COPY marks the rows as visible to all (FREEZE)."""


class _SentBytes:
    """Counts the bytes of one chunk that have been sent."""

    count = 0


def copy_workers(slots: asyncio.Semaphore, source: Source, target: Target) -> WorkerPool[CopyWorker]:
    """Return a pool of as many workers as there are free ``slots``; it is opened with ``async with``."""
    return WorkerPool(slots, partial(_worker, source, target), lambda worker: is_open(worker.connection))


@asynccontextmanager
async def _worker(source: Source, target: Target) -> AsyncIterator[CopyWorker]:
    reading = BlockingConnection(source.session)
    try:
        async with target.connect() as connection:
            yield CopyWorker(reading, connection)
    finally:
        reading.close()


async def load_tables(context: CopyContext, group: Sequence[TableLoad]) -> list[CopyStats]:
    """
    Load one table, or continue it, or load a group of small tables; return the rows, bytes and seconds of each.

    A group, or a table of one chunk, is loaded in one transaction, any other table in one transaction for each chunk.
    Raises SourceChanged if the number of rows differs from preflight's, RowsInTheWay if the target has rows that are
    not the source's, and GaveUp if another run has taken over.
    """
    [first, *others] = group
    return await (_load_whole(context, group) if others or first.is_whole else _load_chunks(context, first))


@asynccontextmanager
async def _transaction(context: CopyContext, *, durable: bool = True) -> AsyncIterator[CopyWorker]:
    """
    Yield a free worker, in a transaction of the target.

    The commit of a transaction that isn't ``durable`` returns before it is on the disk; the next durable commit writes
    it there, too. A table counts as copied only after a durable commit: otherwise other stages would use rows that a
    crash of the server can undo.
    """
    async with context.workers.worker() as worker, in_transaction(worker.connection):
        if not durable:
            await worker.connection.execute(text("SELECT set_config('synchronous_commit', 'off', true)"))
        yield worker


async def _load_whole(context: CopyContext, group: Sequence[TableLoad]) -> list[CopyStats]:
    """Load all rows of some tables, with their ledger lines, in one transaction."""
    names = [load.name for load in group]
    async with _transaction(context) as worker:
        for name in names:
            context.tracker.begin_table("copy", str(name))
        _tell_begun(group)
        occupied = await _lock_and_check(context, worker.connection, group)
        # TRUNCATE makes a new file for the table, which takes the server longer than loading a few rows.
        emptied = [load.name for load in group if load.name in occupied or not is_small(load.table_size)]
        async with triggers_disabled(worker.connection, names):
            if emptied:
                await worker.connection.exec_driver_sql(f"TRUNCATE {await _listed(worker.connection, emptied)}")
            # FREEZE marks the rows as visible to all, so PostgreSQL needn't write them again; it needs TRUNCATE.
            frozen = {load.name for load in group if load.name in emptied and not load.table.target.partitioned}
            data = [
                _ChunkData(WHOLE_TABLE, parts, freeze=load.name in frozen)
                for load, parts in zip(group, await _whole_tables(context, worker, group), strict=True)
            ]
            stats = [
                await _copy_chunk(context, worker, load, chunk_data)
                for load, chunk_data in zip(group, data, strict=True)
            ]
        for load, copied in zip(group, stats, strict=True):
            _refuse_other_number(load, copied)
        await context.run.hold(worker.connection)
        await context.existing.settle(worker.connection, names)
        await _write_terms(context, worker.connection, group)
        await ledger_lines.write_whole(worker.connection, context.run, dict(zip(names, stats, strict=True)))
    return stats


async def _load_chunks(context: CopyContext, load: TableLoad) -> list[CopyStats]:
    """Load the chunks of a table that are still missing, each with its ledger line in a transaction of its own."""
    name, run = load.name, context.run
    async with _transaction(context, durable=False) as worker:
        _tell_begun([load])
        connection = worker.connection
        begun = load.begun or CopyProgress(left=dict(enumerate(load.chunks)))
        if load.begun is None:
            await _lock_and_check(context, connection, [load])
            async with triggers_disabled(connection, [name]):
                await connection.exec_driver_sql(f"TRUNCATE {await _listed(connection, [name])}")
            await run.hold(connection)
            await _write_terms(context, connection, [load])
            await loads.write_chunks(connection, run, name, begun.left)
        # Disabling a trigger locks the table until the end of the transaction.
        at_once = 1 if await has_triggers(connection, name) else max(1, len(begun.left))
    turn = asyncio.Semaphore(at_once)

    async def load_chunk(position: int, chunk: Chunk) -> CopyStats:
        async with turn, _transaction(context, durable=False) as worker:
            context.tracker.begin_table("copy", str(name))
            async with triggers_disabled(worker.connection, [name]):
                data = _ChunkData(chunk, _read(context, worker, load, chunk))
                stats = await _copy_chunk(context, worker, load, data)
            await run.hold(worker.connection)
            await loads.write_chunk(worker.connection, run, name, position, stats)
            return stats

    copied = await gather_or_cancel(load_chunk(position, chunk) for position, chunk in begun.left.items())
    total = sum(copied, begun.brought)
    _refuse_other_number(load, total)
    async with _transaction(context) as worker:
        await run.hold(worker.connection)
        await context.existing.settle(worker.connection, [name])
        await ledger_lines.write_copied(worker.connection, run, {name: total})
    return [total]


def _tell_begun(group: Sequence[TableLoad]) -> None:
    for load in group:
        log.debug(Event.TABLE_BEGUN, table=str(load.name))


async def _write_terms(context: CopyContext, connection: AsyncConnection, group: Sequence[TableLoad]) -> None:
    """Write the terms under which the tables are begun, and the digests that preflight has computed."""
    lines = {
        load.name: Carried(terms, recorded(known.comparison, known.digest) if known else None)
        for load in group
        for known in (load.known_digest,)
        if (terms := context.terms.get(load.table.source.name))
    }
    await carried.write(connection, context.run.migration, lines)


async def _copy_chunk(context: CopyContext, worker: CopyWorker, load: TableLoad, data: _ChunkData) -> CopyStats:
    """Send one chunk's rows, in the transaction of the worker's connection."""
    started = time.monotonic()
    sent = _SentBytes()
    table = load.table
    try:
        rows = await copy_in(
            worker.connection,
            CopyTarget(table.name, [column.target.name for column in table.columns], table.form, data.freeze),
            _counted(context, load, data, sent),
            stall_seconds=context.limits.stall_seconds,
        )
    except asyncpg.PostgresError as error:
        if not check_violations.is_about_a_row(error):
            raise
        where = data.chunk.where(table.source)
        raise await asyncio.to_thread(
            check_violations.check_violation_error, context.source, table, where, error
        ) from error
    return CopyStats(rows, sent.count, time.monotonic() - started)


async def _counted(context: CopyContext, load: TableLoad, data: _ChunkData, sent: _SentBytes) -> AsyncIterator[bytes]:
    count = context.tracker.counter("copy", str(load.name))
    async for rows, part in data.parts:
        sent.count += len(part)
        yield part
        if rows:
            count(rows, len(part))


async def _whole_tables(
    context: CopyContext, worker: CopyWorker, group: Sequence[TableLoad]
) -> list[AsyncIterator[tuple[int, bytes]]]:
    """Return the COPY data of whole tables; small tables, which share a transaction, are read together in advance."""
    if not is_small(group[0].table_size):
        return [_read(context, worker, load, WHOLE_TABLE) for load in group]
    tables = [(load.table, load.table_size) for load in group]
    data = await asyncio.to_thread(worker.reading.call, copy_data_of_small, tables, context.limits.batch_bytes)
    return [_single_part(rows, part) for rows, part in data]


def _read(context: CopyContext, worker: CopyWorker, load: TableLoad, chunk: Chunk) -> AsyncIterator[tuple[int, bytes]]:
    """Return a chunk's COPY data, read and encoded in a thread while earlier parts are sent."""

    def read() -> Iterator[tuple[int, bytes]]:
        with worker.reading.borrow() as session:
            yield from copy_data(session, load.table, load.table_size, chunk, context.limits.batch_bytes)

    return prefetch(read())


async def _single_part(rows: int, part: bytes) -> AsyncIterator[tuple[int, bytes]]:
    yield rows, part


async def _lock_and_check(
    context: CopyContext, connection: AsyncConnection, group: Sequence[TableLoad]
) -> Collection[TableName]:
    """
    Lock the tables against writers, and return the tables that hold rows; all these rows may be deleted.

    Raises RowsInTheWay if some of the rows must stay.
    """
    # An application that was started too early may have written since preflight. This lock blocks writers until the end
    # of the transaction. It doesn't block readers, because the comparison reads with a connection of its own.
    names = [load.name for load in group]
    listed = await _listed(connection, names)
    await connection.exec_driver_sql(f"LOCK TABLE {listed} IN SHARE ROW EXCLUSIVE MODE")
    counts = await row_counts(connection, names)
    await context.existing.make_way(connection, [(load, counts[load.name]) for load in group if load.name in counts])
    return counts


async def _listed(connection: AsyncConnection, names: Sequence[TableName]) -> str:
    """Return the tables in SQL, separated by commas, without the rows of tables that inherit from them."""
    return ", ".join((await own_rows(connection, names)).values())


def _refuse_other_number(load: TableLoad, stats: CopyStats) -> None:
    """Raise SourceChanged if the number of copied rows differs from the number that preflight has counted."""
    name, surveyed = load.table.source.name, load.table_size.rows
    if stats.rows != surveyed:
        raise SourceChanged(
            f"table {name!r} had {surveyed} rows in preflight and {stats.rows} now",
            next_step="Stop whatever writes to the source and run again.",
            table=name,
        )
