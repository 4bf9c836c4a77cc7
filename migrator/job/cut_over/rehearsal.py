"""
Decides what a run does with a migration that was rehearsed.

A rehearsal brings and compares every row, on the real target, while the application goes on writing to the source. So
the migration is complete, but it is not ready: the application may not start before a refresh has cut over.
"""

from migrator.config.settings import Settings
from migrator.errors import ConfigurationError
from migrator.ledger import history, state
from migrator.ledger.run_ledger import RunLedger
from migrator.reports.run_report import Report
from migrator.runtime.stage_runner import StageRunner

HEADLINE = "rehearsed and verified: stop the application and run again with --refresh to cut over"


def watching(settings: Settings) -> Settings:
    """Return the settings with what ``--watch`` implies: a snapshot, and no gate that opens."""
    return settings.model_copy(update={"rehearsal": True, "snapshot": True}) if settings.watch else settings


async def refuse_out_of_turn(settings: Settings, run: RunLedger) -> None:
    """
    Raise ConfigurationError if a complete migration and the settings don't fit.

    They don't if the migration was rehearsed and the settings don't say how it goes on, and if a rehearsal comes after
    the application may have started.
    """
    async with run.target.connect() as connection:
        ready = bool(await state.recall(connection, run.migration, state.READY))
        rehearsed = bool(await state.recall(connection, run.migration, state.REHEARSED))
        upgraded = await history.upgrade_has_begun(connection, run.migration)
    name = run.migration.name
    if rehearsed and not (settings.rehearsal or settings.refresh):
        raise ConfigurationError(
            f"the migration {name!r} was rehearsed, and its rows are of the moment of the rehearsal",
            next_step="Stop the application and run with --refresh (MIGRATOR_REFRESH): it carries what has changed "
            "since, compares everything, and lets the application start. To bring all rows anew, run with --restart.",
            migration=name,
        )
    if settings.rehearsal and (ready or (upgraded and not rehearsed)):
        raise ConfigurationError(
            f"the migration {name!r} is complete, and the application may have started on it: "
            f"{'a watch' if settings.watch else 'a rehearsal'} comes before",
            next_step="Run with --refresh, and without --rehearsal and --watch, to carry what has changed in the "
            "source since. To rehearse it again from the beginning, run with --rehearsal --restart, which is refused "
            "where the application has written to the target.",
            migration=name,
        )


async def settle_rehearsal(run: RunLedger, runner: StageRunner) -> Report:
    """Leave a complete migration as it is, and record that it is a rehearsal. Returns the report."""

    async def write() -> None:
        async with run.target.transaction() as connection:
            await state.remember(connection, run.migration, state.REHEARSED, value=True)

    await runner.retry("rehearsed", write)
    note = "nothing was done: an earlier run has compared every value, and what the source holds now was not looked at"
    return Report(f"already {HEADLINE}", timings=tuple(runner.timings), notes=(note,), migration=run.migration.name)
