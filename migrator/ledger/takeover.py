"""
Brings a ledger of an earlier version up to date: such a ledger knows one migration, which has no name.

The first transaction that writes to the ledger does this. Until then the ledger can be read as it is.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import TargetRefused
from migrator.names import quote_literal, quote_postgres

_KEYS = {
    "tables": "schema_name, table_name",
    "chunks": "schema_name, table_name, position",
    "seeded": "schema_name, table_name",
    "state": "name",
}
"""Tables whose primary key begins with the migration, with the columns that follow it in the key."""


async def is_unnamed(connection: AsyncConnection) -> bool:
    """Return whether there is a ledger, and an earlier version made it, which knew only one migration."""
    return bool(await connection.scalar(text(_IS_UNNAMED)))


async def schema_of_unnamed(connection: AsyncConnection) -> str:
    """
    Return the schema that the lines of such a ledger name. The migration gets the schema's name.

    Raises TargetRefused if the lines name several schemas, because the ledger doesn't tell which of them is complete.
    """
    schemas = (await connection.execute(text(_SCHEMAS))).scalars().all()
    if len(schemas) > 1:
        raise TargetRefused(
            f"the ledger was made by an earlier version, and its lines are about several schemas: {', '.join(schemas)}",
            next_step="Run `migrator reset` of the version that made it, which empties the tables of all these "
            "schemas, then DROP SCHEMA migrator CASCADE, and migrate each schema with --target-schema.",
            schemas=list(schemas),
        )
    return schemas[0] if schemas else str(await connection.scalar(text(_NAMED_OR_CURRENT)))


async def take_over(connection: AsyncConnection) -> None:
    """Add the migration's name to every line of the ledger. Raises TargetRefused as ``schema_of_unnamed`` does."""
    schema = await schema_of_unnamed(connection)
    name = quote_literal(schema)
    for table in (*_KEYS, "runs", "parked"):
        lines = f"migrator.{quote_postgres(table)}"
        await connection.exec_driver_sql(f"ALTER TABLE {lines} ADD COLUMN migration text NOT NULL DEFAULT {name}")
        await connection.exec_driver_sql(f"ALTER TABLE {lines} ALTER COLUMN migration DROP DEFAULT")
        if table in _KEYS:
            await connection.exec_driver_sql(
                f"ALTER TABLE {lines} DROP CONSTRAINT {table}_pkey, ADD PRIMARY KEY (migration, {_KEYS[table]})"
            )
    await connection.exec_driver_sql("ALTER TABLE migrator.seeded ADD COLUMN content text")
    await connection.exec_driver_sql(_MIGRATIONS)
    await connection.exec_driver_sql(_CLAIMS)
    await connection.exec_driver_sql(
        "ALTER TABLE migrator.claims ALTER migration SET NOT NULL, ADD PRIMARY KEY (schema_name, table_name)"
    )
    await connection.execute(text(_ITS_LINE), {"schema": schema})


async def let_readers_read(connection: AsyncConnection) -> None:
    """Let every role that may read the ledger's table ``state`` read its other tables too."""
    await connection.exec_driver_sql(_LET_READERS_READ_ALL)


_IS_UNNAMED = """
SELECT to_regclass('migrator.state') IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = to_regclass('migrator.state') AND attname = 'migration')
"""

# Parked foreign keys don't count: they may belong to tables of other schemas that refer to the migration's tables.
_SCHEMAS = """
SELECT schema_name FROM migrator.tables UNION SELECT schema_name FROM migrator.chunks
UNION SELECT schema_name FROM migrator.seeded
UNION SELECT schema_name FROM migrator.parked WHERE kind <> 'foreign key'
ORDER BY 1
"""

_NAMED_OR_CURRENT = """
SELECT coalesce((SELECT settings ->> 'target_schema' FROM migrator.runs ORDER BY started_at DESC LIMIT 1),
                current_schema(), 'public')
"""

_MIGRATIONS = """
CREATE TABLE migrator.migrations (
    name text PRIMARY KEY,
    target_schema text NOT NULL,
    source jsonb,
    version text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""

_CLAIMS = """
CREATE TABLE migrator.claims AS
SELECT schema_name, table_name, migration FROM migrator.tables
UNION SELECT schema_name, table_name, migration FROM migrator.chunks
UNION SELECT schema_name, table_name, migration FROM migrator.parked WHERE restored_at IS NULL AND kind <> 'foreign key'
"""

_ITS_LINE = """
INSERT INTO migrator.migrations (name, target_schema, version, created_at)
SELECT :schema, :schema, coalesce((SELECT version FROM migrator.runs ORDER BY started_at LIMIT 1), ''),
       coalesce((SELECT min(started_at) FROM migrator.runs), clock_timestamp())
"""

# Without this, a role that may read the ledger could not read a table that a newer version has added. Tables of kept
# rows hold the application's rows: the role that may read the ledger need not be one that may read these.
_LET_READERS_READ_ALL = """
DO $$
DECLARE reader text; lines regclass;
BEGIN
    FOR reader, lines IN
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, t.oid
        FROM pg_class s, aclexplode(s.relacl) a, pg_class t
        WHERE s.oid = 'migrator.state'::regclass AND a.privilege_type = 'SELECT' AND a.grantee <> s.relowner
          AND t.relnamespace = s.relnamespace AND t.relkind = 'r' AND pg_has_role(t.relowner, 'USAGE')
          AND t.relname NOT LIKE 'kept %'
          AND NOT EXISTS (SELECT FROM aclexplode(t.relacl) b
                          WHERE b.grantee = a.grantee AND b.privilege_type = 'SELECT')
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO %s', lines, reader);
    END LOOP;
END $$
"""
