"""Finds out what was changed since the migration, table by table: by digests first, by rows where these differ."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from migrator.concurrency.blocking import BlockingConnection, blocking_pool
from migrator.concurrency.pool import gather_or_cancel
from migrator.planning.plan import TablePlan
from migrator.preflight.checker import measured
from migrator.preflight.table_check import TableCheck
from migrator.rollback.changes import StagedTable, stage_changes, unchanged
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import read_only_connection
from migrator.source.database import Source
from migrator.stages.context import StageContext
from migrator.verification.compare_table import CompareContext, TableResult, compare, digests, equal_digest
from migrator.verification.comparison import Comparison, Databases


@dataclass(frozen=True, slots=True)
class _Comparing:
    context: CompareContext
    checks: dict[str, TableCheck]
    batch_bytes: int

    def comparison(self, table: TablePlan) -> Comparison:
        size = self.checks[str(table.name)].table_size
        return Comparison(table.source, table.target, table.pairs, size, self.batch_bytes)


@asynccontextmanager
async def _comparing(context: StageContext, source: Source, address: TargetAddress) -> AsyncIterator[_Comparing]:
    """Open sessions of both sides, and measure the source's tables."""
    limits = context.limits
    async with (
        blocking_pool(limits.jobs, partial(BlockingConnection, source.session)) as sessions,
        blocking_pool(limits.jobs, partial(read_only_connection, address)) as readers,
    ):
        checks = await measured(sessions, context.plan.tables, limits)
        options = context.example_options
        comparing = CompareContext(
            source, address, readers, sessions, options, lambda _difference: None, context.tracker
        )
        yield _Comparing(comparing, {str(name): check for name, check in checks.items()}, limits.batch_bytes)


async def changes_since(context: StageContext, address: TargetAddress, scratch: Path) -> list[StagedTable]:
    """
    Return the changes of every planned table, whose rows are staged in the new database ``scratch``.

    ``address`` is the target's, with the snapshot that all sessions see. Raises SourceUnreadable, and the errors of
    reading the target.
    """
    await asyncio.to_thread(scratch.write_bytes, b"")  # without the tables of a try that lost its connection
    one_writer = asyncio.Lock()  # SQLite has one writer at a time

    async def changes(comparing: _Comparing, table: TablePlan, number: int) -> StagedTable:
        comparison, chunks = comparing.comparison(table), comparing.checks[str(table.name)].chunks
        if equal := await equal_digest(comparing.context, comparison, chunks, None):
            return unchanged(table, equal.digest.rows)
        of_source, of_target = await digests(comparing.context, comparison, chunks)
        buckets = of_source.differing(of_target)
        if not buckets:
            return unchanged(table, of_source.rows)
        databases, into = Databases(context.source, address), (scratch, str(number))
        async with one_writer:
            return await asyncio.to_thread(stage_changes, databases, table, comparison, buckets, into)

    async with _comparing(context, context.source, address) as comparing:
        return await gather_or_cancel(
            changes(comparing, table, number) for number, table in enumerate(context.plan.tables)
        )


async def compare_new_file(context: StageContext, address: TargetAddress, path: Path) -> list[TableResult]:
    """Compare every value of the new file at ``path`` with PostgreSQL's, and return each table's result."""
    source = context.source.beside(path)
    try:
        async with _comparing(context, source, address) as comparing:
            return await gather_or_cancel(
                compare(comparing.context, comparing.comparison(table), comparing.checks[str(table.name)].chunks, None)
                for table in context.plan.tables
            )
    finally:
        await source.close()
