"""
Stage ``copy``: the source's rows go into the target's tables.

Here the way of the data is joined: ``source.scan → plan.convert → encode → bridge → target.copy_in``, with the ledger's
line about a piece of a table in the transaction of its rows. After any failure a piece is there, with its line, or none
of it is.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import pyarrow as pa
import structlog
from asyncpg.exceptions import CheckViolationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator import culprit, ledger
from migrator.batches import scan
from migrator.bridge import bridge
from migrator.crew import share_out
from migrator.encode import Encoder, encoder_for
from migrator.errors import SourceChanged
from migrator.events import Event
from migrator.examples import Showing
from migrator.findings import Profile
from migrator.ledger import Begun, CopiedTable
from migrator.names import TableName, quote_postgres
from migrator.pieces import Piece, next_piece, rows_per_piece
from migrator.plan import Plan, TablePlan
from migrator.progress import Progress
from migrator.source import Source
from migrator.strangers import look_at, refusal
from migrator.target import Target, copy_in, row_count

log = structlog.get_logger()

_ALL = 1 << 62
"""More rows than a table can have."""


@dataclass(frozen=True, slots=True)
class _Load:
    """What all tables of one run have in common."""

    source: Source
    target: Target
    run_id: UUID
    batch_bytes: int
    chunk_bytes: int
    stall_seconds: float
    seeded: Mapping[TableName, int]
    progress: Progress


async def copy(  # noqa: PLR0913 - both ends, the plan, and how to go about it
    source: Source,
    target: Target,
    plan: Plan,
    profiles: Mapping[TableName, Profile],
    *,
    run_id: UUID,
    jobs: int,
    batch_bytes: int,
    chunk_bytes: int,
    stall_seconds: float,
    progress: Progress,
) -> None:
    """
    Fill every table that has a profile and no line in the ledger yet, the largest first, ``jobs`` at a time.

    A table of more than ``chunk_bytes`` goes in several transactions, and goes on after the last that was committed.
    Memory is bounded by ``jobs`` times a few ``batch_bytes``, whatever the tables hold. After an error the chunks that
    were done are committed with their lines, and nothing else is. Raises SourceChanged, RowsInTheWay, and GaveUp if
    another run has taken over.
    """
    async with target.connect() as connection:
        done = await ledger.copied(connection)
        begun = await ledger.begun(connection)
        seeded = await ledger.seeded_rows(connection)
    pending = [table for table in plan.tables if table.name in profiles and table.name not in done]
    pending.sort(key=lambda table: profiles[table.name].bytes, reverse=True)
    load = _Load(source, target, run_id, batch_bytes, chunk_bytes, stall_seconds, seeded, progress)

    async def fill(connection: AsyncConnection, table: TablePlan) -> None:
        await _load(load, connection, table, profiles[table.name], begun.get(table.name, Begun()))

    await share_out(pending, jobs, target.connect, fill)


async def _load(load: _Load, connection: AsyncConnection, table: TablePlan, profile: Profile, begun: Begun) -> None:
    """Fill one table, piece by piece, from where it is."""
    rows = rows_per_piece(profile, load.chunk_bytes)
    while True:
        piece = await asyncio.to_thread(_piece, load.source, table, begun, rows if rows < profile.rows else None)
        begun = await _load_piece(load, connection, table, profile, piece, begun)
        if piece.last is None:
            break
    log.info(
        Event.TABLE_COPIED,
        table=str(table.name),
        rows=begun.rows,
        bytes=begun.bytes,
        seconds=round(begun.seconds, 3),
        **({"chunks": begun.chunks} if begun.chunks > 1 else {}),
    )


def _piece(source: Source, table: TablePlan, begun: Begun, rows: int | None) -> Piece:
    if rows is None and not begun.chunks:
        return Piece("", None)
    with source.session() as session:
        return next_piece(session, table.source, begun.last, rows or _ALL)


async def _load_piece(  # noqa: PLR0913, PLR0917 - what is brought, where from and where to
    load: _Load, connection: AsyncConnection, table: TablePlan, profile: Profile, piece: Piece, begun: Begun
) -> Begun:
    """
    Bring one piece and write its ledger lines in one transaction: afterwards all are there, or none.

    Raises SourceChanged if, with the last piece, other than the surveyed number of rows has come.
    """
    started = time.monotonic()
    sent = _Sent()
    async with connection.begin():
        if not begun.chunks:
            await _refuse_strangers(load, connection, table, profile)
        triggers = await _silence_triggers(connection, table.name)
        if not begun.chunks:
            await connection.exec_driver_sql(f"TRUNCATE {table.name.quoted}")
        await connection.execute(text("SELECT set_config('synchronous_commit', 'off', true)"))
        try:
            rows = await copy_in(
                load.target,
                connection,
                table.name,
                [column.target.name for column in table.columns],
                _encoded(load, table, profile, piece, sent),
                form=table.form,
                # Marks the rows as visible to all, so that nobody has to write them once more; needs the TRUNCATE.
                freeze=not begun.chunks and not table.target.partitioned,
                stall_seconds=load.stall_seconds,
            )
        except CheckViolationError as error:
            raise await asyncio.to_thread(culprit.refusal, load.source, table, piece.where, error) from error
        for trigger in triggers:
            await connection.exec_driver_sql(trigger)
        seconds = time.monotonic() - started
        so_far = begun.and_then(rows=rows, size=sent.bytes, seconds=seconds, last=piece.last)
        await ledger.check_owner(connection, load.run_id)
        await ledger.write_chunk(
            connection,
            table.name,
            load.run_id,
            begun.chunks,
            last=piece.last,
            rows=rows,
            size=sent.bytes,
            seconds=seconds,
        )
        if piece.last is None:
            _refuse_other_number(table, profile.rows, so_far.rows)
            whole = CopiedTable(table.name, load.run_id, so_far.rows, so_far.bytes, so_far.seconds, digest=None)
            await ledger.write_copied(connection, whole)
    return so_far


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


async def _encoded(load: _Load, table: TablePlan, profile: Profile, piece: Piece, sent: _Sent) -> AsyncIterator[bytes]:
    """Yield the piece as COPY data, read and encoded in a thread while the network takes what is ready."""
    async for rows, chunk in bridge(_chunks(load.source, table, profile, piece, load.batch_bytes)):
        sent.bytes += len(chunk)
        yield chunk
        if rows:
            load.progress.advance(str(table.name), rows, len(chunk))


def _chunks(
    source: Source, table: TablePlan, profile: Profile, piece: Piece, batch_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """Yield (rows, COPY data), a batch at a time."""
    if profile.plain:
        table = table.plainly()
    encoder = _encoder(table)
    yield 0, encoder.start()
    with source.session() as session:
        for batch in scan(
            session, table.source, table.lanes, profile=profile, batch_bytes=batch_bytes, where=piece.where
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


async def _silence_triggers(connection: AsyncConnection, table: TableName) -> list[str]:
    """
    Disable the table's own triggers for this transaction and return the statements that bring each back as it was.

    They would rewrite or add to rows that must arrive as they are (an ``updated_at``, an audit trail). An owner may do
    this to ordinary triggers; those of constraints stay (PostgreSQL, "ALTER TABLE": DISABLE TRIGGER).
    """
    found = (await connection.execute(text(_TRIGGERS), {"table": table.quoted})).all()
    back = []
    for name, enabled in found:
        quoted = quote_postgres(name)
        await connection.exec_driver_sql(f"ALTER TABLE {table.quoted} DISABLE TRIGGER {quoted}")
        how = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}[enabled]
        back.append(f"ALTER TABLE {table.quoted} {how} TRIGGER {quoted}")
    return back


_TRIGGERS = """
SELECT tgname, tgenabled::text FROM pg_trigger
WHERE tgrelid = CAST(:table AS regclass) AND NOT tgisinternal AND tgenabled <> 'D' ORDER BY tgname
"""
