"""Sends the rows of one chunk: ``copy_data → prefetch → copy_in``."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import asyncpg
from msgspec import Struct

from migrator.concurrency.prefetch import prefetch
from migrator.copying import check_violations
from migrator.copying.copy_stream import copy_data
from migrator.copying.table_load import CopyContext, CopyWorker, TableLoad
from migrator.ledger.loads import CopyStats
from migrator.source.chunks import Chunk
from migrator.target.copy_in import CopyTarget, copy_in


class ChunkData(Struct, frozen=True):
    """A chunk and its COPY data, each part with its number of rows."""

    chunk: Chunk
    parts: AsyncIterator[tuple[int, bytes]]
    freeze: bool = False
    """Whether COPY marks the rows as visible to all (FREEZE)."""


class _SentBytes:
    """Counts the bytes of one chunk that have been sent."""

    count = 0


async def copy_chunk(context: CopyContext, worker: CopyWorker, load: TableLoad, data: ChunkData) -> CopyStats:
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


async def _counted(context: CopyContext, load: TableLoad, data: ChunkData, sent: _SentBytes) -> AsyncIterator[bytes]:
    count = context.tracker.counter("copy", str(load.name))
    async for rows, part in data.parts:
        sent.count += len(part)
        yield part
        if rows:
            count(rows, len(part))


def read_chunk(
    context: CopyContext, worker: CopyWorker, load: TableLoad, chunk: Chunk
) -> AsyncIterator[tuple[int, bytes]]:
    """Return a chunk's COPY data, read and encoded in a thread while earlier parts are sent."""

    def read() -> Iterator[tuple[int, bytes]]:
        with worker.reading.borrow() as session:
            yield from copy_data(session, load.table, load.table_size, chunk, context.limits.batch_bytes)

    return prefetch(read())
