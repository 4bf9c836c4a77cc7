"""Runs ``migrator verify``, which compares every value of both databases. It writes nothing and takes no lock."""

from msgspec.structs import replace

from migrator.config.settings import Settings
from migrator.errors import Mismatch
from migrator.job.check import migration_of
from migrator.job.context import context_of, open_databases, runner_of, wait_for
from migrator.job.plan import begun_tables, copied_of, plan_of, reading_of, refuse_nothing
from migrator.ledger import history, schema
from migrator.ledger.history import SourceIdentity, identity_of
from migrator.ledger.migration import Migration
from migrator.monitoring.tracker import Tracker
from migrator.reports.run_report import Report, report_of
from migrator.selection.selected_plan import Selecting, select_to_look
from migrator.source.database import Source
from migrator.stages.verify import verify as compare
from migrator.target.database import Target


async def verify(settings: Settings, tracker: Tracker) -> Report:
    """Compare every value of both databases, at any time; raises Mismatch. Writes nothing and takes no lock."""
    async with open_databases(settings) as (source, target):
        runner = runner_of(settings, target, tracker)
        await runner("wait", lambda: wait_for(target, settings, tracker, to_write=False))
        migration = await runner.retry("migration", lambda: migration_of(target, settings))
        begun = await runner.retry("migration", lambda: begun_tables(target, migration))
        reading = await reading_of(settings, source, begun)
        contents = reading.contents
        refuse_nothing(settings, source, contents)
        plan = await runner.retry("plan", lambda: plan_of(settings, contents, target))
        selecting = Selecting(source, plan, reading.rules, {})
        plan = await runner.retry("orphans", lambda: select_to_look(selecting, target, migration))
        context = context_of(settings, source, target, plan, tracker)
        try:
            results = await runner("verify", lambda: compare(context, differences_file=settings.differences))
        except Mismatch as error:
            known = await runner.retry("history", lambda: _known_source(target, migration))
            raise await _of_another_source(error, known, migration, settings, source) from error
        copied = await runner.retry("report", lambda: copied_of(target, migration))
        report = report_of(plan, results, copied, runner, "every value of every row is equal")
        return replace(report, migration=migration.name)


async def _known_source(target: Target, migration: Migration) -> SourceIdentity | None:
    async with target.connect() as connection:
        return await history.read_identity(connection, migration) if await schema.exists(connection) else None


async def _of_another_source(
    error: Mismatch, known: SourceIdentity | None, migration: Migration, settings: Settings, source: Source
) -> Mismatch:
    """Return the error with the migration's name; its message says if the target's rows come from another source."""
    origin = await identity_of(settings.source_path.absolute(), source)
    facts = {"migration": migration.name, **error.facts}
    if known is None or not history.is_another(known, origin):
        return Mismatch(str(error), next_step=error.next_step, **facts).told_as(error.headline, error.reasons)
    another = f"the ledger knows {known} as the source of the migration {migration.name!r}, this one is {origin}"
    return Mismatch(
        f"{error}; {another}",
        next_step=f"Verify with that source, or give this one's name with --migration. Else: {error.next_step}",
        **facts,
    ).told_as(f"{error.headline}; {another}", error.reasons)
