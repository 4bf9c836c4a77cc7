"""Finds the migrations that the ledger knows, and the migration that a command refers to."""

from collections.abc import Sequence
from shlex import quote

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import ConfigurationError, TargetRefused
from migrator.ledger import loads, takeover
from migrator.ledger import schema as ledger_schema
from migrator.ledger.migration import Migration, Wanted
from migrator.ledger.run_ledger import RunLedger
from migrator.target.database import Target


class Known(Struct, frozen=True):
    """A migration that the ledger knows."""

    migration: Migration
    target_schema: str

    @property
    def name(self) -> str:
        """The migration's name."""
        return self.migration.name


async def known(connection: AsyncConnection) -> list[Known]:
    """Return the migrations that the ledger knows. The list is empty if there is no ledger."""
    if not await ledger_schema.exists(connection):
        return []
    if await takeover.is_unnamed(connection):
        schema = await takeover.schema_of_unnamed(connection)
        return [Known(Migration(schema, unnamed=True), schema)]
    columns = ledger_schema.migrations.c
    rows = await connection.execute(sa.select(columns.name, columns.target_schema).order_by(columns.name))
    return [Known(Migration(row.name), row.target_schema) for row in rows]


async def of_run(connection: AsyncConnection, wanted: Wanted) -> Migration:
    """
    Return the migration that the command ``run`` begins or continues.

    Without a name in the settings, it is the migration that the ledger knows for the schema, or a new migration with
    the schema's name.
    """
    if wanted.name is not None:
        return Migration(wanted.name)
    schema = wanted.schema or await current_schema(connection) or "public"
    existing = _into(await known(connection), schema)
    return Migration(existing[0].name if len(existing) == 1 else schema)


async def chosen(connection: AsyncConnection, wanted: Wanted) -> Migration | None:
    """
    Return the migration that a command without a source refers to, or None if the ledger doesn't know it.

    A name in the settings decides. Without a name, the schema in the settings decides. Without a schema, it is the only
    migration in the ledger, or the migration into the first schema on the search_path. Raises ConfigurationError if
    several migrations remain.
    """
    candidates = await _candidates(connection, wanted)
    if len(candidates) > 1:
        raise ConfigurationError(
            f"the ledger knows several migrations: {', '.join(repr(candidate.name) for candidate in candidates)}",
            next_step="Name one of them with --migration NAME, or MIGRATOR_MIGRATION.",
            migrations=[candidate.name for candidate in candidates],
        )
    return candidates[0].migration if candidates else None


async def left_open(connection: AsyncConnection, wanted: Wanted) -> list[Known]:
    """Return the migrations that the settings may refer to, if there are several. Otherwise return an empty list."""
    candidates = await _candidates(connection, wanted)
    return candidates if len(candidates) > 1 else []


async def _candidates(connection: AsyncConnection, wanted: Wanted) -> list[Known]:
    """Return the migrations that the settings may refer to. If they name a migration, return only that migration."""
    existing = await known(connection)
    if wanted.name is not None:
        return [candidate for candidate in existing if candidate.name == wanted.name]
    if wanted.schema is not None:
        return _into(existing, wanted.schema)
    if len(existing) > 1:
        return _into(existing, await current_schema(connection)) or existing
    return existing


async def to_change(connection: AsyncConnection, wanted: Wanted) -> Migration:
    """
    Return the migration that ``repair`` or ``reset`` refers to.

    If the ledger knows no migration at all, there is nothing to change, and the name doesn't matter. Raises
    ConfigurationError if the ledger knows only other migrations, and in the cases in which ``chosen`` raises it.
    """
    migration = await chosen(connection, wanted)
    if migration is not None:
        return Migration(migration.name)  # a ledger without names gets them from the first transaction that writes
    if (message := await unknown(connection, wanted)) is not None:
        raise ConfigurationError(
            message,
            next_step="Name one of these with --migration NAME, or MIGRATOR_MIGRATION.",
        )
    return await of_run(connection, wanted)


async def unknown(connection: AsyncConnection, wanted: Wanted) -> str | None:
    """Return a message if the ledger knows migrations, but not the one in the settings. Return None otherwise."""
    existing = await known(connection)
    if not existing or await _candidates(connection, wanted):
        return None
    meant = repr(wanted.name) if wanted.name is not None else f"into the schema {wanted.schema!r}"
    return f"the ledger knows no migration {meant}, but {', '.join(repr(migration.name) for migration in existing)}"


async def adopt(target: Target) -> None:
    """
    Bring a ledger of an earlier version up to date, if there is one.

    It uses its own short transaction, which copies no rows, because other runs that begin meanwhile wait for it.
    """
    async with target.connect() as connection:
        unnamed = await takeover.is_unnamed(connection)
    if unnamed:
        async with target.transaction() as connection:
            await ledger_schema.create(connection)


def _into(existing: Sequence[Known], schema: str | None) -> list[Known]:
    """Return the migration that has the schema's name, or else all migrations that go into the schema."""
    same_name = [migration for migration in existing if migration.name == migration.target_schema == schema]
    return same_name or [migration for migration in existing if migration.target_schema == schema]


async def current_schema(connection: AsyncConnection) -> str | None:
    """Return the first schema on the search_path that exists."""
    schema: str | None = await connection.scalar(sa.text("SELECT current_schema()::text"))
    return schema


async def register(connection: AsyncConnection, run: RunLedger, schema: str, version: str) -> None:
    """Write the line of a migration if it has none. ``schema`` is the schema of its tables, as far as it is known."""
    line = {"name": run.migration.name, "target_schema": schema, "version": version}
    await connection.execute(insert(ledger_schema.migrations).values(line).on_conflict_do_nothing())


async def settle_schema(connection: AsyncConnection, migration: Migration, schema: str) -> None:
    """
    Write the schema that the migration goes into. Call it when the schema exists.

    Raises TargetRefused if the migration has copied rows into another schema.
    """
    columns = ledger_schema.migrations.c
    known = await connection.scalar(sa.select(columns.target_schema).where(columns.name == migration.name))
    if known == schema:
        return
    begun = {*await loads.begun(connection, migration), *await loads.copied(connection, migration)}
    if any(name.schema == known for name in begun):
        raise TargetRefused(
            f"the migration {migration.name!r} has copied rows into the schema {known!r}, and is now to go into "
            f"{schema!r}",
            next_step=f"Go on with --target-schema {quote(str(known))}, or give this one a name of its own with "
            f"--migration {quote(schema)} (MIGRATOR_MIGRATION).",
            migration=migration.name,
        )
    line = ledger_schema.migrations.update().where(columns.name == migration.name)
    await connection.execute(line.values(target_schema=schema))
