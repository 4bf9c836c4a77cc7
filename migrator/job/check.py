"""
Runs ``migrator check``, which tells whether every value of the source can be carried into the target.

It writes nothing that lasts and takes no lock.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from migrator.catalog.keys import Keys
from migrator.config.settings import Settings
from migrator.errors import (
    ConfigurationError,
    MigratorError,
    MissingPrivilege,
    NoMatch,
    SourceChanged,
    Stopped,
    TargetRefused,
    in_one,
)
from migrator.findings.supposed import Supposed
from migrator.findings.written_rules import RulesFile
from migrator.job import resumption
from migrator.job.context import (
    example_options_of,
    key_file_of,
    limits_of,
    open_databases,
    open_source,
    rules_of,
    runner_of,
    schema_options_of,
    wait_for,
)
from migrator.job.plan import (
    begun_tables,
    describe_target,
    intact,
    other_versions,
    reading_of,
    refuse_money,
    refuse_nothing,
    stray_sequences,
    tables_to_read,
    tell_skipped,
    tell_unfilled,
    unfilled_columns,
)
from migrator.job.source_changes import Reading
from migrator.ledger import claims, registry, schema, takeover
from migrator.ledger.history import identity_of
from migrator.ledger.loads import known_rows
from migrator.ledger.migration import Migration
from migrator.monitoring.tracker import Tracker
from migrator.planning.matching import make_plan
from migrator.planning.plan import Plan
from migrator.preflight.checker import CheckContext, check_source, check_tables
from migrator.preflight.existing_rows import RowComparison, occupied_tables, refuse_not_owned
from migrator.preflight.refusal import InTheWay, refusal_of_all
from migrator.preflight.source_only import SCHEMA
from migrator.preflight.table_check import table_notices_of
from migrator.reports.check_report import CheckReport
from migrator.runtime.settlement import NOTHING_TO_PASTE
from migrator.selection.selected_plan import Selecting, select_to_look
from migrator.source.database import Source
from migrator.source.schema import SourceDatabase
from migrator.target.database import Target
from migrator.target.schema import TargetTable
from migrator.trials.unmade import Unmade


async def check(settings: Settings, tracker: Tracker) -> CheckReport:
    """
    Check every value of the source, as preflight does, against the target as it is. Writes nothing and takes no lock.

    With ``settings.source_only`` only the source is checked. Returns the report with all findings and, as its
    ``failure``, the error that ``run`` would raise. Raises ConfigurationError if neither ``source_only`` nor a target
    is set, and NoMatch, which also says what else stands in the way. Writes ``settings.write_rules`` in either case.
    """
    rules_file = RulesFile.of(settings.write_rules, settings.rules)
    try:
        report = await _check(settings, tracker)
    except NoMatch as error:
        refused = await with_what_follows(settings, error)
        rules_file.write(refused)
        raise refused from error
    except MigratorError as error:
        rules_file.write(error)
        raise
    rules_file.write(report.failure)
    return report


async def with_what_follows(settings: Settings, error: NoMatch) -> MigratorError:
    """
    Return an error about tables and columns without a match, together with all that the next run would refuse.

    The next run is supposed to have what the error prints: flags, rules, and defaults of the target's columns. If no
    table has a match, the error is returned as it is: nobody knows yet what the next run carries.
    """
    supposed, told = Supposed(), [error]
    with TemporaryDirectory(prefix="migrator-") as folder:
        while supposed.add(told[-1]):
            try:
                rules = supposed.rules(settings.rules, Path(folder) / "migrator.toml")
                update = supposed.changes(settings.exclude, rules)
                following = await _check(settings.model_copy(update=update), Tracker(), supposed.filled)
            except NoMatch as other:
                if str(other) in map(str, told):
                    break
                told.append(other)  # tables that have a match by now may have columns that have none
            except (MigratorError, OSError, ValueError) as other:
                if isinstance(other, Stopped):
                    raise
                break  # it may need more than a look, and the next run says so
            else:
                return in_one((*_settled(told, supposed, settings), following.failure)) or error
    return in_one(_settled(told, supposed, settings)) or error


def _settled(told: list[NoMatch], supposed: Supposed, settings: Settings) -> list[NoMatch]:
    """Return the errors; the first of them has what settles all."""
    own = sum((error.settlement for error in told), NOTHING_TO_PASTE)
    for error in told:
        error.settled_with(NOTHING_TO_PASTE)
    told[0].settled_with(supposed.settlement(own, settings.exclude))
    return told


async def _check(settings: Settings, tracker: Tracker, filled: Collection[str] = ()) -> CheckReport:
    """Check; the columns of the target in ``filled``, as ``schema.table.column``, are supposed to have a default."""
    if settings.source_only:
        return await _check_alone(settings, tracker)
    if not settings.has_target:
        raise ConfigurationError(
            "no target is set, and check looks at both ends",
            next_step="Set MIGRATOR_TARGET_URL (or MIGRATOR_TARGET_URL_FILE), or POSTGRES_HOST and its companions; "
            "or give --source-only (MIGRATOR_SOURCE_ONLY) to have the source alone looked at.",
        )
    async with open_databases(settings) as (source, target):
        runner = runner_of(settings, target, tracker)
        await runner("wait", lambda: wait_for(target, settings, tracker, to_write=False))
        migration = await runner.retry("migration", lambda: migration_of(target, settings))
        begun = await runner.retry("migration", lambda: begun_tables(target, migration))
        reading = await reading_of(settings, source, begun)
        contents = reading.contents
        refuse_nothing(settings, source, contents)
        unmade = await runner("schema", lambda: _unmade(settings, source, contents, target, migration))
        plan = await runner.retry("plan", lambda: _plan(settings, contents, target, unmade, filled))
        await runner.retry("plan", lambda: refuse_money(target, plan))
        selecting = Selecting(source, plan, reading.rules, unmade.keys, key_file_of(settings))
        plan = await runner.retry("orphans", lambda: select_to_look(selecting, target, migration))
        tell_skipped(plan)
        existing = replace(
            plan,
            tables=tuple(table for table in plan.tables if table.name not in unmade.statements),
            floors={} if unmade.statements else plan.floors,  # those of tables that the job has yet to make don't exist
        )
        notes = await runner.retry("sequences", lambda: stray_sequences(target, existing))
        notes += tell_unfilled(await runner.retry("triggers", lambda: unfilled_columns(target, existing)))
        notes += await runner.retry("versions", lambda: _other_versions(settings, source, contents, target))
        claim_refusal = await runner.retry("claims", lambda: _taken(target, migration, plan))
        source_refusal = await runner.retry("claims", lambda: _other_source(target, migration, settings, reading))
        known = await runner.retry("history", lambda: known_rows(target, migration))
        pending = [table for table in plan.tables if table.name not in {*known.loaded, *unmade.statements}]
        refuse_not_owned(pending)
        # A role that only reads may look at a migration that has nothing left to carry.
        carries = bool(pending or unmade.statements)
        ledger_refusal = await runner.retry("ledger", lambda: _ledger_refusal(target)) if carries else None
        occupied = await runner.retry("occupied", lambda: occupied_tables(target, pending, known))
        example_options, made_by_job = example_options_of(settings), settings.schema_mode == "create"
        table_checks = await runner(
            "preflight",
            lambda: check_tables(
                CheckContext(source, target, plan, limits_of(settings), example_options, tracker, made_by_job),
                partial(intact, source, tables_to_read(settings, contents), tracker),
                unmade,
            ),
        )
        findings = [finding for table_check in table_checks for finding in table_check.findings]
        sizes = {table_check.table_size.table: table_check.table_size for table_check in table_checks}
        comparison = RowComparison(source, target, settings.batch_bytes, example_options)
        values_refused = any(finding.refuses for finding in findings)
        existing_rows = await runner.retry(
            "existing rows",
            lambda: comparison.unexpected_rows(occupied, sizes, known.begun, values_refused=values_refused),
        )
        unmade_keys = {name: unmade.keys.get(name, Keys()) for name in unmade.statements}
        others = (ledger_refusal, claim_refusal, source_refusal)
        found = InTheWay(table_checks, existing_rows, settings.kept_limit, settings.untried, others, unmade_keys)
        failure = await runner.retry("refusal", lambda: refusal_of_all(source, target, plan, found))
    selections = {str(table.name): table.source.selection for table in plan.tables}
    report = CheckReport(tuple(table_checks), tuple(findings), plan.skipped, failure, notes=notes)
    table_notices = tuple(table_notices_of(plan, table_checks))
    return replace(report, selections=selections, existing=tuple(existing_rows), table_notices=table_notices)


async def _unmade(
    settings: Settings, source: Source, contents: SourceDatabase, target: Target, migration: Migration
) -> Unmade:
    """
    Return the tables that the job itself would make in the target; none unless ``settings.schema_mode`` is "create".

    Raises the errors that ``run`` would raise before it makes them.
    """
    if settings.schema_mode != "create":
        return Unmade()
    from migrator.schema.create import ddl_of_source, due_of, look_ahead  # noqa: PLC0415 - loaded only where it is used

    options = schema_options_of(settings)
    ddl = await ddl_of_source(options, source, contents, target)
    async with target.connect() as connection:
        due = await due_of(connection, target, migration, ddl)
    return await look_ahead(target, ddl, due, options.rules)


async def _plan(
    settings: Settings, contents: SourceDatabase, target: Target, unmade: Unmade, filled: Collection[str]
) -> Plan:
    """Return the plan; raises NoMatch, whose message says if the application's code would make the missing tables."""
    existing = await describe_target(target, settings)
    tables = (
        *(_with_defaults(table, filled) for table in existing.tables if table.name not in unmade.statements),
        *unmade.tables,
    )
    try:
        return make_plan(contents, replace(existing, tables=tables), rules_of(settings))
    except NoMatch as error:
        if settings.schema_mode not in {"alembic", "command"} or "schema_mode" not in settings.model_fields_set:
            raise
        raise NoMatch(
            f"{error}; --schema {settings.schema_mode} would make them, and what tables don't exist yet could not be "
            "looked at",
            next_step="Bring the target's schema up to date with the application's own migrations, and check again.",
            **error.facts,
        ) from error


def _with_defaults(table: TargetTable, filled: Collection[str]) -> TargetTable:
    columns = [
        replace(column, has_default=column.has_default or f"{table.name}.{column.name}" in filled)
        for column in table.columns
    ]
    return replace(table, columns=tuple(columns)) if filled else table


async def _check_alone(settings: Settings, tracker: Tracker) -> CheckReport:
    async with open_source(settings) as source:
        contents = (await reading_of(settings, source)).contents
        refuse_nothing(settings, source, contents)
        table_checks = await runner_of(settings, None, tracker)(
            "preflight", lambda: check_source(source, contents.tables, limits_of(settings), tracker)
        )
    findings = tuple(finding for table_check in table_checks for finding in table_check.findings)
    selections = {f"{SCHEMA}.{table.name}": table.selection for table in contents.tables}
    return CheckReport(tuple(table_checks), findings, contents.skipped, against_target=False, selections=selections)


async def migration_of(target: Target, settings: Settings) -> Migration:
    """Return the migration that the settings select, whether or not the ledger knows it."""
    async with target.connect() as connection:
        known = await registry.chosen(connection, settings.wanted)
        return known or await registry.of_run(connection, settings.wanted)


async def _ledger_refusal(target: Target) -> MigratorError | None:
    """Return the error that ``run`` would raise if the role can't keep a ledger, or None."""
    async with target.connect() as connection:
        try:
            await schema.check_privileges(connection)
        except MissingPrivilege as error:
            return error
    return None


async def _taken(target: Target, migration: Migration, plan: Plan) -> MigratorError | None:
    """Return the error that ``run`` would raise for tables that belong to other migrations, or None."""
    async with target.connect() as connection:
        if not await schema.exists(connection) or await takeover.is_unnamed(connection):
            return None  # a ledger without names of migrations knows only one migration
        try:
            claims.refuse_those_of_others(
                await claims.of_others(connection, migration, [table.name for table in plan.tables])
            )
        except TargetRefused as error:
            return error
    return None


async def _other_versions(
    settings: Settings, source: Source, contents: SourceDatabase, target: Target
) -> tuple[str, ...]:
    """Return the warnings about versions that ``run`` would give, as far as the application's tables exist."""
    unmade = settings.schema_mode in {"alembic", "command"}
    return await other_versions(settings, source, contents, target, unmade=unmade)


async def _other_source(
    target: Target, migration: Migration, settings: Settings, reading: Reading
) -> MigratorError | None:
    """Return the error that ``run`` would raise if settings or source are not those of earlier runs, or None."""
    origin = await identity_of(settings.source_path.absolute(), reading.source)
    async with target.connect() as connection:
        if not await schema.exists(connection):
            return None
        try:
            await resumption.look(connection, migration, reading, origin, settings.target_schema)
        except (SourceChanged, TargetRefused) as error:
            return error
    return None
