"""
Stage ``schema`` makes the target's tables, either by the application's own code or from the source's tables.

If the source is stamped with a revision of the application's Alembic project, the target is upgraded to that same
revision, because the source's rows were written for its tables. Stage ``upgrade`` upgrades to the newest one later.
"""

from sqlalchemy import text

from migrator.catalog import inventory
from migrator.catalog.row_security import refuse_forced
from migrator.ledger import claims, loads, registry, state
from migrator.ledger import parked as ledger_parked
from migrator.ledger.loads import seeds_in
from migrator.ledger.run_ledger import RunLedger
from migrator.schema.command import run_schema_command
from migrator.schema.options import SchemaOptions
from migrator.source.database import Source
from migrator.source.schema import SourceDatabase


async def schema(source: Source, contents: SourceDatabase, options: SchemaOptions, run: RunLedger) -> tuple[str, ...]:
    """
    Make the target's tables in the way that ``options.mode`` names, and return notes for the report.

    The application's migrations may put seeded rows into a schema that had no tables. The ledger records how many, so
    that the source's rows can replace them. Raises ConfigurationError and TargetRefused; errors of the application's
    migrations pass through. Raises GaveUp if another run has taken over.
    """
    notes: tuple[str, ...] = ()
    empty = await _began_empty(run, options.target_schema)
    match options.mode:
        case "alembic":
            from migrator.schema.alembic import alembic_project, upgrade_to_source  # noqa: PLC0415 - as `create`

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
    Make the source's tables that the target doesn't have yet, and return a line for everything that is left out.

    Raises TargetRefused for a constraint or index that can't be carried and that the operator has not named, and for
    tables of another migration.
    """
    from migrator.schema.create import ddl_of_source, make_tables  # noqa: PLC0415 - loaded only where it is used

    ddl = await ddl_of_source(options, source, contents, run.target)
    async with run.target.connect() as connection:
        claims.refuse_those_of_others(await claims.of_others(connection, run.migration, list(ddl.tables)))
    return tuple(f"WARNING: {omission.line()}" for omission in await make_tables(run, ddl, options.rules))


async def _began_empty(run: RunLedger, requested: str | None) -> bool:
    """
    Return whether the schema had no tables, except those of other migrations, when this migration began.

    The ledger keeps the first answer: a later run must not mistake an earlier run's tables for another owner's.
    """
    async with run.target.transaction() as connection:
        known = await state.recall(connection, run.migration, "began_empty")
        if known is None:
            others = [table.quoted for table in await claims.of_others(connection, run.migration)]
            known = not await connection.scalar(text(_ANY_TABLE), {"schema": requested, "others": others})
            await state.remember(connection, run.migration, "began_empty", known)
    return bool(known)


async def _remember_seeded(run: RunLedger, requested: str | None) -> None:
    """Write into the ledger, once, how many seeded rows each table has in a schema that was empty."""
    async with run.transaction() as connection:
        if await state.recall(connection, run.migration, "seeded"):
            return
        schema_name = await run.target.schema_of_application(connection, requested)
        tables = (await run.target.describe(connection, schema_name)).tables
        await refuse_forced(connection, [table.name for table in tables])
        others = await claims.of_others(connection, run.migration)
        seeds = await seeds_in(connection, [table.name for table in tables if table.name not in others])
        await loads.write_seeded(connection, run.migration, seeds)
        await state.remember(connection, run.migration, "seeded", value=True)


async def _remember_catalog(run: RunLedger, requested: str | None) -> None:
    """Write the definitions of keys, indexes and the rest into the ledger, for verification; parked ones as before."""
    async with run.transaction() as connection:
        known = await state.recall(connection, run.migration, "catalog") or {}
        parked = await ledger_parked.still_parked(connection, run.migration)
        others = await claims.taken_by_others(connection, run.migration)
        schema_name = await run.target.schema_of_application(connection, requested)
        present = await inventory.describe(connection, schema_name)
        kept = await inventory.of_tables(connection, known, {entry.table for entry in parked})
        await registry.settle_schema(connection, run.migration, schema_name)
        await state.remember(connection, run.migration, "catalog", others | kept | present)


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
