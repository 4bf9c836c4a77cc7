"""Stage ``analyze``: fresh statistics for every filled table, for the plans of the application's first queries."""

from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.crew import share_out
from migrator.plan import Plan, TablePlan
from migrator.target import Target


async def analyze(target: Target, plan: Plan, jobs: int) -> None:
    """Run ANALYZE on each planned table, ``jobs`` at a time."""

    async def look_at(connection: AsyncConnection, table: TablePlan) -> None:
        await connection.exec_driver_sql(f"ANALYZE {table.name.quoted}")

    await share_out(plan.tables, jobs, target.autocommit, look_at)
