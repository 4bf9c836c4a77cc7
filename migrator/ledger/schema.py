"""
Defines the ledger's tables, in the schema ``migrator`` of the target.

Each step is recorded in the transaction that does it, so the ledger is always true. The command ``status`` reads the
ledger, and the next run reads it to continue the work.
"""

from collections.abc import Iterator

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import ExecutableDDLElement

from migrator.errors import MissingPrivilege
from migrator.ledger import takeover
from migrator.ledger.migration import SETUP_LOCK_KEY
from migrator.names import LEDGER_SCHEMA, TableName, quote_postgres
from migrator.sessions.connections import execute_together

metadata = sa.MetaData(schema=LEDGER_SCHEMA)

now = sa.func.clock_timestamp()

_moment = TIMESTAMP(timezone=True)


def _of_one_table() -> Iterator[sa.Column[str]]:
    """Yield the columns that name a table of the target in a migration, which begin the key of the line."""
    for name in ("migration", "schema_name", "table_name"):
        yield sa.Column(name, sa.Text, primary_key=True)


migrations = sa.Table(
    "migrations",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("target_schema", sa.Text, nullable=False),
    sa.Column("source", JSONB, comment="path, size and schema of the file; null where an earlier version kept none"),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("created_at", _moment, nullable=False, server_default=now),
    comment="one line a migration; several live side by side in one database",
)

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("schema_name", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("migration", sa.Text, nullable=False),
    comment="which migration a table belongs to; one that another has is not taken",
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("migration", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("source", JSONB, nullable=False),
    sa.Column("settings", JSONB, nullable=False),
    sa.Column("started_at", _moment, nullable=False, server_default=now),
    sa.Column("ended_at", _moment),
    sa.Column("exit_code", sa.Integer, comment="null while the run goes on, or if it was killed"),
    sa.Column("message", sa.Text),
)

stages = sa.Table(
    "stages",
    metadata,
    sa.Column("run_id", sa.Uuid, sa.ForeignKey(runs.c.id), primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("started_at", _moment, nullable=False, server_default=now),
    sa.Column("ended_at", _moment),
)

tables = sa.Table(
    "tables",
    metadata,
    *_of_one_table(),
    sa.Column("run_id", sa.Uuid, sa.ForeignKey(runs.c.id), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("copied_at", _moment, nullable=False, server_default=now),
    sa.Column("digest", sa.Text),
    sa.Column("verified_at", _moment),
    comment="one line a table, committed together with its rows",
)

carried = sa.Table(
    "carried",
    metadata,
    *_of_one_table(),
    sa.Column("terms", JSONB, nullable=False, comment="the source's table, its columns, and the rules about these"),
    sa.Column("relation", sa.BigInteger, comment="the target table's oid; one made anew has another"),
    sa.Column("recipe", JSONB(none_as_null=True), comment="how the source's digest can be made again; null if unknown"),
    sa.Column("digest", sa.Text),
    sa.Column("rows", sa.BigInteger),
    comment="one line a table that was begun: by it a later run sees that the source or the settings have changed",
)

compared = sa.Table(
    "compared",
    metadata,
    *_of_one_table(),
    sa.Column("digest", sa.Text, nullable=False, comment="of the rows that both sides held"),
    sa.Column("buckets", sa.LargeBinary, nullable=False, comment="what the digest was made of"),
    sa.Column("definition", sa.Text, nullable=False, comment="hash of how the source's table was defined and stored"),
    sa.Column("shape", sa.Text, nullable=False, comment="hash of the target's table and its columns in the catalogs"),
    comment="one line a large table that was compared: by it a later refresh reads only what may have changed since",
)

compared_pages = sa.Table(
    "compared_pages",
    metadata,
    *_of_one_table(),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("entries", sa.LargeBinary, nullable=False, comment="numbers and hashes of the source's leaf pages"),
    comment="the pages of the source that held the rows of a compared table",
)

chunks = sa.Table(
    "chunks",
    metadata,
    *_of_one_table(),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("run_id", sa.Uuid, sa.ForeignKey(runs.c.id), nullable=False),
    sa.Column("after", sa.Text, comment="key of the row before its first, as SQL literals; null for the first chunk"),
    sa.Column("last", sa.Text, comment="key of its last row, as SQL literals; null for the last chunk of a table"),
    sa.Column("rows", sa.BigInteger, comment="null, like all that follows, while its rows aren't there"),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("seconds", sa.Double),
    sa.Column("transaction", sa.BigInteger, comment="which brought the rows: their xmin, with an epoch"),
    sa.Column("copied_at", _moment),
    comment="one line a chunk of a table, filled in together with its rows; a small table is one chunk",
)

seeded = sa.Table(
    "seeded",
    metadata,
    *_of_one_table(),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("content", sa.Text, comment="stands for all values of these rows"),
    comment="rows that the schema's own migrations put into a schema that was empty; they give way to the source's",
)

kept = sa.Table(
    "kept",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("migration", sa.Text, nullable=False),
    sa.Column("schema_name", sa.Text, nullable=False),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("run_id", sa.Uuid, sa.ForeignKey(runs.c.id), nullable=False),
    sa.Column("decision", sa.Text, nullable=False, comment="word of on_existing_rows"),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("kept_in", sa.Text, nullable=False, comment="table of this schema that holds the rows"),
    sa.Column("bring_back", sa.Text, nullable=False, comment="statement that inserts them again where no key is taken"),
    sa.Column("merged_in", sa.Text, comment="table of this schema with the rows that stay beside the source's"),
    sa.Column("merged_where", sa.Text, comment="condition on the table that is true for the source's rows alone"),
    sa.Column("kept_at", _moment, nullable=False, server_default=now),
    sa.Column("settled_at", _moment, comment="when the source's rows were all there, and equal ones were taken out"),
    comment="rows that were in a table before and gave way to the source's, a line a table, until `migrator forget`",
)

parked = sa.Table(
    "parked",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("migration", sa.Text, nullable=False),
    sa.Column("schema_name", sa.Text, nullable=False),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("statements", JSONB, nullable=False),
    sa.Column("restored_at", _moment),
    sa.Column("parked_at", _moment, nullable=False, server_default=now),
    comment="keys and indexes taken away for the load, with the statements that bring them back",
)

state = sa.Table(
    "state",
    metadata,
    sa.Column("migration", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", JSONB, nullable=False),
    sa.Column("written_at", _moment, nullable=False, server_default=now),
    comment="facts of a whole migration: began_empty, source, owner, completed, left_out, ready, rehearsed, refreshed",
)

failures = sa.Table(
    "failures",
    metadata,
    sa.Column("run_id", sa.Uuid, sa.ForeignKey(runs.c.id), primary_key=True),
    sa.Column("next_step", sa.Text, nullable=False),
    sa.Column("flags", JSONB, nullable=False, comment="flags for the next run, as a shell takes them"),
    sa.Column("rules", sa.Text, nullable=False, comment="lines for migrator.toml"),
    comment="what settles the failure of a run, for `migrator status`; the message is in runs",
)

progress = sa.Table(
    "progress",
    metadata,
    sa.Column("migration", sa.Text, primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, primary_key=True, comment="empty for the stage as a whole"),
    sa.Column("run_id", sa.Uuid, nullable=False),
    sa.Column("unit", sa.Text, nullable=False, comment="what is counted: rows, tables, keys, ..."),
    sa.Column("done", sa.BigInteger, nullable=False),
    sa.Column("of", sa.BigInteger, comment="null while it isn't known"),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("rate", sa.Double, comment="units a second; null while it isn't known"),
    sa.Column("seconds_left", sa.Double, comment="null while it isn't known"),
    sa.Column("waiting", sa.Text, comment="what the run waits for"),
    sa.Column("written_at", _moment, nullable=False, server_default=now),
    comment="what a run is doing, a line a stage and table in work; overwritten, and gone when the run has ended",
)

LEFT_OUT = "left_out"
"""The source tables that were excluded when the migration was completed."""

# Grants only if the privilege is missing: a second role that runs the job may have no right to grant.
_MAY_NOT_READ = sa.text(
    f"SELECT true FROM pg_roles WHERE rolname = :role AND NOT has_schema_privilege(oid, '{LEDGER_SCHEMA}', 'USAGE')"
)


class Taken(Struct, frozen=True):
    """A key or an index that is to be parked, with the statements that restore it."""

    table: TableName
    kind: str
    name: str
    statements: tuple[str, ...]


async def exists(connection: AsyncConnection) -> bool:
    """Return whether the database has a ledger."""
    return bool(await connection.scalar(sa.text("SELECT to_regclass('migrator.state') IS NOT NULL")))


async def holds(connection: AsyncConnection, table: sa.Table) -> bool:
    """Return whether the ledger has a table. A ledger of an earlier version may lack it until the next run."""
    return bool(await connection.scalar(sa.text("SELECT to_regclass(:name) IS NOT NULL"), {"name": table.fullname}))


async def create(connection: AsyncConnection, reader: str | None = None) -> None:
    """
    Create the ledger's schema and tables if they are missing, and let the role ``reader`` read them, if it exists.

    A ledger of an earlier version is brought up to date. Only one transaction at a time does this in a database, since
    the first runs of two migrations may begin at the same time. Raises TargetRefused as ``takeover.take_over`` does.
    """
    await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": SETUP_LOCK_KEY})
    if not await connection.scalar(sa.text("SELECT to_regnamespace('migrator') IS NOT NULL")):
        await connection.execute(sa.schema.CreateSchema(LEDGER_SCHEMA, if_not_exists=True))
    if await takeover.is_unnamed(connection):
        await takeover.take_over(connection)
    await _create_missing(connection)
    await takeover.let_readers_read(connection)
    if reader is not None and await connection.scalar(_MAY_NOT_READ, {"role": reader}):
        role = quote_postgres(reader)
        await connection.execute(sa.text(f"GRANT USAGE ON SCHEMA {LEDGER_SCHEMA} TO {role}"))
        # Not on all tables of the schema: those of kept rows hold the application's rows.
        listed = ", ".join(table.fullname for table in metadata.sorted_tables)
        await connection.execute(sa.text(f"GRANT SELECT ON {listed} TO {role}"))


async def _create_missing(connection: AsyncConnection) -> None:
    """Create the tables that are missing, with their comments, by one message in place of more than a hundred."""
    present = set((await connection.execute(text(_TABLES), {"schema": LEDGER_SCHEMA})).scalars())
    missing = [table for table in metadata.sorted_tables if table.name not in present]
    statements: list[str] = []

    def collect(ddl: ExecutableDDLElement, *_: object, **__: object) -> None:
        statements.append(str(ddl.compile(dialect=connection.dialect)))

    metadata.create_all(MockConnection(connection.dialect, collect), tables=missing, checkfirst=False)
    if statements:
        await execute_together(connection, statements)


_TABLES = "SELECT relname::text FROM pg_class WHERE relnamespace = CAST(:schema AS regnamespace)"


async def check_privileges(connection: AsyncConnection) -> None:
    """
    Raise MissingPrivilege if the role may neither use the ledger's schema nor create it. The error names the GRANT.

    It reads the catalogs and writes nothing. Preflight checks that the role owns the application's tables.
    """
    database, role, suffices = (await connection.execute(text(_PRIVILEGES), {"schema": LEDGER_SCHEMA})).one()
    if suffices:
        return
    role, database = quote_postgres(role), quote_postgres(database)
    raise MissingPrivilege(
        f"the role {role} may neither use nor create the schema {LEDGER_SCHEMA} in the database {database}, "
        "where the job keeps its ledger",
        next_step=f"Run GRANT CREATE ON DATABASE {database} TO {role}; "
        f"or run CREATE SCHEMA {LEDGER_SCHEMA} AUTHORIZATION {role}.",
    )


_PRIVILEGES = """
SELECT current_database()::text, current_user::text,
       coalesce(has_schema_privilege(n, 'CREATE') AND has_schema_privilege(n, 'USAGE'),
                has_database_privilege(current_database(), 'CREATE'))
FROM to_regnamespace(:schema) AS n
"""
