"""Stage ``analyze`` gathers statistics of every filled table, for the plans of the application's first queries."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.concurrency.pool import WorkerPool
from migrator.concurrency.replay_queue import ReplayQueue
from migrator.names import TableName
from migrator.planning.grouping import MAX_GROUP_TABLES
from migrator.stages.context import StageContext
from migrator.target.database import Target


async def analyze(
    context: StageContext, ready: ReplayQueue[TableName], jobs: int, unchanged: Collection[TableName] = ()
) -> None:
    """
    Run ANALYZE on each table of ``ready``, in ``jobs`` sessions. Tables that arrive together share a statement.

    The statistics of ``unchanged`` tables are left as they are.
    """
    tracker = context.tracker
    expected = [table.name for table in context.plan.tables if table.name not in unchanged]
    tracker.expect("analyze", {str(name): 1 for name in expected}, unit="tables")

    async def analyze_group(workers: WorkerPool[AsyncConnection], tables: Sequence[TableName]) -> None:
        async with workers.worker() as connection:
            for table in tables:
                tracker.begin_table("analyze", str(table))
            await connection.exec_driver_sql(f"ANALYZE {', '.join(table.quoted for table in tables)}")
            for table in tables:
                tracker.finish_table("analyze", str(table))

    async with WorkerPool(jobs, partial(_session, context.target)) as workers, asyncio.TaskGroup() as group:
        async for arrived in ready.batches():
            tables = [name for name in arrived if name not in unchanged]
            parts = max(jobs, -(-len(tables) // MAX_GROUP_TABLES))
            for part in range(min(parts, len(tables))):
                group.create_task(analyze_group(workers, tables[part::parts]))


@asynccontextmanager
async def _session(target: Target) -> AsyncIterator[AsyncConnection]:
    """
    Open a session whose commits don't wait for the disk. It is closed afterwards, so nobody else gets it.

    ANALYZE commits for each table. The next commit that waits, at the latest the one that completes the migration,
    writes these to the disk, too.
    """
    async with target.autocommit() as connection:
        await connection.exec_driver_sql("SET synchronous_commit = off")
        yield connection
