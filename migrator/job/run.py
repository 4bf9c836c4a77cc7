"""
Runs ``migrator run``: locks the target, pins the source, and goes through all stages.

    wait → lock → init_sql → move: schema → preflight → park → copy → restore → sequences → analyze → verify → upgrade

An error ends the run; the ledger knows how far it came.
"""

from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import UUID

from migrator.config.settings import Settings
from migrator.job import recorder
from migrator.job.completed import rows_are_gone, settle
from migrator.job.context import (
    migration_meant,
    obstacles,
    open_source,
    open_target,
    run_init_sql,
    runner_of,
    start_over,
    take_lock,
    wait_for,
)
from migrator.job.reports import Report
from migrator.ledger import history, registry
from migrator.ledger.history import identity_of
from migrator.ledger.run_ledger import RunLedger
from migrator.runtime.progress import Progress
from migrator.runtime.stage_runner import StageRunner


async def run(settings: Settings, progress: Progress, run_id: UUID | None = None) -> Report:
    """
    Move the source into the target, whole and verified; or find that this has been done and change nothing.

    ``run_id`` is the run's id in the ledger, by default a new one. Raises an error of the tree. What was committed
    until then is in the ledger, and the next run goes on from there.
    """
    found = obstacles(settings)
    async with open_target(settings) as target, AsyncExitStack() as held:
        runner = runner_of(settings, target)
        with found.instead():
            await runner("wait", lambda: wait_for(target, settings))
            run, held_lock = await runner("lock", lambda: take_lock(held, target, settings, registry.of_run, run_id))
        if not settings.restart and await _is_complete(run, runner):
            return await runner.retry("history", lambda: settle(settings, run, runner, found))
        if found.first:
            raise found.first
        source = await held.enter_async_context(open_source(settings))
        watch = await held.enter_async_context(source.pinned())
        if settings.restart:
            await start_over(settings, run, runner)
        origin = await identity_of(settings.source_path.absolute(), source)
        from migrator.job.migrate import move  # noqa: PLC0415 - with the drivers of the bulk way, which the others don't need

        await runner("init_sql", lambda: run_init_sql(target, settings))
        meant = await runner.retry("lock", lambda: migration_meant(target, settings))
        if meant != run.migration:  # the script has set a search_path
            run = replace(run, migration=meant)
            await runner.retry("lock", lambda: held_lock.change_to(meant))
            if await _is_complete(run, runner):
                return await runner.retry("history", lambda: settle(settings, run, runner, found))

        async def ready() -> None:
            if not await held_lock.is_held():
                await wait_for(target, settings)
                await held_lock.take()
            await target.terminate_abandoned()

        guard = recorder.Guard(ready, watch)
        async with recorder.record_run(run, runner, settings, origin.fingerprint, guard) as opened:
            return await move(settings, source, opened, origin, progress)


async def _is_complete(run: RunLedger, runner: StageRunner) -> bool:
    """Return whether the ledger has the migration as complete, and its rows are there still."""

    async def look() -> bool:
        return await history.is_complete(run.target, run.migration) and not await rows_are_gone(run)

    return await runner.retry("history", look)
