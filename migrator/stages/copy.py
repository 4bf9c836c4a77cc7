"""
Stage ``copy`` loads the source's rows into the target's tables.

This module decides which tables are loaded, their order and their groups; ``copying.table_loader`` loads them.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import structlog
from msgspec import Struct, field
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.concurrency.pool import gather_or_cancel
from migrator.concurrency.replay_queue import ReplayQueue
from migrator.copying.table_load import CopyContext, TableLoad, copy_workers
from migrator.copying.table_loader import load_tables
from migrator.events import Event
from migrator.ledger import kept, loads
from migrator.ledger.carried import Terms
from migrator.ledger.kept import KeptRows
from migrator.ledger.loads import Seed, untouched
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName
from migrator.planning.grouping import group_small_tables
from migrator.preflight.existing_rows import RowComparison
from migrator.preflight.giving_way import refusal_of, settling
from migrator.preflight.table_check import TableCheck
from migrator.runtime.limits import ExampleOptions
from migrator.source.chunks import WHOLE_TABLE
from migrator.stages.context import Overlap, StageContext
from migrator.target.lock_room import lock_room

log = structlog.get_logger()

NO_TERMS: Mapping[str, Terms] = MappingProxyType({})


async def copy(
    context: StageContext,
    ledger: RunLedger,
    checks: Mapping[TableName, TableCheck],
    overlap: Overlap,
    terms: Mapping[str, Terms] = NO_TERMS,
) -> None:
    """
    Fill every table in ``checks`` that the ledger doesn't have as copied, the largest first, as slots become free.

    A table of several chunks is loaded in one transaction for each chunk, at the same time. Of a table that an earlier
    run has begun, only the missing chunks are loaded. Small tables share a transaction of at most
    ``limits.chunk_bytes``. The ledger records the ``terms`` under which a table of the source was begun.
    ``overlap.copied`` gets every planned table when all its rows are in the target. Memory is bounded by the number of
    slots times a few ``limits.batch_bytes``, whatever the tables hold. After an error, finished transactions are
    committed with their ledger lines, and nothing else is. Raises, in an ExceptionGroup, SourceChanged, RowsInTheWay,
    and GaveUp if another run has taken over.
    """
    plan, limits = context.plan, context.limits
    async with context.target.connect() as connection:
        copied = await loads.copied(connection, ledger.migration)
        begun = await loads.begun(connection, ledger.migration)
        seeded = await loads.seeds(connection)
        unsettled = [entry for entry in await kept.kept_rows(connection, ledger.migration) if not entry.is_settled]
        room = await lock_room(connection, list(checks))
    pending = {
        table.name: TableLoad(table, check.table_size, check.chunks, check.known_digest, begun.get(table.name))
        for table in plan.tables
        if table.name not in copied and (check := checks.get(table.name))
    }
    context.tracker.expect(
        "copy",
        {str(name): load.table_size.rows for name, load in pending.items()},
        done={str(name): load.begun.brought.rows for name, load in pending.items() if load.begun},
    )
    for table in plan.tables:
        if table.name not in pending:
            await overlap.copied.add(table.name)
    existing = _ExistingRows(context, ledger, seeded, {entry.table for entry in unsettled})
    async with copy_workers(overlap.slots, context.source, context.target) as workers:
        loading = CopyContext(context.source, ledger, limits, terms, context.tracker, workers, existing)
        largest_first = sorted(pending.values(), key=lambda load: -load.table_size.weight)
        await gather_or_cancel(
            _fill(loading, [pending[name] for name in names], existing, overlap.copied)
            for group in group_small_tables(largest_first, TableLoad.size_if_whole, limits.chunk_bytes)
            for names in room.few([load.name for load in group], limits.jobs)
        )


async def _fill(
    loading: CopyContext, group: Sequence[TableLoad], existing: "_ExistingRows", done: ReplayQueue[TableName]
) -> None:
    """Load a table or a group of small tables, and add them to ``done``."""
    for load, stats in zip(group, await load_tables(loading, group), strict=True):
        loading.tracker.finish_table("copy", str(load.name))
        chunks = {} if load.chunks == (WHOLE_TABLE,) else {"chunks": len(load.chunks)}
        log.info(
            Event.TABLE_COPIED,
            table=str(load.name),
            rows=stats.rows,
            bytes=stats.bytes,
            seconds=round(stats.seconds, 3),
            **chunks,
        )
        if (entry := existing.settled.get(load.name)) and entry.rows:  # rows that stayed did not give way
            log.warning(Event.ROWS_KEPT, table=str(load.name), rows=entry.rows, kept_in=str(entry.kept_in))
        await done.add(load.name)


class _ExistingRows(Struct, frozen=True):
    """Keeps existing rows that may give way, and refuses others that are neither the source's nor seeded."""

    context: StageContext
    run: RunLedger
    seeded: Mapping[TableName, Seed]
    unsettled: set[TableName]
    """Tables whose rows are kept, also by an earlier run, and whose new rows aren't all there yet."""
    settled: dict[TableName, KeptRows] = field(default_factory=dict)

    async def make_way(self, connection: AsyncConnection, occupied: Sequence[tuple[TableLoad, int]]) -> None:
        """Keep rows of the ``occupied`` tables, or raise RowsInTheWay; see ``ExistingRows``."""
        context, names = self.context, [load.name for load, _ in occupied]
        seeded = await untouched(connection, {name: self.seeded[name] for name in names if name in self.seeded})
        options = ExampleOptions(count=1, mask_values=True)
        comparison = RowComparison(context.source, context.target, context.limits.batch_bytes, options)
        unknown = [(load, rows) for load, rows in occupied if rows != seeded.get(load.name)]
        existing = [
            await comparison.compare(load.table, rows, load.table_size)
            for load, rows in unknown
            if load.table.on_existing_rows == "refuse"
        ]
        found = [table for table in existing if table.unexpected]
        if found and (refused := refusal_of(found, settling(found))):
            raise refused
        for load, _ in unknown:
            if load.table.on_existing_rows != "refuse":
                await kept.keep(connection, self.run, load.name, load.table.on_existing_rows)
                self.unsettled.add(load.name)

    async def settle(self, connection: AsyncConnection, tables: Sequence[TableName]) -> None:
        """Take those kept rows out that the source holds, too; see ``ExistingRows``."""
        if waiting := [table for table in tables if table in self.unsettled]:
            self.settled.update({entry.table: entry for entry in await kept.settle(connection, self.run, waiting)})
