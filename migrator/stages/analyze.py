"""Stage ``analyze``: fresh statistics for every filled table, for the plans of the application's first queries."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.crew import Crew
from migrator.handover import Handover
from migrator.names import TableName
from migrator.target import Target


async def analyze(target: Target, ready: Handover[TableName], jobs: int) -> None:
    """Run ANALYZE on each table as it comes, ``jobs`` at a time."""

    async def look_at(crew: Crew[AsyncConnection], table: TableName) -> None:
        async with crew.hand() as connection:
            await connection.exec_driver_sql(f"ANALYZE {table.quoted}")

    async with Crew(jobs, target.autocommit) as crew, asyncio.TaskGroup() as group:
        async for table in ready:
            group.create_task(look_at(crew, table))
