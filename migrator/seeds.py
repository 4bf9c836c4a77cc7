"""
Rows that the schema's own migrations put into tables: they give way to the source's while nobody has touched them.

Between two runs an application may start, and edit the account that it was seeded with. Then the row is its own.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.loads import Seed
from migrator.names import TableName
from migrator.target.database import own_rows, row_counts
from migrator.target.glances import glance
from migrator.target.lock_room import lock_room


async def seeds_in(connection: AsyncConnection, tables: Sequence[TableName]) -> dict[TableName, Seed]:
    """Return what those of the tables hold that hold anything. Reads their rows."""
    counts = await row_counts(connection, tables)
    named = await own_rows(connection, list(counts))
    seeds: dict[TableName, Seed] = {}
    for names in (await lock_room(connection, list(counts))).few(list(counts)):
        async with glance(connection):
            seeds |= {name: Seed(counts[name], await _content(connection, named[name])) for name in names}
    return seeds


async def untouched(connection: AsyncConnection, seeds: Mapping[TableName, Seed]) -> dict[TableName, int]:
    """Return the rows of those tables that hold what they were seeded with, and nothing else."""
    now = await seeds_in(connection, [name for name, seed in seeds.items() if seed.content is not None])
    return {name: seed.rows for name, seed in now.items() if seed == seeds[name]}


async def _content(connection: AsyncConnection, rows: str) -> str:
    # A sum, since it doesn't depend on the order of rows. The seed of the hash is spelled as what it is: a function of
    # the application's by the same name, which takes an int, would be the better match for a plain 0.
    found = await connection.exec_driver_sql(
        "SELECT coalesce(pg_catalog.sum(pg_catalog.hashtextextended(CAST(ROW(one.*) AS text), CAST(0 AS bigint))), 0)"
        f"::text FROM {rows} AS one"
    )
    return str(found.scalar())
