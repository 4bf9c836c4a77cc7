"""Stage ``analyze``: fresh statistics for every filled table, for the plans of the application's first queries."""

from migrator.plan import Plan
from migrator.target import Target


async def analyze(target: Target, plan: Plan) -> None:
    """Run ANALYZE on each planned table."""
    async with target.autocommit() as connection:
        for table in plan.tables:
            await connection.exec_driver_sql(f"ANALYZE {table.name.quoted}")
