"""
Stage ``copy``: the source's rows go into the target's tables.

Here the way of the data is joined: ``source.scan → plan.convert → encode → bridge → target.copy_in``, with the ledger's
line about a piece of a table in the transaction of its rows. After any failure a piece is there, with its line, or none
of it is.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import pyarrow as pa
import structlog
from asyncpg.exceptions import CheckViolationError
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator import culprit, ledger, loads
from migrator.batches import scan
from migrator.blocking import Blocking
from migrator.bridge import bridge
from migrator.crew import Crew, all_of
from migrator.encode import Encoder, encoder_for
from migrator.errors import SourceChanged
from migrator.events import Event
from migrator.examples import Showing
from migrator.findings import Profile
from migrator.handover import Handover
from migrator.loads import Begun, Brought, CopiedTable
from migrator.names import TableName, quote_postgres
from migrator.pieces import WHOLE, Piece
from migrator.plan import Plan, TablePlan
from migrator.progress import Progress
from migrator.scanning import ScanSession
from migrator.source import Source
from migrator.strangers import look_at, refusal
from migrator.survey import Survey
from migrator.target import Target, copy_in, in_transaction, is_open, row_count

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Load:
    """What all tables of one run have in common."""

    source: Source
    target: Target
    run_id: UUID
    batch_bytes: int
    stall_seconds: float
    seeded: Mapping[TableName, int]
    progress: Progress
    crew: Crew["_Hand"]
    done: Handover[TableName]


@dataclass(frozen=True, slots=True)
class _Hand:
    """What it takes to bring rows: a session of each end, one table's or piece's at a time."""

    reading: Blocking[ScanSession]
    connection: AsyncConnection


@asynccontextmanager
async def _hand(source: Source, target: Target) -> AsyncIterator[_Hand]:
    reading = Blocking(source.session)
    try:
        async with target.connect() as connection:
            yield _Hand(reading, connection)
    finally:
        reading.close()


async def copy(  # noqa: PLR0913 - both ends, the plan, and how to go about it
    source: Source,
    target: Target,
    plan: Plan,
    surveys: Mapping[TableName, Survey],
    *,
    run_id: UUID,
    hands: asyncio.Semaphore,
    batch_bytes: int,
    stall_seconds: float,
    progress: Progress,
    done: Handover[TableName],
) -> None:
    """
    Fill every table that was surveyed and has no line in the ledger yet, the largest first, as ``hands`` are free.

    A table of several pieces goes in as many transactions, side by side; one that was begun goes on with what is left.
    ``done`` gets every planned table when all its rows are there. Memory is bounded by the number of hands times a few
    ``batch_bytes``, whatever the tables hold. After an error the pieces that were done are committed with their lines,
    and nothing else is. Raises, in an ExceptionGroup, SourceChanged, RowsInTheWay, and GaveUp if another run has taken
    over.
    """
    async with target.connect() as connection:
        copied = await loads.copied(connection)
        begun = await loads.begun(connection)
        seeded = await loads.seeded_rows(connection)
    pending = [table for table in plan.tables if table.name in surveys and table.name not in copied]
    pending.sort(key=lambda table: surveys[table.name].profile.weight, reverse=True)
    names = {table.name for table in pending}
    for table in plan.tables:
        if table.name not in names:
            await done.add(table.name)
    async with Crew(hands, partial(_hand, source, target), lambda hand: is_open(hand.connection)) as crew:
        load = _Load(source, target, run_id, batch_bytes, stall_seconds, seeded, progress, crew, done)
        await all_of(_fill(load, table, surveys[table.name], begun.get(table.name)) for table in pending)


async def _fill(load: _Load, table: TablePlan, survey: Survey, begun: Begun | None) -> None:
    """Fill one table, from where it is."""
    if begun is None and len(survey.pieces) == 1:
        brought = await _load_whole(load, table, survey.profile)
    else:
        brought = await _load_pieces(load, table, survey, begun)
    chunks = {} if survey.pieces == (WHOLE,) else {"chunks": len(survey.pieces)}
    log.info(
        Event.TABLE_COPIED,
        table=str(table.name),
        rows=brought.rows,
        bytes=brought.bytes,
        seconds=round(brought.seconds, 3),
        **chunks,
    )
    await load.done.add(table.name)


async def _load_whole(load: _Load, table: TablePlan, profile: Profile) -> Brought:
    """
    Bring all rows of a table with its ledger lines in one transaction: afterwards all are there, or none.

    Raises SourceChanged if other than the surveyed number of rows has come.
    """
    async with load.crew.hand() as hand, in_transaction(connection := hand.connection):
        await _refuse_strangers(load, connection, table, profile)
        await loads.write_pieces(connection, table.name, load.run_id, {0: WHOLE})
        async with _silent_triggers(connection, table.name):
            await connection.exec_driver_sql(f"TRUNCATE {table.name.quoted}")
            # Marks the rows as visible to all, so that nobody has to write them once more; needs the TRUNCATE.
            freeze = not table.target.partitioned
            brought = await _bring(load, hand, table, profile, WHOLE, freeze=freeze)
        await ledger.check_owner(connection, load.run_id)
        await loads.write_chunk(connection, table.name, load.run_id, 0, brought)
        await _write_whole(load, connection, table, profile, brought)
    return brought


async def _load_pieces(load: _Load, table: TablePlan, survey: Survey, begun: Begun | None) -> Brought:
    """Bring the pieces of a table that are left, each with its ledger line in a transaction of its own."""
    profile = survey.profile
    async with load.crew.hand() as hand, in_transaction(connection := hand.connection):
        if begun is None:
            begun = Begun(left=dict(enumerate(survey.pieces)))
            await _refuse_strangers(load, connection, table, profile)
            async with _silent_triggers(connection, table.name):
                await connection.exec_driver_sql(f"TRUNCATE {table.name.quoted}")
            await ledger.check_owner(connection, load.run_id)
            await loads.write_pieces(connection, table.name, load.run_id, begun.left)
        # Who switches a trigger off locks the table until the end of its transaction.
        at_once = 1 if await _triggers_of(connection, table.name) else max(1, len(begun.left))
    turn = asyncio.Semaphore(at_once)

    async def one(position: int, piece: Piece) -> Brought:
        async with turn, load.crew.hand() as hand, in_transaction(connection := hand.connection):
            async with _silent_triggers(connection, table.name):
                brought = await _bring(load, hand, table, profile, piece, freeze=False)
            await ledger.check_owner(connection, load.run_id)
            await loads.write_chunk(connection, table.name, load.run_id, position, brought)
            return brought

    came = await all_of(one(position, piece) for position, piece in begun.left.items())
    brought = sum(came, begun.brought)
    async with load.crew.hand() as hand, in_transaction(connection := hand.connection):
        await ledger.check_owner(connection, load.run_id)
        await _write_whole(load, connection, table, profile, brought)
    return brought


async def _write_whole(
    load: _Load, connection: AsyncConnection, table: TablePlan, profile: Profile, brought: Brought
) -> None:
    """Write that all of a table's rows are there; raises SourceChanged if these are more or less than surveyed."""
    _refuse_other_number(table, profile.rows, brought.rows)
    copied = CopiedTable(table.name, load.run_id, brought.rows, brought.bytes, brought.seconds, digest=None)
    await loads.write_copied(connection, copied)


async def _bring(  # noqa: PLR0913 - what is brought, where from and where to
    load: _Load, hand: _Hand, table: TablePlan, profile: Profile, piece: Piece, *, freeze: bool
) -> Brought:
    """Send one piece's rows, in the connection's transaction."""
    started = time.monotonic()
    sent = _Sent()
    await hand.connection.execute(text("SELECT set_config('synchronous_commit', 'off', true)"))
    try:
        rows = await copy_in(
            hand.connection,
            table.name,
            [column.target.name for column in table.columns],
            _encoded(load, hand, table, profile, piece, sent),
            form=table.form,
            freeze=freeze,
            stall_seconds=load.stall_seconds,
        )
    except CheckViolationError as error:
        where = piece.where(table.source)
        raise await asyncio.to_thread(culprit.refusal, load.source, table, where, error) from error
    return Brought(rows, sent.bytes, time.monotonic() - started)


async def _refuse_strangers(load: _Load, connection: AsyncConnection, table: TablePlan, profile: Profile) -> None:
    """Lock the table against writers and raise RowsInTheWay if it holds rows that the source doesn't."""
    # An application that was started too early may have written since preflight looked. This lock keeps writers out
    # until the end of the transaction and lets readers in: the comparison reads through a connection of its own.
    await connection.exec_driver_sql(f"LOCK TABLE {table.name.quoted} IN SHARE ROW EXCLUSIVE MODE")
    rows = await row_count(connection, table.name)
    if not rows or rows == load.seeded.get(table.name):
        return
    showing = Showing(examples=1, mask_values=True)
    found = await look_at(load.source, load.target, table, rows, profile, load.batch_bytes, showing)
    if found.strange:
        raise refusal([found])


def _refuse_other_number(table: TablePlan, surveyed: int, came: int) -> None:
    if came != surveyed:
        raise SourceChanged(
            f"table {table.source.name!r} had {surveyed} rows in preflight and {came} now",
            next_step="stop whatever writes to the source and run again",
            table=table.source.name,
        )


class _Sent:
    """Counts the bytes of one piece on their way."""

    bytes = 0


async def _encoded(  # noqa: PLR0913, PLR0917 - what is read, and where it is counted
    load: _Load, hand: _Hand, table: TablePlan, profile: Profile, piece: Piece, sent: _Sent
) -> AsyncIterator[bytes]:
    """Yield the piece as COPY data, read and encoded in a thread while the network takes what is ready."""
    async for rows, chunk in bridge(_chunks(hand.reading, table, profile, piece, load.batch_bytes)):
        sent.bytes += len(chunk)
        yield chunk
        if rows:
            load.progress.advance(str(table.name), rows, len(chunk))


def _chunks(
    reading: Blocking[ScanSession], table: TablePlan, profile: Profile, piece: Piece, batch_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """Yield (rows, COPY data), a batch at a time."""
    if profile.plain:
        table = table.plainly()
    encoder = _encoder(table)
    yield 0, encoder.start()
    with reading.lent() as session:
        for batch in scan(
            session,
            table.source,
            table.lanes,
            profile=profile,
            batch_bytes=batch_bytes,
            where=piece.where(table.source),
        ):
            yield len(batch), encoder.rows(table.convert(batch))
    yield 0, encoder.end()


def _encoder(table: TablePlan) -> Encoder:
    nothing = pa.record_batch([pa.array([], lane_type) for lane_type in _arrow_types(table)], names=_lane_names(table))
    schema = table.convert(nothing).schema
    builders = [
        column.carrier.encoder(field) if column.carrier.encoder else None
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return encoder_for(table.form, schema, builders)


def _arrow_types(table: TablePlan) -> Sequence[pa.DataType]:
    return [lane.arrow_type for lane in table.lanes]


def _lane_names(table: TablePlan) -> list[str]:
    return [f"c{i}" for i in range(len(table.lanes))]


@asynccontextmanager
async def _silent_triggers(connection: AsyncConnection, table: TableName) -> AsyncIterator[None]:
    """
    Disable the table's own triggers while the block runs, inside the connection's transaction.

    They would rewrite or add to rows that must arrive as they are (an ``updated_at``, an audit trail). An owner may do
    this to ordinary triggers; those of constraints stay (PostgreSQL, "ALTER TABLE": DISABLE TRIGGER).
    """
    triggers = await _triggers_of(connection, table)
    alter = f"ALTER TABLE {table.quoted}"
    for trigger in triggers:
        await connection.exec_driver_sql(f"{alter} DISABLE TRIGGER {quote_postgres(trigger.tgname)}")
    yield
    for trigger in triggers:
        how = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}[trigger.tgenabled]
        await connection.exec_driver_sql(f"{alter} {how} TRIGGER {quote_postgres(trigger.tgname)}")


async def _triggers_of(connection: AsyncConnection, table: TableName) -> Sequence[Row[Any]]:
    """Return the name and the state of each trigger of the table's own that is not switched off."""
    return (await connection.execute(text(_TRIGGERS), {"table": table.quoted})).all()


_TRIGGERS = """
SELECT tgname, tgenabled::text AS tgenabled FROM pg_trigger
WHERE tgrelid = CAST(:table AS regclass) AND NOT tgisinternal AND tgenabled <> 'D' ORDER BY tgname
"""
