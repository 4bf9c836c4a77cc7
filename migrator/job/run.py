"""
Runs ``migrator run``: locks the target, pins the source, and runs all stages.

    wait → lock → init_sql → move: schema → preflight → park → copy → restore → sequences → analyze → verify → upgrade

An error ends the run. The ledger shows how far the run came.
"""

from contextlib import AsyncExitStack
from functools import cache
from importlib import import_module
from threading import Thread
from uuid import UUID

from msgspec.structs import replace

from migrator.config.settings import Settings
from migrator.job import recorder
from migrator.job.completed import rows_are_gone, settle
from migrator.job.context import (
    Obstacles,
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
from migrator.job.cut_over.passes import Moment, note
from migrator.job.cut_over.rehearsal import refuse_out_of_turn, settle_rehearsal, watching
from migrator.ledger import history, registry
from migrator.ledger.history import identity_of
from migrator.ledger.run_ledger import RunLedger
from migrator.monitoring.tracker import Tracker
from migrator.reports.run_report import Report
from migrator.runtime.stage_runner import StageRunner


async def run(settings: Settings, tracker: Tracker, run_id: UUID | None = None) -> Report:
    """
    Copy the whole source into the target and verify it. If that has been done already, leave the rows unchanged.

    ``run_id`` is the run's id in the ledger, by default a new one. Returns the report. Raises a MigratorError;
    everything that was committed before it is in the ledger, and the next run continues from there.
    """
    settings = watching(settings)
    known_obstacles = obstacles(settings)
    async with open_target(settings) as target, AsyncExitStack() as held, AsyncExitStack() as read:
        runner = runner_of(settings, target, tracker)
        with known_obstacles.instead():
            await runner("wait", lambda: wait_for(target, settings, tracker, meanwhile=_load_drivers))
            run, held_lock = await runner("lock", lambda: take_lock(held, target, settings, registry.of_run, run_id))
        if not settings.restart and await _is_complete(settings, run, runner):
            return await _settled(settings, run, runner, known_obstacles)
        if known_obstacles.first:
            raise known_obstacles.first
        moment = await runner.retry("moment", lambda: Moment.now(target)) if settings.refresh else None
        source = await read.enter_async_context(open_source(settings))
        watch = await read.enter_async_context(source.pinned())
        # These load drivers that a complete migration doesn't need; `_load_drivers` may have loaded them already.
        from migrator.job.migrate import move  # noqa: PLC0415
        from migrator.job.plan import begun_tables, reading_of  # noqa: PLC0415

        begun = await runner.retry("begun", lambda: begun_tables(target, run.migration))
        # Mistakes in the rules for rows are known before anything changes.
        reading = await reading_of(settings, source, () if settings.restart else begun)
        if settings.restart:
            await start_over(settings, run, runner)
        origin = await identity_of(settings.source_path.absolute(), source)

        await runner("init_sql", lambda: run_init_sql(target, settings))
        migration = await runner.retry("lock", lambda: migration_meant(target, settings))
        if migration != run.migration:  # the init SQL has set a search_path, and with it another schema
            run = replace(run, migration=migration)
            await runner.retry("lock", lambda: held_lock.change_to(migration))
            if await _is_complete(settings, run, runner):
                return await _settled(settings, run, runner, known_obstacles)

        async def ready() -> None:
            if not await held_lock.is_held():
                await wait_for(target, settings, tracker)
                await held_lock.take()
            await target.terminate_abandoned()

        guard = recorder.Guard(ready, watch)
        async with recorder.record_run(run, runner, settings, origin.fingerprint, guard) as run_recorder:
            report = await move(settings, reading, run_recorder, origin)
            if moment is None:
                return report
            last = await note(run_recorder, moment, report)
            if settings.watch:
                await read.aclose()
                from migrator.job.cut_over.watch import Pass, keep_refreshing  # noqa: PLC0415 - as above

                await keep_refreshing(settings, run_recorder, Pass(origin.fingerprint, moment, last))
            return report


@cache
def _load_drivers() -> None:
    """Begin, once, to load what moves rows in a thread: the server isn't ready yet, so that this takes no time."""
    Thread(target=import_module, args=("migrator.job.migrate",), name="drivers").start()


async def _is_complete(settings: Settings, run: RunLedger, runner: StageRunner) -> bool:
    """
    Return whether nothing is to be carried: the migration is complete, and its rows are still in the target.

    A refresh looks for what has changed since, and is never in that state.
    Raises ConfigurationError if the settings don't fit a complete migration.
    """

    async def look() -> bool:
        if not await history.is_complete(run.target, run.migration):
            return False
        await refuse_out_of_turn(settings, run)
        return not settings.refresh and not await rows_are_gone(run)

    return await runner.retry("history", look)


async def _settled(settings: Settings, run: RunLedger, runner: StageRunner, obstacles: Obstacles) -> Report:
    """Return the report of a run that finds a complete migration."""
    if settings.rehearsal:
        return await settle_rehearsal(run, runner)
    return await runner.retry("history", lambda: settle(settings, run, runner, obstacles))
