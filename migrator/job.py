"""
The job: its stages in order, on one page, and the smaller commands that do a part of it.

    wait → lock → init_sql → schema → preflight → park → copy → restore → sequences → analyze → verify → upgrade

Values go from stage to stage by name. Whatever raises ends the run; the ledger knows how far it came.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import structlog

from migrator import book, history, ledger, loads
from migrator.book import Book
from migrator.examples import Showing
from migrator.explain import explain
from migrator.handover import Handover
from migrator.inspection import check_intact, look_at_source, look_over
from migrator.names import TableName
from migrator.plan import Plan
from migrator.progress import Progress, Silent
from migrator.readiness import until_ready
from migrator.report import CheckReport, Report, Status
from migrator.settings import Settings
from migrator.source import Source
from migrator.source_file import Fingerprint, check_file
from migrator.stages.analyze import analyze
from migrator.stages.copy import copy
from migrator.stages.park import park
from migrator.stages.preflight import occupied_tables, strangers_in
from migrator.stages.restore import restore
from migrator.stages.schema import alembic_project, schema
from migrator.stages.sequences import sequences
from migrator.stages.upgrade import upgrade
from migrator.steps import (
    beside,
    check_configuration,
    compare_all,
    held_target,
    known_rows,
    lock_of,
    look_before,
    nothing_left,
    open_ends,
    plan_of,
    refusal_of,
    report_of,
    restore_parked,
    run_id_of_log,
    run_init_sql,
    runner_of,
    start_over,
    tell_skipped,
    wait_for,
    what_was_decided,
)
from migrator.strangers import refusal
from migrator.survey import Survey
from migrator.target import Target
from migrator.verdict import Verdict

log = structlog.get_logger()


async def run(settings: Settings, progress: Progress) -> Report:
    """
    Move the source into the target, whole and verified; or find that this has been done and change nothing.

    Raises an error of the tree. What was committed until then is in the ledger, and the next run goes on from there.
    """
    runner, run_id = runner_of(settings), run_id_of_log()
    check_configuration(settings)
    async with open_ends(settings) as (source, target), AsyncExitStack() as held:
        await runner("wait", lambda: wait_for(target, settings))
        held_lock = await runner("lock", lambda: held.enter_async_context(lock_of(target, settings)))
        watch = await held.enter_async_context(source.pinned())
        if settings.restart:
            await start_over(settings, target, runner, run_id)
        fingerprint = await source.fingerprint()
        if (migrated := await history.migrated(target)) is not None:
            return await nothing_left(settings, target, runner, migrated, fingerprint)
        await runner("init_sql", lambda: run_init_sql(target, settings))

        async def ready() -> None:
            if not await held_lock.is_held():
                await wait_for(target, settings)
                await held_lock.take()
            await target.end_given_up()

        run_book = book.opened(target, run_id, runner, settings=settings, source=fingerprint, ready=ready, watch=watch)
        async with run_book as opened:
            return await _move(settings, source, target, opened, fingerprint, progress)


async def _move(  # noqa: PLR0913, PLR0917 - both ends, and what the run knows
    settings: Settings, source: Source, target: Target, run_book: Book, fingerprint: Fingerprint, progress: Progress
) -> Report:
    """Go through the stages from ``schema`` to ``upgrade``."""
    stage = run_book.stage
    contents = await source.describe()
    await history.go_on_with(target, fingerprint, run_book.run_id)
    async with beside(check_intact(source)) as looking:
        looks = [looking]
        await stage("schema", lambda: schema(contents, target, settings, run_book.run_id))
        plan = await plan_of(settings, contents, target)
        tell_skipped(plan)

        async def intact() -> None:
            await (looks.pop() if looks else check_intact(source))  # a second try looks anew

        surveys = await stage("preflight", lambda: look_before(settings, source, target, plan, progress, intact))
    rows = {name: survey.profile.rows for name, survey in surveys.items()}
    await stage("park", lambda: park(target, plan, rows, run_book.run_id))
    progress.begin("copy", {str(name): count for name, count in rows.items()})
    verdicts = await _carry(settings, source, target, plan, surveys, run_book, progress)
    progress.finish()
    await history.complete(target, fingerprint, await source.fingerprint(), run_book.run_id)
    await _finish(settings, target, run_book)
    headline = "migrated: every value of every row is in the target"
    report = await report_of(target, plan, verdicts, run_book.runner, headline)
    return replace(report, notes=what_was_decided(plan, [survey.profile for survey in surveys.values()]))


async def _carry(  # noqa: PLR0913, PLR0917 - both ends, and what the run knows
    settings: Settings,
    source: Source,
    target: Target,
    plan: Plan,
    surveys: Mapping[TableName, Survey],
    run_book: Book,
    progress: Progress,
) -> list[Verdict]:
    """
    Go through the stages from ``copy`` to ``verify``, which overlap.

    A table's keys come back when its rows are there, and when they stand it is analyzed and compared, while other
    tables are still copied; or, with ``settings.in_turn``, each stage begins when the one before has ended. What reads
    or sends values, for ``copy`` and ``verify``, has ``settings.jobs`` hands.
    """
    stage, run_id, jobs, hands = run_book.stage, run_book.run_id, settings.jobs, asyncio.Semaphore(settings.jobs)
    copied: Handover[TableName] = Handover()
    standing: Handover[TableName] = Handover()

    async def bring() -> None:
        await stage(
            "copy",
            lambda: copy(
                source,
                target,
                plan,
                surveys,
                run_id=run_id,
                hands=hands,
                batch_bytes=settings.batch_bytes,
                chunk_bytes=settings.chunk_bytes,
                stall_seconds=settings.stall_timeout_seconds,
                progress=progress,
                done=copied,
            ),
        )
        await copied.close()

    async def stand() -> None:
        await stage("restore", lambda: restore(target, jobs, run_id, copied, standing))
        await stage("sequences", lambda: sequences(source, target, plan))
        await standing.close()

    async def count() -> None:
        await stage("analyze", lambda: analyze(target, standing, jobs))

    async def look() -> list[Verdict]:
        return await stage(
            "verify",
            lambda: compare_all(
                settings, source, target, plan, Silent(), surveys, hands=hands, ready=standing, note=run_id
            ),
        )

    if settings.in_turn:
        for work in (bring, stand, count):
            await work()
        return await look()
    try:
        async with asyncio.TaskGroup() as group:
            for work in (bring, stand, count):
                group.create_task(work())
            verdicts = group.create_task(look())
    except ExceptionGroup as failures:
        raise explain(failures) or failures from failures
    return verdicts.result()


async def _finish(settings: Settings, target: Target, run_book: Book) -> None:
    """Bring the schema to its newest revision, and let the application start."""
    if settings.schema_mode == "alembic":
        await run_book.stage("upgrade", lambda: upgrade(target, alembic_project(settings)))
    await history.make_ready(target)


async def check(settings: Settings, progress: Progress) -> CheckReport:
    """
    Look the source over as preflight does, against the target as it is. Writes nothing, and takes no lock.

    Without a target in the settings it is the source alone that is looked at.
    """
    if not settings.has_target:
        return await _check_alone(settings)
    runner = runner_of(settings)
    async with open_ends(settings) as (source, target):
        await runner("wait", lambda: wait_for(target, settings, to_write=False))
        plan = await plan_of(settings, await source.describe(), target)
        tell_skipped(plan)
        showing = Showing(settings.examples, settings.mask_values)
        surveys = await runner(
            "preflight",
            lambda: look_over(
                source,
                target,
                plan,
                jobs=settings.jobs,
                batch_bytes=settings.batch_bytes,
                chunk_bytes=settings.chunk_bytes,
                showing=showing,
                progress=progress,
                intact=partial(check_intact, source),
            ),
        )
        allowed = await known_rows(target)
        pending = [table for table in plan.tables if table.name not in allowed.loaded]
        strangers = await strangers_in(
            source,
            target,
            await occupied_tables(target, pending, allowed),
            {one.profile.table: one.profile for one in surveys},
            batch_bytes=settings.batch_bytes,
            showing=showing,
        )
    findings = [finding for one in surveys for finding in one.findings]
    failure = refusal_of(findings) or (refusal(strangers) if strangers else None)
    return CheckReport(tuple(one.profile for one in surveys), tuple(findings), plan.skipped, failure)


async def _check_alone(settings: Settings) -> CheckReport:
    check_file(settings.source_path)
    source = Source(settings.source_path)
    try:
        contents = await source.describe()
        surveys = await runner_of(settings)(
            "preflight",
            lambda: look_at_source(source, contents.tables, jobs=settings.jobs, batch_bytes=settings.batch_bytes),
        )
    finally:
        await source.close()
    findings = tuple(finding for one in surveys for finding in one.findings)
    return CheckReport(tuple(one.profile for one in surveys), findings, contents.skipped, against_target=False)


async def verify(settings: Settings, progress: Progress) -> Report:
    """Compare every value of both ends, at any time. Writes nothing, and takes no lock."""
    runner = runner_of(settings)
    async with open_ends(settings) as (source, target):
        await runner("wait", lambda: wait_for(target, settings, to_write=False))
        plan = await plan_of(settings, await source.describe(), target)
        verdicts = await runner("verify", lambda: compare_all(settings, source, target, plan, progress))
        return await report_of(target, plan, verdicts, runner, "every value of every row is equal")


async def repair(settings: Settings) -> Report:
    """Bring back the keys and indexes that a run took away and could not bring back. Copies nothing."""
    runner = runner_of(settings)
    async with held_target(settings, runner) as target:
        restored = await runner("restore", lambda: restore_parked(target, settings.jobs, run_id_of_log()))
        return Report(f"{restored} keys and indexes brought back", timings=tuple(runner.timings))


async def reset(settings: Settings) -> Report:
    """Take back what the ledger says this job has loaded, and bring back keys and indexes."""
    runner = runner_of(settings)
    async with held_target(settings, runner) as target:
        emptied = await start_over(settings, target, runner, run_id_of_log())
        return Report(f"{emptied} tables emptied: as if nothing had been copied", timings=tuple(runner.timings))


async def status(settings: Settings) -> Status:
    """
    Tell what the ledger says, also while a run is under way. Writes nothing, and takes no lock.

    With ``settings.wait`` it says so only when the migration is complete; raises GaveUp if that takes too long.
    """
    runner = runner_of(settings)
    target = Target(settings.target)
    try:
        if settings.wait:
            await until_ready(target, settings.ready_timeout_seconds)
        else:
            await runner("wait", lambda: wait_for(target, settings, to_write=False))
        async with target.connect() as connection:
            if not await ledger.exists(connection):
                return Status((), (), (), (), None)
            runs = await ledger.last_runs(connection, limit=5)
            return Status(
                tuple(runs),
                tuple(await ledger.stages_of(connection, runs[0].id)) if runs else (),
                tuple((await loads.copied(connection)).values()),
                tuple(f"{entry.kind} {entry.name} of {entry.table}" for entry in await ledger.still_parked(connection)),
                await ledger.completed_at(connection),
            )
    finally:
        await target.close()
