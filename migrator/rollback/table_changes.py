"""Finds out what was changed since the migration, table by table: by digests first, by rows where these differ."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct

from migrator.concurrency.blocking import BlockingConnection, blocking_pool
from migrator.concurrency.pool import gather_or_cancel
from migrator.planning.plan import TablePlan
from migrator.preflight.checker import measured
from migrator.preflight.table_check import TableCheck
from migrator.rollback.changes import StagedTable, stage_changes, unchanged
from migrator.rollback.scratch import Scratch, empty, refuse_without_room, telling_a_full_disk
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import read_only_connection
from migrator.source.chunks import Chunk
from migrator.source.database import Source
from migrator.stages.context import StageContext
from migrator.verification.compare_table import CompareContext, TableResult, compare, equal_digest
from migrator.verification.comparison import Comparison, Databases


class _Comparing(Struct, frozen=True):
    context: CompareContext
    checks: dict[str, TableCheck]
    batch_bytes: int

    def comparison(self, table: TablePlan) -> Comparison:
        size = self.checks[str(table.name)].table_size
        return Comparison(table.source, table.target, table.pairs, size, self.batch_bytes)

    def chunks(self, table: TablePlan) -> Sequence[Chunk]:
        return self.checks[str(table.name)].chunks


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
    Return the changes of every planned table, whose rows are staged in databases in the folder ``scratch``.

    ``address`` is the target's, with the snapshot that all sessions see. Raises ConfigurationError without room
    there, SourceUnreadable, and the errors of reading the target.
    """
    with telling_a_full_disk(scratch):
        await asyncio.to_thread(empty, scratch, context.source.path)

    async def equal(comparing: _Comparing, table: TablePlan) -> int | None:
        found = await equal_digest(comparing.context, comparing.comparison(table), comparing.chunks(table), None)
        return found.digest.rows if found else None

    async with _comparing(context, context.source, address) as comparing:
        largest = max((check.table_size.rows for check in comparing.checks.values()), default=0)
        refuse_without_room(scratch, largest)
        rows = await gather_or_cancel(equal(comparing, table) for table in context.plan.tables)
    changes: list[StagedTable] = []
    # One after the other, when the sessions above are closed: each takes as much memory as all of these.
    for number, (table, equal_rows) in enumerate(zip(context.plan.tables, rows, strict=True)):
        own, comparison = Scratch(scratch, str(number)), comparing.comparison(table)
        if equal_rows is not None:
            changes.append(unchanged(table, own, equal_rows))
            continue
        databases = Databases(context.source, address)
        with telling_a_full_disk(scratch):
            changes.append(await asyncio.to_thread(stage_changes, databases, table, comparison, own))
    return changes


async def compare_new_file(context: StageContext, address: TargetAddress, path: Path) -> list[TableResult]:
    """Compare every value of the new file at ``path`` with PostgreSQL's, and return each table's result."""
    source = context.source.beside(path)
    try:
        async with _comparing(context, source, address) as comparing:
            return await gather_or_cancel(
                compare(comparing.context, comparing.comparison(table), comparing.chunks(table), None)
                for table in context.plan.tables
            )
    finally:
        await source.close()
