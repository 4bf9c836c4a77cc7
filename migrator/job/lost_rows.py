"""
Finds tables whose rows the server has lost: PostgreSQL empties UNLOGGED tables when it recovers from a crash.

The ledger's own tables are logged, so the ledger still says that the rows were copied. Therefore these tables are
checked wherever the job reports success (PostgreSQL, "CREATE TABLE", UNLOGGED).
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
    Return the loaded tables that are empty now, each with the number of rows that were copied. Reads no table.

    With ``unlogged`` only tables that a crash can have emptied are returned. A partition counts as part of its
    partitioned table.
    """
    filled = {name: table.rows for name, table in (await loads.loaded(connection, migration)).items() if table.rows}
    names = list(filled)
    if not names:
        return {}
    result = await connection.execute(text(_EMPTY), {"names": [name.quoted for name in names], "unlogged": unlogged})
    return {names[row.place - 1]: filled[names[row.place - 1]] for row in result}


async def refuse_emptied(target: Target, migration: Migration) -> None:
    """Raise GaveUp if a crash of the server has emptied UNLOGGED tables since their rows were copied."""
    async with target.connect() as connection:
        lost = await emptied(connection, migration)
    if lost:
        listed = ", ".join(f"{name} ({rows} rows)" for name, rows in sorted(lost.items()))
        raise GaveUp(
            f"the server has lost the rows of tables that are UNLOGGED, as it does in a crash: {listed}",
            next_step="Run the job again; it copies the rows of these tables again.",
            tables={str(name): rows for name, rows in lost.items()},
        )


# A crash and TRUNCATE leave an empty file; a table whose rows were deleted still has pages.
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
