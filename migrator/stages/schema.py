"""
Stage ``schema`` makes the target's tables: as the application makes them, or after the source's own tables.

When the source is stamped with a revision of the application's Alembic project, the target is brought to that same
revision: rows meet the tables they were written for. Stage ``upgrade`` goes on to the newest afterwards.
"""

from sqlalchemy import text

from migrator.catalog import inventory
from migrator.catalog.row_security import refuse_forced
from migrator.ledger import claims, loads, registry, state
from migrator.ledger import parked as ledger_parked
from migrator.ledger.loads import seeds_in
from migrator.ledger.run_ledger import RunLedger
from migrator.schema.alembic import alembic_project, upgrade_to_source
from migrator.schema.command import run_schema_command
from migrator.schema.options import SchemaOptions
from migrator.source.database import Source
from migrator.source.schema import SourceDatabase


async def schema(source: Source, contents: SourceDatabase, options: SchemaOptions, run: RunLedger) -> tuple[str, ...]:
    """
    Make the target's tables in the way that ``options.mode`` names, and return what is worth knowing of it.

    Into a schema that had no tables, migrations may put rows of their own; the ledger learns how many, so that they
    can give way to the source's. Raises ConfigurationError and TargetRefused; what the migrations raise passes through.
    Raises GaveUp if another run has taken over.
    """
    notes: tuple[str, ...] = ()
    empty = await _began_empty(run, options.target_schema)
    match options.mode:
        case "alembic":
            await upgrade_to_source(contents, run.target, alembic_project(options.alembic_config))
        case "command":
            await run_schema_command(run.target, options.command)
            await run.target.discard_pooled()
        case "create":
            notes = await _by_source(source, contents, options, run)
    if empty:
        await _remember_seeded(run, options.target_schema)
    await _remember_catalog(run, options.target_schema)
    return notes


async def _by_source(
    source: Source, contents: SourceDatabase, options: SchemaOptions, run: RunLedger
) -> tuple[str, ...]:
    """
    Make tables after the source's where there are none yet, and return what they do without, a line each.

    Raises TargetRefused for what they would be without and nobody has named, and for tables of another migration.
    """
    from migrator.schema.create import ddl_of_source, make_tables  # noqa: PLC0415 - not loaded where nobody asks for it

    wanted = await ddl_of_source(options, source, contents, run.target)
    async with run.target.connect() as connection:
        claims.refuse_those_of_others(await claims.of_others(connection, run.migration, list(wanted.tables)))
    return tuple(f"WARNING: {one.line()}" for one in await make_tables(run, wanted, options.rules))


async def _began_empty(run: RunLedger, wanted: str | None) -> bool:
    """
    Return whether the schema had no tables when this migration began, but those of others, and remember it.

    The ledger keeps the first answer: a later run must not mistake the tables of an earlier one for somebody's.
    """
    async with run.target.transaction() as connection:
        known = await state.recall(connection, run.migration, "began_empty")
        if known is None:
            others = [table.quoted for table in await claims.of_others(connection, run.migration)]
            known = not await connection.scalar(text(_ANY_TABLE), {"schema": wanted, "others": others})
            await state.remember(connection, run.migration, "began_empty", known)
    return bool(known)


async def _remember_seeded(run: RunLedger, wanted: str | None) -> None:
    """Write down, once, which rows the migrations put into a schema that was empty."""
    async with run.transaction() as connection:
        if await state.recall(connection, run.migration, "seeded"):
            return
        schema_name = await run.target.schema_of_application(connection, wanted)
        tables = (await run.target.describe(connection, schema_name)).tables
        await refuse_forced(connection, [table.name for table in tables])
        others = await claims.of_others(connection, run.migration)
        seeds = await seeds_in(connection, [table.name for table in tables if table.name not in others])
        await loads.write_seeded(connection, run.migration, seeds)
        await state.remember(connection, run.migration, "seeded", value=True)


async def _remember_catalog(run: RunLedger, wanted: str | None) -> None:
    """Write down how keys, indexes and the rest are, for verification; of what is still parked, how it was."""
    async with run.transaction() as connection:
        known = await state.recall(connection, run.migration, "catalog") or {}
        parked = await ledger_parked.still_parked(connection, run.migration)
        theirs = await claims.taken_by_others(connection, run.migration)
        schema_name = await run.target.schema_of_application(connection, wanted)
        now = await inventory.describe(connection, schema_name)
        kept = await inventory.of_tables(connection, known, {entry.table for entry in parked})
        await registry.settle_schema(connection, run.migration, schema_name)
        await state.remember(connection, run.migration, "catalog", theirs | kept | now)


_ANY_TABLE = """
SELECT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname = coalesce(:schema, current_schema())
      AND c.oid NOT IN (
          SELECT to_regclass(name) FROM unnest(CAST(:others AS text[])) AS name WHERE to_regclass(name) IS NOT NULL)
      AND NOT EXISTS (
          SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
)
"""
