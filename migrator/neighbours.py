"""
Other migrations into the same schema: what they have there is no difference of this one's.

Their tables come and go while this one compares, and of its own tables a foreign key to one of theirs may be away.
"""

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator import claims
from migrator.catalog import inventory
from migrator.catalog.inventory import Catalog
from migrator.migration import Migration


async def taken_by_others(connection: AsyncConnection, migration: Migration) -> Catalog:
    """Return how the foreign keys were that other migrations have taken away, as the catalog calls them."""
    found = await connection.execute(text(_TAKEN), {"migration": migration.name})
    return {row.name: row.definition for row in found if row.definition is not None}


async def changes(
    connection: AsyncConnection, migration: Migration, before: Mapping[str, str], after: Mapping[str, str]
) -> list[str]:
    """
    Return in words what has changed of what is this migration's, or nobody's.

    To be called after ``catalog.describe``. Where others work in the schema, a table that is new may be theirs although
    they haven't claimed it yet.
    """
    others = await claims.of_others(connection, migration)
    taken = set((await connection.execute(text(_TAKEN), {"migration": migration.name})).scalars())
    if not others and not taken and await _is_alone(connection, migration):
        return inventory.changes(before, after)
    theirs = await inventory.about(connection, {**before, **after}, others)
    own = {name: line for name, line in before.items() if name not in theirs and name not in taken}
    known = {name.removeprefix("table ") for name in own if name.startswith("table ")}
    return inventory.changes(
        own,
        {
            name: line
            for name, line in after.items()
            if name in own or (name not in theirs and inventory.is_about_one_of(name, known))
        },
    )


async def _is_alone(connection: AsyncConnection, migration: Migration) -> bool:
    return not await connection.scalar(text(_OTHERS_THERE), {"migration": migration.name})


_OTHERS_THERE = """
SELECT EXISTS (
    SELECT FROM migrator.migrations m JOIN migrator.migrations own ON own.name = :migration
    WHERE m.name <> own.name AND m.target_schema = own.target_schema)
"""

# The name that ``catalog.describe`` gives a constraint. A key comes back by its one ALTER TABLE statement.
_TAKEN = """
SELECT k.name, s.value ->> k.name AS definition
FROM migrator.parked p
CROSS JOIN LATERAL (
    SELECT 'constraint ' || quote_ident(p.name) || ' of ' || to_regclass(format('%I.%I', p.schema_name, p.table_name))
) k (name)
LEFT JOIN migrator.state s ON s.migration = p.migration AND s.name = 'catalog'
WHERE p.migration <> :migration AND p.restored_at IS NULL AND p.kind = 'foreign key'
"""
