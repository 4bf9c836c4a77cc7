"""Runs ``migrator status``, which reports what the ledger knows about past runs."""

from migrator.config.settings import Settings
from migrator.job.context import open_target, runner_of, wait_for
from migrator.ledger import loads, registry, state
from migrator.ledger import parked as ledger_parked
from migrator.ledger import runs as ledger_runs
from migrator.ledger.kept import kept_rows
from migrator.ledger.migration import Wanted
from migrator.ledger.readiness import until_ready
from migrator.reports.status import Status
from migrator.target.database import Target


async def status(settings: Settings) -> Status:
    """
    Return what the ledger says, also while a run is under way. Writes nothing and takes no lock.

    If the ledger has several migrations and none is named, the report has a line for each. With ``settings.wait`` the
    report is returned only when the application may start; raises GaveUp after ``settings.ready_timeout_seconds``.
    """
    async with open_target(settings) as target:
        runner = runner_of(settings, target)
        if settings.wait:
            await until_ready(target, settings.wanted, settings.ready_timeout_seconds)
        else:
            await runner("wait", lambda: wait_for(target, settings, runner.tracker, to_write=False))
        return await runner.retry("status", lambda: _status(target, settings.wanted))


async def _status(target: Target, wanted: Wanted) -> Status:
    async with target.connect() as connection:
        several = await registry.left_open(connection, wanted)
        if several:
            migrations = [(known.name, await state.completed_at(connection, known.migration)) for known in several]
            return Status((), (), (), (), (), None, several=tuple(migrations))
        migration = await registry.chosen(connection, wanted)
        if migration is None:
            unknown = await registry.unknown(connection, wanted)
            return Status((), (), (), (), (), None, unknown=unknown)
        runs = await ledger_runs.last_runs(connection, migration, limit=5)
        parked = await ledger_parked.still_parked(connection, migration)
        return Status(
            tuple(runs),
            tuple(await ledger_runs.stages_of(connection, runs[0].id)) if runs else (),
            tuple((await loads.copied(connection, migration)).values()),
            tuple(f"{entry.kind} {entry.name} of {entry.table}" for entry in parked),
            tuple(entry.line() for entry in await kept_rows(connection, migration)),
            await state.completed_at(connection, migration),
            migration=migration.name,
        )
