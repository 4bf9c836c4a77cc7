"""
Stage ``copy``: the source's rows go into the target's tables.

Here the way of the data is joined: ``copy_data → prefetch → copy_in``, with the ledger's
line about a piece of a table in the transaction of its rows. After any failure a piece is there, with its line, or none
of it is.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.triggers import has_triggers, triggers_disabled
from migrator.concurrency.blocking import BlockingConnection
from migrator.concurrency.pool import WorkerPool, gather_or_cancel
from migrator.concurrency.prefetch import prefetch
from migrator.concurrency.replay_queue import ReplayQueue
from migrator.copying import check_violations
from migrator.copying.copy_stream import copy_data, copy_data_of_small
from migrator.errors import SourceChanged
from migrator.events import Event
from migrator.ledger import carried, loads
from migrator.ledger.carried import Carried, Terms
from migrator.ledger.loads import CopyProgress, CopyStats, Seed, untouched
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName
from migrator.planning.grouping import group_small_tables, is_small
from migrator.planning.plan import Plan, TablePlan
from migrator.preflight.existing_rows import RowComparison, refusal
from migrator.preflight.table_check import TableCheck
from migrator.runtime.limits import ExampleOptions, Limits
from migrator.runtime.progress import Progress
from migrator.sessions.connections import in_transaction, is_open
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.database import Source
from migrator.source.scan import ScanSession
from migrator.source.size import Profile
from migrator.target.copy_in import CopyTarget, copy_in
from migrator.target.database import Target, own_rows, row_counts
from migrator.target.lock_room import lock_room
from migrator.verification.recipe import recorded

log = structlog.get_logger()

NO_TERMS: Mapping[str, Terms] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class CopyContext:
    """What all tables of one run have in common."""

    source: Source
    target: Target
    run: RunLedger
    batch_bytes: int
    stall_seconds: float
    seeded: Mapping[TableName, Seed]
    terms: Mapping[str, Terms]
    """Of the source's tables, by their names."""
    progress: Progress
    crew: WorkerPool["CopyWorker"]
    done: ReplayQueue[TableName]


@dataclass(frozen=True, slots=True)
class TableLoad:
    """A table on its way: where it comes from and goes, what was found out about it, and how far it has come."""

    table: TablePlan
    survey: TableCheck
    begun: CopyProgress | None

    @property
    def name(self) -> TableName:
        """The target's name."""
        return self.table.name

    @property
    def profile(self) -> Profile:
        """Its size."""
        return self.survey.profile

    @property
    def is_whole(self) -> bool:
        """Whether it goes in one transaction."""
        return self.begun is None and self.survey.is_whole

    def size_if_whole(self) -> Profile | None:
        """Return its size if it may share a transaction."""
        return self.profile if self.is_whole else None


@dataclass(frozen=True, slots=True)
class CopyWorker:
    """What it takes to bring rows: a session of each end, one table's or piece's at a time."""

    reading: BlockingConnection[ScanSession]
    connection: AsyncConnection


@asynccontextmanager
async def _worker(source: Source, target: Target) -> AsyncIterator[CopyWorker]:
    reading = BlockingConnection(source.session)
    try:
        async with target.connect() as connection:
            yield CopyWorker(reading, connection)
    finally:
        reading.close()


async def copy(  # noqa: PLR0913 - both ends, the plan, and how to go about it
    source: Source,
    target: Target,
    plan: Plan,
    surveys: Mapping[TableName, TableCheck],
    *,
    run: RunLedger,
    slots: asyncio.Semaphore,
    limits: Limits,
    progress: Progress,
    done: ReplayQueue[TableName],
    terms: Mapping[str, Terms] = NO_TERMS,
) -> None:
    """
    Fill every table that was surveyed and has no line in the ledger yet, the largest first, as ``slots`` are free.

    A table of several pieces goes in as many transactions, side by side; one that was begun goes on with what is left.
    Small tables share a transaction of at most ``limits.chunk_bytes``. The ledger learns under which ``terms`` a table
    of the source was begun. ``done`` gets every planned table when all its
    rows are there. Memory is bounded by the number of hands times a few ``limits.batch_bytes``, whatever the tables
    hold. After an error what was done is committed with its lines, and nothing else is. Raises, in an ExceptionGroup,
    SourceChanged, RowsInTheWay, and GaveUp if another run has taken over.
    """
    async with target.connect() as connection:
        copied = await loads.copied(connection, run.migration)
        begun = await loads.begun(connection, run.migration)
        seeded = await loads.seeds(connection)
        room = await lock_room(connection, list(surveys))
    pending = {
        table.name: TableLoad(table, surveys[table.name], begun.get(table.name))
        for table in plan.tables
        if table.name in surveys and table.name not in copied
    }
    for table in plan.tables:
        if table.name not in pending:
            await done.add(table.name)
    async with WorkerPool(slots, partial(_worker, source, target), lambda worker: is_open(worker.connection)) as crew:
        load = CopyContext(
            source, target, run, limits.batch_bytes, limits.stall_seconds, seeded, terms, progress, crew, done
        )
        largest_first = sorted(pending.values(), key=lambda way: -way.profile.weight)
        await gather_or_cancel(
            _fill(load, [pending[name] for name in names])
            for ways in group_small_tables(largest_first, TableLoad.size_if_whole, limits.chunk_bytes)
            for names in room.few([way.name for way in ways], limits.jobs)
        )


async def _fill(load: CopyContext, ways: Sequence[TableLoad]) -> None:
    """Fill a table, from where it is; or several small ones."""
    [first, *others] = ways
    all_brought = await (_load_whole(load, ways) if others or first.is_whole else _load_pieces(load, first))
    for way, brought in zip(ways, all_brought, strict=True):
        chunks = {} if way.survey.pieces == (WHOLE_TABLE,) else {"chunks": len(way.survey.pieces)}
        log.info(
            Event.TABLE_COPIED,
            table=str(way.name),
            rows=brought.rows,
            bytes=brought.bytes,
            seconds=round(brought.seconds, 3),
            **chunks,
        )
        await load.done.add(way.name)


@asynccontextmanager
async def _transaction(load: CopyContext, *, durable: bool = True) -> AsyncIterator[CopyWorker]:
    """
    Give a free hand, in a transaction of the target.

    Of one that isn't ``durable`` nobody waits until the commit is on the disk; the next durable one brings it there. A
    table is handed on after one: or other stages would go on with rows that a crash of the server takes back.
    """
    async with load.crew.worker() as worker, in_transaction(worker.connection):
        if not durable:
            await worker.connection.execute(text("SELECT set_config('synchronous_commit', 'off', true)"))
        yield worker


async def _load_whole(load: CopyContext, ways: Sequence[TableLoad]) -> list[CopyStats]:
    """
    Bring all rows of some tables with their ledger lines in one transaction: afterwards all are there, or none.

    Raises SourceChanged if other than the surveyed number of rows has come.
    """
    names = [way.name for way in ways]
    async with _transaction(load) as worker:
        occupied = await _refuse_strangers(load, worker.connection, ways)
        # TRUNCATE gives a table a new file, which takes the server longer than a few rows do.
        emptied = [way.name for way in ways if way.name in occupied or not is_small(way.profile)]
        async with triggers_disabled(worker.connection, names):
            if emptied:
                await worker.connection.exec_driver_sql(f"TRUNCATE {await _listed(worker.connection, emptied)}")
            # FREEZE marks the rows as visible to all, so that nobody has to write them once more; needs the TRUNCATE.
            frozen = {way.name for way in ways if way.name in emptied and not way.table.target.partitioned}
            data = await _data(load, worker, ways)
            brought = [
                await _copy_chunk(load, worker, way, WHOLE_TABLE, chunks, freeze=way.name in frozen)
                for way, chunks in zip(ways, data, strict=True)
            ]
        for way, one in zip(ways, brought, strict=True):
            _refuse_other_number(way, one)
        await load.run.hold(worker.connection)
        await _write_terms(load, worker.connection, ways)
        await loads.write_whole(worker.connection, load.run, dict(zip(names, brought, strict=True)))
    return brought


async def _load_pieces(load: CopyContext, way: TableLoad) -> list[CopyStats]:
    """Bring the pieces of a table that are left, each with its ledger line in a transaction of its own."""
    name, run = way.name, load.run
    async with _transaction(load, durable=False) as worker:
        connection = worker.connection
        begun = way.begun or CopyProgress(left=dict(enumerate(way.survey.pieces)))
        if way.begun is None:
            await _refuse_strangers(load, connection, [way])
            async with triggers_disabled(connection, [name]):
                await connection.exec_driver_sql(f"TRUNCATE {await _listed(connection, [name])}")
            await run.hold(connection)
            await _write_terms(load, connection, [way])
            await loads.write_pieces(connection, run, name, begun.left)
        # Who switches a trigger off locks the table until the end of its transaction.
        at_once = 1 if await has_triggers(connection, name) else max(1, len(begun.left))
    turn = asyncio.Semaphore(at_once)

    async def one(position: int, piece: Chunk) -> CopyStats:
        async with turn, _transaction(load, durable=False) as worker:
            async with triggers_disabled(worker.connection, [name]):
                brought = await _copy_chunk(load, worker, way, piece, _read(load, worker, way, piece), freeze=False)
            await run.hold(worker.connection)
            await loads.write_chunk(worker.connection, run, name, position, brought)
            return brought

    came = await gather_or_cancel(one(position, piece) for position, piece in begun.left.items())
    brought = sum(came, begun.brought)
    _refuse_other_number(way, brought)
    async with _transaction(load) as worker:
        await run.hold(worker.connection)
        await loads.write_copied(worker.connection, run, {name: brought})
    return [brought]


async def _write_terms(load: CopyContext, connection: AsyncConnection, ways: Sequence[TableLoad]) -> None:
    """Write under which terms tables are begun, and the digests that preflight found on its way."""
    lines = {
        way.name: Carried(terms, recorded(found.comparison, found.digest) if found else None)
        for way in ways
        for found in (way.survey.rehearsed,)
        if (terms := load.terms.get(way.table.source.name))
    }
    await carried.write(connection, load.run.migration, lines)


async def _copy_chunk(  # noqa: PLR0913 - who brings what
    load: CopyContext, worker: CopyWorker, way: TableLoad, piece: Chunk, data: "_Chunks", *, freeze: bool
) -> CopyStats:
    """Send one piece's rows, in the connection's transaction."""
    started = time.monotonic()
    sent = _Sent()
    table = way.table
    try:
        rows = await copy_in(
            worker.connection,
            CopyTarget(table.name, [column.target.name for column in table.columns], table.form, freeze),
            _counted(load, way, data, sent),
            stall_seconds=load.stall_seconds,
        )
    except asyncpg.PostgresError as error:
        if not check_violations.is_about_a_row(error):
            raise
        where = piece.where(table.source)
        raise await asyncio.to_thread(
            check_violations.check_violation_error, load.source, table, where, error
        ) from error
    return CopyStats(rows, sent.bytes, time.monotonic() - started)


class _Sent:
    """Counts the bytes of one piece on their way."""

    bytes = 0


_Chunks = AsyncIterator[tuple[int, bytes]]
"""COPY data as it comes, each part with its number of rows."""


async def _counted(load: CopyContext, way: TableLoad, data: _Chunks, sent: _Sent) -> AsyncIterator[bytes]:
    async for rows, chunk in data:
        sent.bytes += len(chunk)
        yield chunk
        if rows:
            load.progress.advance(str(way.name), rows, len(chunk))


async def _data(load: CopyContext, worker: CopyWorker, ways: Sequence[TableLoad]) -> list[_Chunks]:
    """Return the COPY data of whole tables: small ones, which share a transaction, are read together and at once."""
    if not is_small(ways[0].profile):
        return [_read(load, worker, way, WHOLE_TABLE) for way in ways]
    tables = [(way.table, way.profile) for way in ways]
    data = await asyncio.to_thread(worker.reading.call, copy_data_of_small, tables, load.batch_bytes)
    return [_at_once(*one) for one in data]


def _read(load: CopyContext, worker: CopyWorker, way: TableLoad, piece: Chunk) -> _Chunks:
    """Return the piece as COPY data, read and encoded in a thread while the network takes what is ready."""

    def read() -> Iterator[tuple[int, bytes]]:
        with worker.reading.borrow() as session:
            yield from copy_data(session, way.table, way.profile, piece, load.batch_bytes)

    return prefetch(read())


async def _at_once(rows: int, chunk: bytes) -> _Chunks:
    yield rows, chunk


async def _refuse_strangers(
    load: CopyContext, connection: AsyncConnection, ways: Sequence[TableLoad]
) -> Collection[TableName]:
    """
    Lock the tables against writers and return those that hold rows, all of which may go.

    Raises RowsInTheWay if some of the rows aren't the source's.
    """
    # An application that was started too early may have written since preflight looked. This lock keeps writers out
    # until the end of the transaction and lets readers in: the comparison reads through a connection of its own.
    names = [way.name for way in ways]
    listed = await _listed(connection, names)
    await connection.exec_driver_sql(f"LOCK TABLE {listed} IN SHARE ROW EXCLUSIVE MODE")
    comparison = RowComparison(load.source, load.target, load.batch_bytes, ExampleOptions(count=1, mask_values=True))
    occupied = await row_counts(connection, names)
    seeded = await untouched(connection, {name: load.seeded[name] for name in occupied if name in load.seeded})
    found = [
        await comparison.compare(way.table, rows, way.profile)
        for way in ways
        if (rows := occupied.get(way.name)) and rows != seeded.get(way.name)
    ]
    if unexpected := [one for one in found if one.unexpected]:
        raise refusal(unexpected)
    return occupied


async def _listed(connection: AsyncConnection, names: Sequence[TableName]) -> str:
    """Return the tables as a statement lists them that is about their own rows, not those of inheriting tables."""
    return ", ".join((await own_rows(connection, names)).values())


def _refuse_other_number(way: TableLoad, brought: CopyStats) -> None:
    """Raise SourceChanged if more or less rows came than were surveyed."""
    name, surveyed = way.table.source.name, way.profile.rows
    if brought.rows != surveyed:
        raise SourceChanged(
            f"table {name!r} had {surveyed} rows in preflight and {brought.rows} now",
            next_step="Stop whatever writes to the source and run again.",
            table=name,
        )
