"""
Runs ``migrator check --refresh``, which tells how much a refresh has to carry, and about how long it takes.

It finds what a refresh finds, raises what a refresh would raise before it writes, and writes nothing that lasts.
"""

import time
from functools import partial
from uuid import uuid4

from msgspec.structs import replace

from migrator.config.settings import Settings
from migrator.errors import ConfigurationError, SourceChanged, ValuesRefused
from migrator.job.check import check as check_everything
from migrator.job.check import migration_of
from migrator.job.context import context_of, key_file_of, open_databases, runner_of, wait_for
from migrator.job.cut_over.refresh import Refreshing, look, refresh_context
from migrator.job.cut_over.window import window_of
from migrator.job.plan import begun_tables, intact, plan_of, reading_of, refuse_nothing, tables_to_read
from migrator.job.resumption import look_to_refresh
from migrator.job.source_changes import Reading, new_tables
from migrator.ledger.history import SourceIdentity, identity_of
from migrator.ledger.migration import Migration
from migrator.ledger.run_ledger import RunLedger
from migrator.monitoring.tracker import Tracker
from migrator.names import TableName
from migrator.planning.table_terms import terms_of
from migrator.reports.check_report import CheckReport
from migrator.reports.refresh_report import RefreshReport, TableRefresh, Way
from migrator.selection.selected_plan import Selecting, select_to_look
from migrator.source.database import Source
from migrator.source.file import TOUCHED
from migrator.target.database import Target


async def check(settings: Settings, tracker: Tracker) -> CheckReport | RefreshReport:
    """Check as ``check`` does, or with ``settings.refresh`` what a refresh would do."""
    return await (_check_refresh if settings.refresh else check_everything)(settings, tracker)


async def _check_refresh(settings: Settings, tracker: Tracker) -> RefreshReport:
    """Return what a refresh would do. Raises ConfigurationError if no run has copied anything yet."""
    async with open_databases(settings) as (source, target):
        runner = runner_of(settings, target, tracker)
        await runner("wait", lambda: wait_for(target, settings, tracker, to_write=False))
        migration = await runner.retry("migration", lambda: migration_of(target, settings))
        begun = await runner.retry("migration", lambda: begun_tables(target, migration))
        if not begun:
            raise ConfigurationError(
                f"no run of the migration {migration.name!r} has copied anything, so there is nothing to refresh",
                next_step="Run `migrator check` without --refresh, or copy everything first: migrator run --rehearsal.",
                migration=migration.name,
            )
        began = time.monotonic()
        reading = await reading_of(settings, source, begun)
        refuse_nothing(settings, source, reading.contents)
        origin = await identity_of(settings.source_path.absolute(), source)

        async def refuse() -> None:
            async with target.connect() as connection:
                await look_to_refresh(connection, migration, reading, origin, settings.target_schema)

        await runner.retry("history", refuse)
        known, made = _apart(settings, reading, begun)
        plan = await runner.retry("plan", lambda: plan_of(settings, known.contents, target))
        selecting = Selecting(source, plan, reading.rules, {}, key_file_of(settings))
        plan = await runner.retry("orphans", lambda: select_to_look(selecting, target, migration))
        context = context_of(settings, source, target, plan, tracker)
        refreshing = Refreshing(
            refresh_context(settings, RunLedger(target, migration, uuid4()), context, reading.rules),
            context,
            origin,
            {table.name: terms_of(table, reading.rules) for table in reading.contents.tables},
            partial(intact, source, tables_to_read(settings, reading.contents), tracker),
            settings.untried,
        )
        try:
            tables = await runner("refresh", lambda: look(refreshing))
        except ValuesRefused as error:
            if await _has_changed(source, origin):
                raise _several_moments(settings) from error
            raise
        tables += await _new(reading, made, str(plan.schema))
        report = await _report(target, migration, tables, time.monotonic() - began)
        return replace(report, notes=(_WRITTEN_TO,)) if await _has_changed(source, origin) else report


_WRITTEN_TO = (
    "somebody has written to the source meanwhile, so the numbers are of several moments; --snapshot reads one moment"
)


async def _has_changed(source: Source, origin: SourceIdentity) -> bool:
    """Return whether somebody has written to the file since ``origin`` was found. A snapshot never changes."""
    return bool(origin.fingerprint.differences(await source.fingerprint(), but=TOUCHED))


def _several_moments(settings: Settings) -> SourceChanged:
    """Return the error for findings that may be none: rows of one moment were held against rows of another."""
    return SourceChanged(
        f"somebody writes to the source {str(settings.source_path)!r} while it is checked, and values or references "
        "don't fit, perhaps only because they were read at different moments",
        next_step="Run again with --snapshot, which reads a copy of one moment.",
        source=str(settings.source_path),
    )


def _apart(settings: Settings, reading: Reading, begun: frozenset[str]) -> tuple[Reading, list[str]]:
    """Return the reading without the tables that the job has yet to make in the target, and the names of these."""
    if settings.schema_mode != "create":
        return reading, []
    made = [name for name in tables_to_read(settings, reading.contents) if name not in begun]
    kept = tuple(table for table in reading.contents.tables if table.name not in made)
    return replace(reading, contents=replace(reading.contents, tables=kept)), made


async def _new(reading: Reading, names: list[str], schema: str) -> tuple[TableRefresh, ...]:
    """Return the tables of the source that the job has yet to make."""
    found = await new_tables(reading, names)
    renamed = {table.name: terms_of(table, reading.rules).rename or table.name for table in reading.contents.tables}
    return tuple(
        TableRefresh(TableName(schema, renamed[table.table]), table.table, Way.NEW, table.now or 0) for table in found
    )


async def _report(
    target: Target, migration: Migration, tables: tuple[TableRefresh, ...], seconds: float
) -> RefreshReport:
    async with target.connect() as connection:
        window = await window_of(connection, migration, tables, seconds)
    return RefreshReport(tables, window, migration.name)
