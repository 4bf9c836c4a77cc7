"""
Finds tables whose rows the server has lost: UNLOGGED ones, which PostgreSQL empties when it recovers from a crash.

The ledger is logged, and says still that their rows were brought. So they are looked at wherever success is told
(PostgreSQL, "CREATE TABLE", UNLOGGED).
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import GaveUp
from migrator.ledger import loads
from migrator.ledger.migration import Migration
from migrator.names import TableName
from migrator.target.database import Target


async def emptied(connection: AsyncConnection, migration: Migration, *, unlogged: bool = True) -> dict[TableName, int]:
    """
    Return the tables that hold nothing of the rows that were brought, with how many those were; no table is read.

    With ``unlogged`` those alone that a crash can have emptied; a partition counts as its table.
    """
    filled = {name: one.rows for name, one in (await loads.loaded(connection, migration)).items() if one.rows}
    names = list(filled)
    if not names:
        return {}
    found = await connection.execute(text(_EMPTY), {"names": [name.quoted for name in names], "unlogged": unlogged})
    return {names[row.place - 1]: filled[names[row.place - 1]] for row in found}


async def refuse_emptied(target: Target, migration: Migration) -> None:
    """Raise GaveUp if the server has crashed since rows were brought, and has emptied UNLOGGED tables."""
    async with target.connect() as connection:
        found = await emptied(connection, migration)
    if found:
        listed = ", ".join(f"{name} ({rows} rows)" for name, rows in sorted(found.items()))
        raise GaveUp(
            f"the server has lost the rows of tables that are UNLOGGED, as it does in a crash: {listed}",
            next_step="Run the job again; it copies the rows of these tables again.",
            tables={str(name): rows for name, rows in found.items()},
        )


# An empty file is what a crash leaves, and what TRUNCATE does; a table whose rows were deleted has pages still.
_EMPTY = """
SELECT place FROM (
    SELECT place, CAST(to_regclass(name) AS oid) AS oid
    FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS given(name, place)
) given
JOIN LATERAL (
    SELECT c.oid, c.relpersistence FROM pg_class c WHERE c.oid = given.oid AND c.relkind = 'r'
    UNION ALL
    SELECT c.oid, c.relpersistence FROM pg_partition_tree(given.oid) t JOIN pg_class c ON c.oid = t.relid
    WHERE t.isleaf AND t.level > 0
) part ON true
GROUP BY place
HAVING sum(pg_relation_size(part.oid)) = 0 AND (NOT :unlogged OR bool_or(part.relpersistence = 'u'))
ORDER BY place
"""
