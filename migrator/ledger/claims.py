"""
Records which migration a target table belongs to. A migration never loads or empties the table of another migration.

A table is claimed before its first key is parked. So two jobs that begin at the same time can't both use it.
"""

from collections.abc import Collection, Mapping, Sequence
from shlex import quote

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog import inventory
from migrator.catalog.inventory import Catalog
from migrator.errors import TargetRefused
from migrator.ledger.migration import Migration
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName

_SHOWN = 5
"""The number of tables that a message names."""


async def claim(run: RunLedger, tables: Collection[TableName]) -> None:
    """
    Claim the tables for this migration.

    Its claims on tables that it no longer plans, and that it has never begun to copy, are given up. Raises
    TargetRefused if one of the tables belongs to another migration; then no table is claimed. Raises GaveUp if another
    run has taken over.
    """
    ordered = sorted(tables)  # otherwise two jobs that claim the same tables could deadlock
    bound = {"migration": run.migration.name, **_names(ordered)}
    async with run.transaction() as connection:
        await connection.execute(text(_CLAIM), bound)
        refuse_those_of_others(await of_others(connection, run.migration, ordered))
        await connection.execute(text(_GIVE_UP), bound)


async def of_others(
    connection: AsyncConnection, migration: Migration, tables: Sequence[TableName] | None = None
) -> dict[TableName, str]:
    """Return the tables of other migrations, each with its migration's name. ``tables`` limits the search, if given."""
    bound = {"migration": migration.name, "all": tables is None, **_names(tables or ())}
    lines = await connection.execute(text(_OF_OTHERS), bound)
    return {TableName(row.schema_name, row.table_name): row.migration for row in lines}


def refuse_those_of_others(found: dict[TableName, str]) -> None:
    """Raise TargetRefused if ``found``, the result of ``of_others``, is not empty."""
    if not found:
        return
    listed = [f"{table} (of {owner!r})" for table, owner in sorted(found.items())]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    owner = min(found.values())
    raise TargetRefused(
        f"tables of the target belong to another migration: {', '.join(listed[:_SHOWN])}{more}",
        next_step="Fill a schema of its own (--target-schema), leave these tables out (--exclude), or take the other "
        f"migration back with `migrator reset --migration {quote(owner)}`.",
        tables={str(table): other for table, other in found.items()},
    )


async def release(connection: AsyncConnection, migration: Migration) -> None:
    """Give up all tables that the migration has claimed."""
    await connection.execute(
        text("DELETE FROM migrator.claims WHERE migration = :migration"), {"migration": migration.name}
    )


def _names(tables: Collection[TableName]) -> dict[str, list[str]]:
    return {"schemas": [table.schema for table in tables], "names": [table.name for table in tables]}


_TABLES = "unnest(CAST(:schemas AS text[]), CAST(:names AS text[])) AS t (schema_name, table_name)"

_CLAIM = f"""
INSERT INTO migrator.claims (migration, schema_name, table_name)
SELECT CAST(:migration AS text), t.schema_name, t.table_name FROM {_TABLES}
ON CONFLICT DO NOTHING
"""

# A line about rows counts too: earlier versions wrote such lines, but no claims.
_OF_OTHERS = f"""
SELECT DISTINCT ON (o.schema_name, o.table_name) o.schema_name, o.table_name, o.migration
FROM (
    SELECT schema_name, table_name, migration FROM migrator.claims
    UNION SELECT schema_name, table_name, migration FROM migrator.tables
    UNION SELECT schema_name, table_name, migration FROM migrator.chunks
    UNION SELECT schema_name, table_name, migration FROM migrator.parked
    WHERE restored_at IS NULL AND kind <> 'foreign key'
) o
WHERE o.migration <> :migration
  AND (CAST(:all AS boolean) OR (o.schema_name, o.table_name) IN (SELECT t.schema_name, t.table_name FROM {_TABLES}))
ORDER BY o.schema_name, o.table_name, o.migration
"""

_GIVE_UP = f"""
DELETE FROM migrator.claims c
WHERE c.migration = :migration
  AND NOT EXISTS (SELECT FROM {_TABLES} WHERE (t.schema_name, t.table_name) = (c.schema_name, c.table_name))
  AND NOT EXISTS (
      SELECT FROM (
          SELECT migration, schema_name, table_name FROM migrator.tables
          UNION ALL SELECT migration, schema_name, table_name FROM migrator.chunks
          UNION ALL SELECT migration, schema_name, table_name FROM migrator.parked WHERE restored_at IS NULL
      ) l
      WHERE (l.migration, l.schema_name, l.table_name) = (c.migration, c.schema_name, c.table_name))
"""


async def taken_by_others(connection: AsyncConnection, migration: Migration) -> Catalog:
    """Return the foreign keys that other migrations have parked, as definitions by their names in the catalog."""
    lines = await connection.execute(text(_TAKEN), {"migration": migration.name})
    return {row.name: row.definition for row in lines if row.definition is not None}


async def changes(
    connection: AsyncConnection, migration: Migration, before: Mapping[str, str], after: Mapping[str, str]
) -> list[str]:
    """
    Return one description for each change between ``before`` and ``after``, except changes of other migrations.

    Both mappings come from ``inventory.describe``. If other migrations work in the same schema, new tables are not
    reported: a new table may belong to one of these migrations, although it isn't claimed yet.
    """
    others = await of_others(connection, migration)
    parked = set((await connection.execute(text(_TAKEN), {"migration": migration.name})).scalars())
    if not others and not parked and await _is_alone(connection, migration):
        return inventory.changes(before, after)
    foreign = await inventory.about(connection, {**before, **after}, others)
    own = {name: line for name, line in before.items() if name not in foreign and name not in parked}
    known = {name.removeprefix("table ") for name in own if name.startswith("table ")}
    return inventory.changes(
        own,
        {
            name: line
            for name, line in after.items()
            if name in own or (name not in foreign and inventory.is_about_one_of(name, known))
        },
    )


async def _is_alone(connection: AsyncConnection, migration: Migration) -> bool:
    return not await connection.scalar(text(_OTHERS_THERE), {"migration": migration.name})


_OTHERS_THERE = """
SELECT EXISTS (
    SELECT FROM migrator.migrations m JOIN migrator.migrations own ON own.name = :migration
    WHERE m.name <> own.name AND m.target_schema = own.target_schema)
"""

# The name that ``inventory.describe`` gives to a constraint. One ALTER TABLE statement restores a foreign key.
_TAKEN = """
SELECT k.name, s.value ->> k.name AS definition
FROM migrator.parked p
CROSS JOIN LATERAL (
    SELECT 'constraint ' || quote_ident(p.name) || ' of ' || to_regclass(format('%I.%I', p.schema_name, p.table_name))
) k (name)
LEFT JOIN migrator.state s ON s.migration = p.migration AND s.name = 'catalog'
WHERE p.migration <> :migration AND p.restored_at IS NULL AND p.kind = 'foreign key'
"""
