"""Runs ``migrator repair``, ``migrator reset`` and ``migrator forget``, which copy nothing."""

from uuid import UUID

from migrator.config.settings import Settings
from migrator.job.confirmation import Confirm, Removal, Removals, is_confirmed
from migrator.job.context import locked_target, open_target, restore_parked, start_over
from migrator.ledger.kept import KeptRows, forget_kept, kept_rows
from migrator.ledger.run_ledger import RunLedger
from migrator.monitoring.tracker import Tracker
from migrator.reports.run_report import Report
from migrator.stages.reset import filled_tables


async def repair(settings: Settings, run_id: UUID | None = None, tracker: Tracker | None = None) -> Report:
    """Restore the keys and indexes that a run parked and could not restore. Copies nothing."""
    async with open_target(settings) as target, locked_target(settings, target, run_id, tracker) as (run, runner):
        restored = await runner("restore", lambda: restore_parked(run, settings.jobs, runner.tracker))
        headline = f"{restored} keys and indexes brought back"
        return Report(headline, timings=tuple(runner.timings), migration=run.migration.name)


async def reset(
    settings: Settings, run_id: UUID | None = None, confirm: Confirm = is_confirmed, tracker: Tracker | None = None
) -> Report:
    """
    Empty the tables that the ledger says this job has loaded, and restore keys and indexes.

    The lock is held while ``confirm`` waits for an answer, so that nothing else is emptied than was shown.
    """
    async with open_target(settings) as target, locked_target(settings, target, run_id, tracker) as (run, runner):
        filled = await runner.retry("filled tables", lambda: filled_tables(run, with_changes=settings.force))
        removals = tuple(Removal(str(table.name), table.rows, table.changes) for table in filled)
        await confirm(Removals("reset", "Empty these tables?", removals))
        emptied = await start_over(settings, run, runner)
        headline = f"{emptied} tables emptied: as if nothing had been copied"
        notes = await runner.retry("kept rows", lambda: _still_kept(run))
        return Report(headline, timings=tuple(runner.timings), notes=notes, migration=run.migration.name)


async def forget(
    settings: Settings, run_id: UUID | None = None, confirm: Confirm = is_confirmed, tracker: Tracker | None = None
) -> Report:
    """Drop the kept rows, which gave way to the source's. Then only the file of ``--kept-rows`` has them."""
    async with open_target(settings) as target, locked_target(settings, target, run_id, tracker) as (run, runner):
        kept = await runner.retry("kept rows", lambda: _kept(run))
        removals = tuple(Removal(str(entry.table), entry.rows, _kept_since(entry)) for entry in kept if entry.rows)
        await confirm(Removals("forget", "Drop these kept rows?", removals))
        dropped = await runner("forget", lambda: _forget(run))
        rows = sum(entry.rows for entry in dropped)
        notes = tuple(f"dropped: {entry.rows} rows of {entry.table}, {_kept_since(entry)}" for entry in dropped)
        headline = f"{rows} kept rows of {len(dropped)} tables dropped"
        return Report(headline, timings=tuple(runner.timings), notes=notes, migration=run.migration.name)


async def _still_kept(run: RunLedger) -> tuple[str, ...]:
    """Return lines about kept rows, which a reset neither drops nor brings back."""
    return tuple(entry.line() for entry in await _kept(run))


async def _kept(run: RunLedger) -> list[KeptRows]:
    async with run.target.connect() as connection:
        return await kept_rows(connection, run.migration)


def _kept_since(entry: KeptRows) -> str:
    return f"kept at {entry.kept_at:%Y-%m-%d %H:%M:%S %Z}"


async def _forget(run: RunLedger) -> list[KeptRows]:
    async with run.target.transaction() as connection:
        return await forget_kept(connection, run.migration)
