"""Runs ``migrator repair`` and ``migrator reset``, which copy nothing."""

from uuid import UUID

from migrator.config.settings import Settings
from migrator.job.context import locked_target, open_target, restore_parked, start_over
from migrator.job.reports import Report


async def repair(settings: Settings, run_id: UUID | None = None) -> Report:
    """Restore the keys and indexes that a run parked and could not restore. Copies nothing."""
    async with open_target(settings) as target, locked_target(settings, target, run_id) as (run, runner):
        restored = await runner("restore", lambda: restore_parked(run, settings.jobs))
        headline = f"{restored} keys and indexes brought back"
        return Report(headline, timings=tuple(runner.timings), migration=run.migration.name)


async def reset(settings: Settings, run_id: UUID | None = None) -> Report:
    """Empty the tables that the ledger says this job has loaded, and restore keys and indexes."""
    async with open_target(settings) as target, locked_target(settings, target, run_id) as (run, runner):
        emptied = await start_over(settings, run, runner)
        headline = f"{emptied} tables emptied: as if nothing had been copied"
        return Report(headline, timings=tuple(runner.timings), migration=run.migration.name)
