"""
Runs the job's stages from ``schema`` to ``upgrade``, in order.

Only this module imports the modules that read and send values, so that a run with nothing left to do ends without
loading them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from typing import TypeVar

import structlog
from msgspec import Struct
from msgspec.structs import replace

from migrator.config.settings import Settings
from migrator.errors import Mismatch, NoMatch
from migrator.events import Event
from migrator.job.context import context_of, key_file_of, one_at_a_schema, schema_options_of, upgrade_schema
from migrator.job.cut_over.refresh import Refreshed, Refreshing, refresh, refresh_context
from migrator.job.cut_over.rehearsal import HEADLINE
from migrator.job.lost_rows import refuse_emptied
from migrator.job.plan import (
    copied_of,
    intact,
    other_versions,
    plan_of,
    refuse_nothing,
    tables_to_read,
    tell_skipped,
    tell_stray_sequences,
    tell_unfilled,
    unfilled_columns,
)
from migrator.job.recorder import RunRecorder
from migrator.job.resumption import go_on_to_refresh, go_on_with
from migrator.job.source_changes import Reading
from migrator.ledger import history
from migrator.ledger.carried import Terms
from migrator.ledger.claims import claim
from migrator.ledger.history import SourceIdentity
from migrator.ledger.kept import kept_rows, write_kept
from migrator.ledger.loads import known_rows
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName
from migrator.planning.plan import Plan
from migrator.planning.table_terms import terms_of
from migrator.preflight.table_check import TableCheck, table_notices_of
from migrator.refresh.pages.remember import remember
from migrator.reports.refresh_report import told_of_earlier
from migrator.reports.run_report import Report, report_of
from migrator.runtime.error_mapping import to_migrator_error
from migrator.selection.selected_plan import Selecting, select_for_run
from migrator.source.database import Source
from migrator.source.schema import SourceDatabase
from migrator.stages.analyze import analyze
from migrator.stages.context import Overlap, StageContext
from migrator.stages.copy import copy
from migrator.stages.park import park
from migrator.stages.preflight import preflight
from migrator.stages.restore import restore
from migrator.stages.schema import schema
from migrator.stages.sequences import sequences
from migrator.stages.verify import verify
from migrator.target.database import Target
from migrator.target.lock_room import lock_room
from migrator.target.session_room import Sessions, choose_sessions, offer
from migrator.verification.compare_table import TableResult

T = TypeVar("T")

log = structlog.get_logger()


async def move(settings: Settings, reading: Reading, recorder: RunRecorder, origin: SourceIdentity) -> Report:
    """
    Run the stages from ``schema`` to ``upgrade``, and return the report of a complete migration.

    ``reading`` is the source with its rules, and ``origin`` its identity for the ledger. Raises a MigratorError;
    everything that was committed before it is in the ledger.
    """
    async with AsyncExitStack() as held:
        return await _move(settings, reading, recorder, origin, held)


class _Moving(Struct, frozen=True):
    """What the decisions of one run need besides settings and source."""

    origin: SourceIdentity
    terms: Mapping[str, Terms]
    held: AsyncExitStack
    """Keeps the locks of a refresh."""


async def _planned(settings: Settings, reading: Reading, recorder: RunRecorder) -> tuple[Plan, tuple[str, ...]]:
    """Make the schema, and match both databases under the rules; return the plan and notes for the report."""
    step, ledger, target = recorder.step, recorder.run, recorder.run.target
    source, contents = reading.source, reading.contents
    notes = await recorder.stage("schema", lambda: _make_schema(settings, source, contents, ledger))
    try:
        plan = await step("plan", lambda: plan_of(settings, contents, target))
    except NoMatch as error:
        from migrator.job.check import with_what_follows  # noqa: PLC0415 - only a run that is refused anyway needs it

        raise await with_what_follows(settings, error) from error
    notes += await step("versions", lambda: other_versions(settings, source, contents, target))
    selecting = Selecting(source, plan, reading.rules, {}, key_file_of(settings))
    plan = await step("orphans", lambda: select_for_run(selecting, ledger))
    await step("claims", lambda: claim(ledger, [table.name for table in plan.tables]))
    tell_skipped(plan)
    await step("stray sequences", lambda: tell_stray_sequences(target, plan))
    notes += tell_unfilled(await step("triggers", lambda: unfilled_columns(target, plan)))
    return plan, notes


async def _decided(
    settings: Settings, reading: Reading, recorder: RunRecorder, moving: _Moving
) -> tuple[StageContext, Refreshed, tuple[str, ...]]:
    """Make the schema and the plan, and check all rows that are to be carried; return notes for the report, too."""
    stage, ledger, source = recorder.stage, recorder.run, reading.source
    tracker = recorder.runner.tracker
    tables = tables_to_read(settings, reading.contents)
    # A refresh that finds nothing changed has read every row, and writes none.
    checking = _beside(intact(source, tables, tracker)) if not settings.refresh else nullcontext(None)
    async with checking as first_check:
        checks_under_way = [first_check] if first_check else []
        plan, notes = await _planned(settings, reading, recorder)
        context = context_of(settings, source, ledger.target, plan, tracker)

        async def check_source_file() -> None:
            await (
                checks_under_way.pop() if checks_under_way else intact(source, tables, tracker)
            )  # again in a second try

        if not settings.refresh:
            checks = await stage("preflight", lambda: _preflight(context, ledger, check_source_file, settings.untried))
            return context, Refreshed(checks=checks), notes
        refreshing = Refreshing(
            refresh_context(settings, ledger, context, reading.rules),
            context,
            moving.origin,
            moving.terms,
            check_source_file,
            settings.untried,
        )
        refreshed = await refresh(recorder, refreshing, moving.held)
        _tell_refreshed(refreshed)
        return context, refreshed, notes


async def _move(
    settings: Settings, reading: Reading, recorder: RunRecorder, origin: SourceIdentity, held: AsyncExitStack
) -> Report:
    """Do what ``move`` does. The locks of a refresh are ``held`` until the migration is complete."""
    step, ledger, rules = recorder.step, recorder.run, reading.rules
    target, source, contents = ledger.target, reading.source, reading.contents
    refuse_nothing(settings, source, contents)
    resume = go_on_to_refresh if settings.refresh else go_on_with
    await step("history", lambda: resume(ledger, reading, origin, settings.target_schema))
    terms = {table.name: terms_of(table, rules) for table in contents.tables}
    context, refreshed, notes = await _decided(settings, reading, recorder, _Moving(origin, terms, held))
    checks = refreshed.checks
    rows = {name: check.table_size.rows for name, check in checks.items() if name not in refreshed.written}
    await recorder.stage("park", lambda: park(context.plan, rows, ledger))
    try:
        results, warnings = await _copy_to_verify(settings, context, recorder, refreshed, terms)
    except Mismatch:
        await step("lost", lambda: refuse_emptied(target, ledger.migration))
        raise
    if settings.expects_refresh:
        await step("pages", lambda: remember(source, ledger, context.plan.tables, results))
    now = await source.fingerprint()
    left_out = [table.name for table in contents.tables if rules.of_table(table.name).exclude]
    await step("lost", lambda: refuse_emptied(target, ledger.migration))
    rehearsal = settings.rehearsal
    await step("complete", lambda: history.complete(ledger, origin.fingerprint, now, left_out, rehearsal=rehearsal))
    await held.aclose()
    if not rehearsal:
        await _finish(settings, recorder)
    done = "refreshed" if refreshed.tables else "migrated"
    headline = HEADLINE if rehearsal else f"{done}: every value of every row is in the target"
    copied = await step("report", lambda: copied_of(target, ledger.migration))
    report = report_of(context.plan, results, copied, recorder.runner, headline)
    notes += await step("report", lambda: _gave_way(ledger))
    notes += told_of_earlier(refreshed.tables)
    notes += report.notes + _what_was_decided(context.plan, checks.values())
    notes += tuple(f"WARNING: {warning}" for warning in warnings)
    return replace(report, migration=ledger.migration.name, notes=notes, refreshed=refreshed.tables)


def _tell_refreshed(refreshed: Refreshed) -> None:
    """Log what the refresh has done with each table."""
    for table in refreshed.tables:
        tell = log.debug if table.is_unchanged else log.info
        tell(Event.TABLE_REFRESHED, **table.to_json())


async def _gave_way(run: RunLedger) -> tuple[str, ...]:
    """Return lines for the report about rows that gave way to the source's and are kept."""
    async with run.target.connect() as connection:
        return tuple(entry.line() for entry in await kept_rows(connection, run.migration))


async def _make_schema(settings: Settings, source: Source, contents: SourceDatabase, run: RunLedger) -> tuple[str, ...]:
    """Make the target's tables, one job at a time in a schema; return notes for the report."""
    async with one_at_a_schema(run.target, settings):
        return await schema(source, contents, schema_options_of(settings), run)


async def _preflight(
    context: StageContext,
    ledger: RunLedger,
    check_source_file: Callable[[], Awaitable[None]],
    untried: Sequence[str],
) -> dict[TableName, TableCheck]:
    """Call stage ``preflight`` with the known rows of the target."""
    known = await known_rows(ledger.target, ledger.migration)
    return await preflight(context, known, check_source_file, untried)


async def _copy_to_verify(
    settings: Settings,
    context: StageContext,
    recorder: RunRecorder,
    refreshed: Refreshed,
    terms: Mapping[str, Terms],
) -> tuple[list[TableResult], tuple[str, ...]]:
    """
    Run the stages from ``copy`` to ``verify``, which overlap; return results, and warnings about sequences.

    A table's keys are restored when its rows are in the target. Then the table is analyzed and compared, while other
    tables are still copied. With ``settings.in_turn`` each stage begins only when the stage before has ended. ``copy``
    and ``verify`` together use as many sessions that read or send values as ``choose_sessions`` allows.
    """
    stage, ledger, checks = recorder.stage, recorder.run, refreshed.checks
    sessions = await recorder.step("room", lambda: _sessions_with_room(context.target, settings, list(checks)))
    overlap = Overlap(asyncio.Semaphore(sessions.rows), compared=refreshed.equal)

    async def copy_rows() -> None:
        await stage("copy", lambda: copy(context, ledger, checks, overlap, terms))
        await overlap.copied.close()
        await recorder.step("kept rows", lambda: _write_kept(settings, ledger))

    async def restore_keys() -> tuple[str, ...]:
        await stage(
            "restore", lambda: restore(ledger, sessions.keys, overlap.copied, overlap.restored, context.tracker)
        )
        advanced = await stage("sequences", lambda: sequences(context))
        await overlap.restored.close()
        return advanced.left

    async def analyze_tables() -> None:
        await stage("analyze", lambda: analyze(context, overlap.restored, sessions.keys, refreshed.equal))

    async def verify_tables() -> list[TableResult]:
        return await stage(
            "verify",
            lambda: verify(context, checks, overlap, differences_file=settings.differences, ledger=ledger),
        )

    if settings.in_turn:
        await copy_rows()
        warnings = await restore_keys()
        await analyze_tables()
        return await verify_tables(), warnings
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(copy_rows())
            restored = group.create_task(restore_keys())
            group.create_task(analyze_tables())
            verified = group.create_task(verify_tables())
    except ExceptionGroup as failures:
        raise to_migrator_error(failures) or failures from failures
    return verified.result(), restored.result()


async def _write_kept(settings: Settings, run: RunLedger) -> None:
    """Write the file of kept rows, if one is set. The ledger has these rows anyway, so a failure is only a warning."""
    if settings.kept_rows is None:
        return
    async with run.target.connect() as connection:
        try:
            await write_kept(connection, run.migration, settings.kept_rows)
        except OSError as error:
            log.warning(Event.WARNING_REPORT, reason=f"{settings.kept_rows}: {error.strerror}")


async def _sessions_with_room(target: Target, settings: Settings, tables: Sequence[TableName]) -> Sessions:
    """Return how many sessions the stages may use, so that the server has room for them and for all their locks."""
    async with target.connect() as connection:
        is_chosen = "jobs" in settings.model_fields_set
        sessions = choose_sessions(settings.jobs, await offer(connection), is_chosen=is_chosen)
        room = await lock_room(connection, tables)
    sessions = sessions.at_most(room.jobs(max(sessions.rows, sessions.keys)), "the server has no room for more locks")
    log.info(Event.SESSIONS_CHOSEN, rows=sessions.rows, keys=sessions.keys, reason=sessions.reason)
    return sessions


async def _finish(settings: Settings, recorder: RunRecorder) -> None:
    """Upgrade the schema to its newest revision, and record that the application may start."""
    target = recorder.run.target
    if settings.schema_mode == "alembic":
        await recorder.stage("upgrade", lambda: upgrade_schema(settings, target))
    await recorder.step("ready", lambda: history.make_ready(target, recorder.run.migration))


@asynccontextmanager
async def _beside(work: Coroutine[object, object, T]) -> AsyncIterator["asyncio.Task[T]"]:
    """Do ``work`` in a task while the block runs, and yield the task. At the end of the block it is cancelled."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _what_was_decided(plan: Plan, checks: Collection[TableCheck]) -> tuple[str, ...]:
    """Return lines about values that rules have changed, a line a table, and the notices that ask for something."""
    notices = (notice for check in checks for notice in check.notices if not notice.asks_for_nothing)
    return (
        *(change.line() for check in checks for change in check.changes),
        *(table_notice.line() for table_notice in table_notices_of(plan, checks)),
        *(f"WARNING: {notice.line()}" for notice in notices),
    )
