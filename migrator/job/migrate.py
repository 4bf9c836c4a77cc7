"""
The move: the job's stages from ``schema`` to ``upgrade``, in order.

What reads and sends values is imported from here on, so that a run with nothing left to do is over before it would have
been loaded.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from migrator.concurrency.replay_queue import ReplayQueue
from migrator.config.settings import Settings
from migrator.errors import Mismatch
from migrator.job.context import example_options_of, limits_of, one_at_a_schema, schema_options_of, upgrade_schema
from migrator.job.lost_rows import refuse_emptied
from migrator.job.plan import copied_of, plan_of, refuse_nothing, tables_to_read, tell_skipped
from migrator.job.recorder import RunRecorder
from migrator.job.reports import Report, report_of
from migrator.job.resumption import go_on_with
from migrator.job.source_changes import Reading
from migrator.job.verify import compare_all
from migrator.ledger import history
from migrator.ledger.carried import Terms
from migrator.ledger.claims import claim
from migrator.ledger.history import SourceIdentity
from migrator.ledger.loads import known_rows
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName
from migrator.planning.plan import Plan
from migrator.planning.rules import Rules
from migrator.planning.table_terms import terms_of
from migrator.preflight.table_check import TableCheck
from migrator.runtime.error_mapping import to_migrator_error
from migrator.runtime.progress import NoProgress, Progress
from migrator.source.database import Source
from migrator.source.integrity import check_intact
from migrator.source.schema import SourceDatabase
from migrator.stages.analyze import analyze
from migrator.stages.copy import copy
from migrator.stages.park import park
from migrator.stages.preflight import preflight
from migrator.stages.restore import restore
from migrator.stages.schema import schema
from migrator.stages.sequences import sequences
from migrator.target.database import Target
from migrator.target.lock_room import lock_room
from migrator.verification.compare_table import TableResult

T = TypeVar("T")


async def move(  # noqa: PLR0913, PLR0917 - both ends, and what the run knows
    settings: Settings,
    source: Source,
    target: Target,
    run_book: RunRecorder,
    origin: SourceIdentity,
    progress: Progress,
) -> Report:
    """
    Go through the stages from ``schema`` to ``upgrade``, and return the report of a complete migration.

    Raises an error of the tree. What was committed until then is in the ledger.
    """
    stage, step = run_book.stage, run_book.step
    run = run_book.run
    contents = await source.describe()
    refuse_nothing(settings, source, contents)
    rules = Rules.load(settings.rules, settings.exclude)
    reading = Reading(source, contents, rules, settings.jobs, settings.batch_bytes)
    await step("history", lambda: go_on_with(run, reading, origin, settings.target_schema))
    terms = {table.name: terms_of(table, rules) for table in contents.tables}
    read = tables_to_read(settings, contents)
    async with _beside(check_intact(source, read)) as looking:
        looks = [looking]
        made = await stage("schema", lambda: _make_schema(settings, source, contents, run))
        plan = await step("plan", lambda: plan_of(settings, contents, target))
        await step("claims", lambda: claim(run, [table.name for table in plan.tables]))
        tell_skipped(plan)

        async def intact() -> None:
            await (looks.pop() if looks else check_intact(source, read))  # a second try looks anew

        surveys = await stage("preflight", lambda: _look_before(settings, source, run, plan, progress, intact))
    rows = {name: survey.profile.rows for name, survey in surveys.items()}
    await stage("park", lambda: park(target, plan, rows, run))
    progress.begin("copy", {str(name): analyze_tables for name, analyze_tables in rows.items()})
    try:
        verdicts, left = await _carry(settings, source, target, plan, surveys, terms, run_book, progress)
    except Mismatch:
        await step("lost", lambda: refuse_emptied(target, run.migration))
        raise
    progress.finish()
    now = await source.fingerprint()
    left_out = [table.name for table in contents.tables if rules.of_table(table.name).exclude]
    await step("lost", lambda: refuse_emptied(target, run.migration))
    await step("complete", lambda: history.complete(run, origin.fingerprint, now, left_out))
    await _finish(settings, target, run_book)
    headline = "migrated: every value of every row is in the target"
    copied = await step("report", lambda: copied_of(target, run.migration))
    report = replace(
        report_of(plan, verdicts, copied, run_book.runner, headline), migration=run_book.run.migration.name
    )
    warnings = tuple(f"WARNING: {line}" for line in left)
    return replace(report, notes=made + _what_was_decided(plan, surveys.values()) + warnings)


async def _make_schema(settings: Settings, source: Source, contents: SourceDatabase, run: RunLedger) -> tuple[str, ...]:
    """Make the target's tables, one job at a time in a schema; return what is worth knowing of it."""
    async with one_at_a_schema(run.target, settings):
        return await schema(source, contents, schema_options_of(settings), run)


async def _carry(  # noqa: PLR0913, PLR0917 - both ends, and what the run knows
    settings: Settings,
    source: Source,
    target: Target,
    plan: Plan,
    surveys: Mapping[TableName, TableCheck],
    terms: Mapping[str, Terms],
    run_book: RunRecorder,
    progress: Progress,
) -> tuple[list[TableResult], tuple[str, ...]]:
    """
    Go through the stages from ``copy`` to ``verify``, which overlap; return verdicts, and warnings about sequences.

    A table's keys come back when its rows are there, and when they stand it is analyzed and compared, while other
    tables are still copied; or, with ``settings.in_turn``, each stage begins when the one before has ended. What reads
    or sends values, for ``copy`` and ``verify``, has ``settings.jobs`` hands.
    """
    stage, run = run_book.stage, run_book.run
    jobs = await run_book.step("room", lambda: _jobs_with_room(target, settings.jobs, list(surveys)))
    slots = asyncio.Semaphore(jobs)
    copied: ReplayQueue[TableName] = ReplayQueue()
    standing: ReplayQueue[TableName] = ReplayQueue()

    async def copy_rows() -> None:
        await stage(
            "copy",
            lambda: copy(
                source,
                target,
                plan,
                surveys,
                run=run,
                slots=slots,
                limits=limits_of(settings),
                progress=progress,
                done=copied,
                terms=terms,
            ),
        )
        await copied.close()

    async def restore_keys() -> tuple[str, ...]:
        await stage("restore", lambda: restore(target, jobs, run, copied, standing))
        moved = await stage("sequences", lambda: sequences(source, target, plan))
        await standing.close()
        return moved.left

    async def analyze_tables() -> None:
        await stage("analyze", lambda: analyze(target, standing, jobs))

    async def verify_tables() -> list[TableResult]:
        return await stage(
            "verify",
            lambda: compare_all(
                settings, source, target, plan, NoProgress(), surveys, slots=slots, ready=standing, note=run
            ),
        )

    if settings.in_turn:
        await copy_rows()
        left = await restore_keys()
        await analyze_tables()
        return await verify_tables(), left
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(copy_rows())
            stood = group.create_task(restore_keys())
            group.create_task(analyze_tables())
            verdicts = group.create_task(verify_tables())
    except ExceptionGroup as failures:
        raise to_migrator_error(failures) or failures from failures
    return verdicts.result(), stood.result()


async def _jobs_with_room(target: Target, wanted: int, tables: Sequence[TableName]) -> int:
    """Return how many sessions a stage may have so that the server has room for the locks of all of them."""
    async with target.connect() as connection:
        return (await lock_room(connection, tables)).jobs(wanted)


async def _finish(settings: Settings, target: Target, run_book: RunRecorder) -> None:
    """Bring the schema to its newest revision, and let the application start."""
    if settings.schema_mode == "alembic":
        await run_book.stage("upgrade", lambda: upgrade_schema(settings, target))
    await run_book.step("ready", lambda: history.make_ready(target, run_book.run.migration))


Intact = Callable[[], Awaitable[None]]
"""Tells whether the source's file is damaged."""


async def _look_before(  # noqa: PLR0913, PLR0917 - both ends, the plan, and how to go about it
    settings: Settings, source: Source, run: RunLedger, plan: Plan, progress: Progress, intact: Intact
) -> dict[TableName, TableCheck]:
    """Call preflight with what the ledger knows to be in the target; ``intact`` tells whether the file is damaged."""
    return await preflight(
        source,
        run.target,
        plan,
        await known_rows(run.target, run.migration),
        limits=limits_of(settings),
        example_options=example_options_of(settings),
        progress=progress,
        intact=intact,
        untried=settings.untried,
    )


@asynccontextmanager
async def _beside(work: Coroutine[object, object, T]) -> AsyncIterator["asyncio.Task[T]"]:
    """Have work done while the block runs, and give the task that does it; at the block's end it is cancelled."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _what_was_decided(plan: Plan, surveys: Collection[TableCheck]) -> tuple[str, ...]:
    """Return what rules, and the one assumption, made of values, and what else is worth knowing, of loaded tables."""
    in_utc = [
        f"{table.source.name}.{column.source.name}"
        for table in plan.tables
        for column in table.columns
        if column.target.type_name == "timestamptz" and column.rule.timezone is None
    ]
    assumed = (f"text without an offset was read as UTC in: {', '.join(in_utc)}",) if in_utc else ()
    return (
        *(change.line() for survey in surveys for change in survey.changes),
        *assumed,
        *(f"WARNING: {remark.line()}" for survey in surveys for remark in survey.remarks),
    )
