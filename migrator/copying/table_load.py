"""Describes a table that is to be loaded, and holds what the loads of all tables of one run have in common."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.concurrency.blocking import BlockingConnection
from migrator.concurrency.pool import WorkerPool
from migrator.ledger.carried import Terms
from migrator.ledger.loads import CopyProgress
from migrator.ledger.run_ledger import RunLedger
from migrator.monitoring.tracker import Tracker
from migrator.names import TableName
from migrator.planning.plan import TablePlan
from migrator.runtime.limits import Limits
from migrator.sessions.connections import is_open
from migrator.source.chunks import Chunk
from migrator.source.database import Source
from migrator.source.scan import ScanSession
from migrator.source.size import TableSize
from migrator.target.database import Target
from migrator.verification.digest import KnownDigest


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
