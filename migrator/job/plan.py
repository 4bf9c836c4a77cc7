"""Describes both databases and matches their tables under the operator's rules."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from migrator.catalog import sequences
from migrator.catalog.filling_triggers import UnfilledByTrigger, unfilled_by_triggers
from migrator.catalog.money import refuse_other_money
from migrator.config.settings import Settings
from migrator.errors import ConfigurationError, SourceError
from migrator.events import Event
from migrator.job.context import rules_of
from migrator.ledger import carried, loads, schema, takeover
from migrator.ledger.loads import CopiedTable
from migrator.ledger.migration import Migration
from migrator.monitoring.tracker import Tracker
from migrator.names import TableName
from migrator.planning.matching import make_plan
from migrator.planning.plan import Plan
from migrator.planning.sequence_floors import sequence_floors
from migrator.planning.skipped import with_bookkeeping
from migrator.preflight.version_tables import differing_versions
from migrator.selection.conditions import carried_rows
from migrator.source.database import Source
from migrator.source.integrity import check_intact
from migrator.source.schema import SourceDatabase
from migrator.target.database import Target
from migrator.target.schema import TargetDatabase

if TYPE_CHECKING:
    from migrator.job.source_changes import Reading

log = structlog.get_logger()


async def contents_of(settings: Settings, source: Source, begun: Collection[str] = ()) -> SourceDatabase:
    """
    Return the source's tables, among them the bookkeeping tables that are carried.

    Source and target each keep their own bookkeeping, unless the job itself makes the tables (``--schema create``).
    Then the target has none, and without it the application's next upgrade would run all migrations again. ``begun``
    are the source's tables that earlier runs have begun to copy; these go on.
    """
    rules = rules_of(settings)
    creates = settings.schema_mode == "create"
    described = await source.describe()
    return with_bookkeeping(described, lambda table: creates or table in begun or rules.carries(table))


async def begun_tables(target: Target, migration: Migration) -> frozenset[str]:
    """Return the names of the source's tables that the migration has begun to copy."""
    async with target.connect() as connection:
        if not await schema.exists(connection) or await takeover.is_unnamed(connection):
            return frozenset()
        return frozenset(table.terms.source for table in (await carried.read(connection, migration)).values())


async def other_versions(
    settings: Settings, source: Source, contents: SourceDatabase, target: Target, *, unmade: bool = False
) -> tuple[str, ...]:
    """
    Return a warning for each bookkeeping table whose versions differ from those of the target.

    With ``unmade`` the application's code has yet to make the tables: a target without versions is as it should be.
    """
    rules = rules_of(settings)
    compared = replace(
        contents, bookkeeping=tuple(table for table in contents.bookkeeping if not rules.of_table(table.name).exclude)
    )
    if not compared.bookkeeping:
        return ()
    differing = await differing_versions(source, compared, target, await describe_target(target, settings))
    return tuple(f"WARNING: {entry.line()}" for entry in differing if not (unmade and entry.target_has_none))


def refuse_nothing(settings: Settings, source: Source, contents: SourceDatabase) -> None:
    """
    Raise if there is no table to carry: otherwise the job would report success without a single value.

    Raises SourceError if the source has no tables, and ConfigurationError if the operator excludes all its tables.
    """
    path = str(source.path)
    if not contents.tables:
        others = ", ".join(f"{skipped.name} ({skipped.reason})" for skipped in contents.skipped)
        raise SourceError(
            f"source {path!r} holds no table that could be carried" + (f", only {others}" if others else ""),
            next_step="Name the database file that the application writes to.",
            source=path,
        )
    rules = rules_of(settings)
    if all(rules.of_table(table.name).exclude for table in contents.tables):
        raise ConfigurationError(
            f"all {len(contents.tables)} tables of the source {path!r} are excluded, so nothing is left to carry",
            next_step="Take a table out of MIGRATOR_EXCLUDE, or out of the exclusions in MIGRATOR_RULES.",
            source=path,
        )


async def reading_of(settings: Settings, source: Source, begun: Collection[str] = ()) -> "Reading":
    """
    Describe the source, and select the rows that the rules carry.

    ``begun`` are the source's tables that earlier runs have begun to copy (``begun_tables``). Raises ConfigurationError
    for a rule ``where`` or ``at_least`` that can't be used, and SourceUnreadable.
    """
    # Loads DuckDB, which `status` and a run with nothing left to do don't need.
    from migrator.job.source_changes import Reading  # noqa: PLC0415

    rules = rules_of(settings)
    contents = await carried_rows(source, await contents_of(settings, source, begun), rules)
    await sequence_floors(source, {name: rule.at_least for name, rule in rules.sequences.items()})
    log.debug(Event.SOURCE_OPENED, path=str(settings.source_path), **await source.facts())
    return Reading(source, contents, rules, settings.jobs, settings.batch_bytes)


async def plan_of(settings: Settings, contents: SourceDatabase, target: Target) -> Plan:
    """Match both databases' tables under the rules; raises their errors, and those of ``make_plan``."""
    plan = make_plan(contents, await describe_target(target, settings), rules_of(settings))
    await refuse_money(target, plan)
    await refuse_unknown_sequences(target, plan)
    return plan


async def refuse_money(target: Target, plan: Plan) -> None:
    """Raise TargetRefused if planned columns would hold other amounts than the source."""
    columns = {table.name: [column.target.name for column in table.compared] for table in plan.tables}
    await refuse_other_money(target, columns)


async def refuse_unknown_sequences(target: Target, plan: Plan) -> None:
    """Raise ConfigurationError for a rule about a sequence that doesn't exist."""
    rules = plan.sequence_rules
    if rules.assigned or rules.floors:
        async with target.connect() as connection:
            await sequences.refuse_unknown(connection, rules.assigned)
            await sequences.floored_sequences(connection, rules.schema, rules.floors)


async def stray_sequences(target: Target, plan: Plan) -> tuple[str, ...]:
    """Return a warning about the sequences that can't be attributed: the rules for them, and the statements."""
    strays = await _strays(target, plan)
    lines = [*sequences.stray_lines(strays), *sequences.stray_rule_lines(strays)]
    return ("WARNING: " + "\n".join(lines),) if lines else ()


async def tell_stray_sequences(target: Target, plan: Plan) -> None:
    """Log the sequences that can't be attributed, with the rules for them, while rules still have an effect."""
    strays = await _strays(target, plan)
    if strays:
        log.warning(
            Event.SEQUENCES_UNKNOWN,
            sequences=[stray.sequence for stray in strays],
            rules="\n".join(sequences.stray_rules(strays)),
            next_step="Find out whether the application uses them. If so, stop this run and write the rules with the "
            "right columns into the rules file (`migrator check` prints them line by line); or run the statements that "
            "the report gives at the end, before the application starts.",
        )


async def _strays(target: Target, plan: Plan) -> Sequence[sequences.Stray]:
    async with target.connect() as connection:
        tables = [table.name for table in plan.tables]
        return (await sequences.feeds_of(connection, tables, plan.sequence_rules)).strays


async def describe_target(target: Target, settings: Settings) -> TargetDatabase:
    """Return the tables of the application's schema."""
    async with target.connect() as connection:
        name = await target.schema_of_application(connection, settings.target_schema)
        return await target.describe(connection, name)


async def intact(source: Source, tables: Collection[str], tracker: Tracker) -> None:
    """Check the file's own structure; raises SourceUnreadable if it is damaged where one of the ``tables`` is."""
    with tracker.stage("source check", is_step=True):
        await check_intact(source, tables)


def tables_to_read(settings: Settings, contents: SourceDatabase) -> list[str]:
    """Return the names of the source's tables that are not excluded."""
    rules = rules_of(settings)
    return [table.name for table in contents.tables if not rules.of_table(table.name).exclude]


async def unfilled_columns(target: Target, plan: Plan) -> tuple[UnfilledByTrigger, ...]:
    """Return the target's columns that stay empty because the triggers that fill them don't fire during the load."""
    columns = {}
    for table in plan.tables:
        filled = {column.target.name for column in table.compared}
        columns[table.name] = [
            column.name
            for column in table.target.columns
            if column.name not in filled and not column.generated and not column.trigger and not column.identity
        ]
    async with target.connect() as connection:
        return tuple(await unfilled_by_triggers(connection, columns))


def tell_unfilled(columns: Sequence[UnfilledByTrigger]) -> tuple[str, ...]:
    """Log each column that stays empty, and return a warning about each for the report."""
    for column in columns:
        log.warning(
            Event.COLUMN_UNFILLED,
            table=str(column.table),
            column=column.column,
            reason=column.reason,
            next_step=column.next_step,
        )
    return tuple(f"WARNING: {column.line()}" for column in columns)


def tell_skipped(plan: Plan) -> None:
    """Log each table that is not copied, in one line each."""
    for skipped in plan.skipped:
        tell = log.info if skipped.rows == 0 else log.warning
        tell(Event.TABLE_SKIPPED, table=skipped.name, reason=skipped.reason)


async def copied_of(target: Target, migration: Migration) -> Mapping[TableName, CopiedTable]:
    """Return the ledger's lines of the tables that the migration has filled; none if there is no ledger."""
    async with target.connect() as connection:
        return await loads.copied(connection, migration) if await schema.exists(connection) else {}
