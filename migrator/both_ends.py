"""What moving and examining have in common: both ends paired, compared and reported on, as the settings say."""

import asyncio
from collections.abc import Mapping

import structlog

from migrator import ledger, loads, takeover
from migrator.catalog.money import refuse_other_money
from migrator.concurrency.replay_queue import Handover
from migrator.errors import ConfigurationError, SourceError
from migrator.events import Event
from migrator.loads import CopiedTable
from migrator.migration import Migration
from migrator.names import TableName
from migrator.plan import Plan, make_plan
from migrator.report import Report, TableLine
from migrator.rules import Rules
from migrator.run_ledger import RunLedger
from migrator.runtime.limits import Bounds, Showing
from migrator.runtime.progress import Progress
from migrator.runtime.stage_runner import Runner
from migrator.seeds import untouched
from migrator.settings import Settings
from migrator.source.database import Source
from migrator.source.schema import SourceDatabase
from migrator.stages.preflight import Allowed
from migrator.stages.verify import NOTHING_KNOWN
from migrator.stages.verify import verify as compare
from migrator.survey import Survey
from migrator.target.database import Target
from migrator.target.schema import TargetDatabase
from migrator.verdict import Verdict

log = structlog.get_logger()


def bounds_of(settings: Settings) -> Bounds:
    """Return how much is done and held at a time."""
    return Bounds(settings.jobs, settings.batch_bytes, settings.chunk_bytes)


def showing_of(settings: Settings) -> Showing:
    """Return how many values are shown, and whether they are masked."""
    return Showing(settings.examples, settings.mask_values)


def refuse_nothing(settings: Settings, source: Source, contents: SourceDatabase) -> None:
    """
    Raise if there is no table to carry: that every value arrived would be said of no value.

    SourceError if the source has none, ConfigurationError if the operator excludes all that it has.
    """
    path = str(source.path)
    if not contents.tables:
        others = ", ".join(f"{skipped.name} ({skipped.reason})" for skipped in contents.skipped)
        raise SourceError(
            f"source {path!r} holds no table that could be carried" + (f", only {others}" if others else ""),
            next_step="Name the database file that the application writes to.",
            source=path,
        )
    rules = Rules.load(settings.rules, settings.exclude)
    if all(rules.of_table(table.name).exclude for table in contents.tables):
        raise ConfigurationError(
            f"all {len(contents.tables)} tables of the source {path!r} are excluded, so nothing is left to carry",
            next_step="Take a table out of MIGRATOR_EXCLUDE, or out of the exclusions in MIGRATOR_RULES.",
            source=path,
        )


async def plan_of(settings: Settings, contents: SourceDatabase, target: Target) -> Plan:
    """Pair both ends under the operator's rules; raises what ``make_plan`` and ``refuse_money`` raise."""
    plan = make_plan(contents, await describe_target(target, settings), Rules.load(settings.rules, settings.exclude))
    await refuse_money(target, plan)
    return plan


async def refuse_money(target: Target, plan: Plan) -> None:
    """Raise TargetRefused if planned columns would hold other amounts than are brought."""
    columns = {table.name: [column.target.name for column in table.compared] for table in plan.tables}
    await refuse_other_money(target, columns)


async def describe_target(target: Target, settings: Settings) -> TargetDatabase:
    """Return the tables of the application's schema."""
    async with target.connect() as connection:
        name = await target.schema_of_application(connection, settings.target_schema)
        return await target.describe(connection, name)


def tables_to_read(settings: Settings, contents: SourceDatabase) -> list[str]:
    """Return the names of the source's tables that nobody has excluded."""
    rules = Rules.load(settings.rules, settings.exclude)
    return [table.name for table in contents.tables if not rules.of_table(table.name).exclude]


def tell_skipped(plan: Plan) -> None:
    """Log what is left out, a line each."""
    for skipped in plan.skipped:
        tell = log.info if skipped.rows == 0 else log.warning
        tell(Event.TABLE_SKIPPED, table=skipped.name, reason=skipped.reason)


async def known_rows(target: Target, migration: Migration) -> Allowed:
    """Return what the ledger knows to be in the target."""
    async with target.connect() as connection:
        if not await ledger.exists(connection):
            return Allowed(frozenset(), {})
        partial_rows = {
            name: so_far.brought.rows for name, so_far in (await loads.begun(connection, migration)).items()
        }
        if await takeover.is_unnamed(connection):
            seeded = {}  # an earlier version kept only their number; the rows are compared with the source's
        else:
            seeded = await untouched(connection, await loads.seeds(connection))
        return Allowed(frozenset(await loads.copied(connection, migration)), seeded | partial_rows)


async def compare_all(  # noqa: PLR0913, PLR0917 - both ends, the plan, and how to go about it
    settings: Settings,
    source: Source,
    target: Target,
    plan: Plan,
    progress: Progress,
    surveys: Mapping[TableName, Survey] = NOTHING_KNOWN,
    *,
    hands: asyncio.Semaphore | None = None,
    ready: Handover[TableName] | None = None,
    note: RunLedger | None = None,
) -> list[Verdict]:
    """Call verify with what the settings say; ``note`` is the run that may write of it."""
    return await compare(
        source,
        target,
        plan,
        bounds=bounds_of(settings),
        hands=hands,
        ready=ready,
        showing=showing_of(settings),
        progress=progress,
        surveys=surveys,
        file=settings.differences,
        note=note,
    )


async def copied_of(target: Target, migration: Migration) -> Mapping[TableName, CopiedTable]:
    """Return what the ledger knows of the tables that the migration has filled."""
    async with target.connect() as connection:
        return await loads.copied(connection, migration) if await ledger.exists(connection) else {}


def report_of(
    plan: Plan, verdicts: list[Verdict], copied: Mapping[TableName, CopiedTable], runner: Runner, headline: str
) -> Report:
    """Return the report on verified tables."""
    lines = tuple(
        TableLine(
            str(verdict.table),
            verdict.source.rows,
            verdict.target.rows,
            copied[verdict.table].bytes if verdict.table in copied else None,
            verified=verdict.equal,
            copy_seconds=round(copied[verdict.table].seconds, 3) if verdict.table in copied else None,
            verify_seconds=round(verdict.seconds, 3),
        )
        for verdict in verdicts
    )
    rows = sum(line.source_rows for line in lines)
    return Report(f"{headline} ({len(lines)} tables, {rows:,} rows)", lines, plan.skipped, tuple(runner.timings))
