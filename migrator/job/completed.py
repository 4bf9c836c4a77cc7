"""
Decides what a run does if its migration is already complete.

Nothing is copied, because the application may have changed the rows by now. A job that stays deployed starts again with
each release of the application. By then the source may be archived, and the schema may be newer than the image's
scripts. If something can't be checked, that is a warning. If a check shows that rows are missing, that is an error.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from migrator.config.settings import Settings
from migrator.errors import MigratorError, RowsInTheWay, SourceChanged, SourceUnreadable, TargetRefused
from migrator.events import Event
from migrator.job import lost_rows
from migrator.job.context import Obstacles, open_source, rules_of, upgrade_schema
from migrator.ledger import carried, history, loads, schema, state
from migrator.ledger.carried import Carried
from migrator.ledger.history import SourceIdentity, identity_of
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName
from migrator.planning.rules import Rules
from migrator.planning.table_terms import terms_under
from migrator.reports.run_report import Report
from migrator.runtime.retry import is_transient
from migrator.runtime.stage_runner import StageRunner
from migrator.source.file import Fingerprint, stamp
from migrator.target.database import own_rows

if TYPE_CHECKING:
    from migrator.job.source_changes import TableChange

log = structlog.get_logger()


class _Migrated(Struct, frozen=True):
    """What the ledger knows about a complete migration."""

    source: Fingerprint
    tables: Mapping[TableName, Carried]
    left_out: tuple[str, ...]
    """Tables of the source that the operator had excluded."""
    ready: bool
    known: SourceIdentity | None
    """The source as the ledger knows it; None if the ledger doesn't know it."""


async def settle(settings: Settings, run: RunLedger, runner: StageRunner, obstacles: Obstacles) -> Report:
    """
    Leave the rows unchanged; upgrade the schema if the image's scripts know the database's revision.

    Returns the report with the warnings. Raises SourceChanged if the source holds other rows now, and TargetRefused if
    the settings ask for tables or values that were not copied. The ``obstacles`` become warnings. But as long as the
    schema has not reached its newest revision once, an error in the configuration is raised.
    """
    migrated = await _migrated(run)
    if obstacles.configuration and not migrated.ready:
        raise obstacles.configuration
    _refuse_other_settings(settings, migrated, _rules(settings))
    notes = [
        *await _look_at_source(settings, run, migrated, obstacles),
        *await _left_empty(run, migrated),
        *await _upgrade(settings, run, runner, obstacles),
    ]
    await history.make_ready(run.target, run.migration)
    headline = "already migrated and verified: nothing to do"
    return Report(headline, timings=tuple(runner.timings), notes=tuple(notes), migration=run.migration.name)


async def rows_are_gone(run: RunLedger) -> bool:
    """
    Return whether rows of a complete migration are lost and have to be copied again.

    If so, the ledger no longer has the migration as complete. A crash of the server empties UNLOGGED tables. Until the
    application may start, a TRUNCATE by anybody is a loss, too. If somebody has written to other tables, nothing is
    copied again: once the application may start, the loss is only a warning, and before that it raises RowsInTheWay.
    """
    async with run.target.transaction() as connection:
        ready = bool(await state.recall(connection, run.migration, state.READY))
        # Once the upgrade has begun, the application's own migrations may have emptied a table.
        only_unlogged = ready or await history.upgrade_has_begun(connection, run.migration)
        gone = await lost_rows.emptied(connection, run.migration, unlogged=only_unlogged)
        if not gone:
            return False
        listed = ", ".join(f"{name} ({rows} rows)" for name, rows in sorted(gone.items()))
        loaded = await loads.loaded(connection, run.migration)
        others = await own_rows(connection, [name for name in loaded if name not in gone])
        touched = await loads.touched_since(connection, others, loaded)
        if not touched:
            await run.take_over(connection)
            await history.reopen(connection, run.migration)
            return True
    if ready:
        return False
    raise RowsInTheWay(
        f"rows that were copied are gone: {listed}; other tables have been written to since: {', '.join(touched)}",
        next_step="Find out who wrote there. To copy all rows again, run with --restart --force, which empties the "
        "tables first.",
        tables={str(name): rows for name, rows in gone.items()},
    )


async def _left_empty(run: RunLedger, migrated: _Migrated) -> list[str]:
    """Return a warning for each table that a crash has emptied and whose rows are not copied again."""
    if not migrated.ready:
        return []
    async with run.target.connect() as connection:
        lost = await lost_rows.emptied(connection, run.migration)
    reason = "it is UNLOGGED and was emptied, and the application has taken over: it is left as it is"
    for name, rows in lost.items():
        log.warning(Event.ROWS_LOST, table=str(name), rows=rows, reason=reason)
    return [f"WARNING: {name} has none of the {rows} rows that were brought: {reason}" for name, rows in lost.items()]


async def _migrated(run: RunLedger) -> _Migrated:
    async with run.target.connect() as connection:
        return _Migrated(
            Fingerprint(**await state.recall(connection, run.migration, state.SOURCE)),
            await carried.read(connection, run.migration),
            tuple(await state.recall(connection, run.migration, schema.LEFT_OUT) or ()),
            bool(await state.recall(connection, run.migration, state.READY)),
            await history.read_identity(connection, run.migration),
        )


def _rules(settings: Settings) -> Rules | None:
    """Return the operator's rules; None if they can't be read, which is one of the obstacles."""
    try:
        return rules_of(settings)
    except MigratorError:
        return None


def _refuse_other_settings(settings: Settings, migrated: _Migrated, rules: Rules | None) -> None:
    """Raise TargetRefused if the present settings ask for tables or values that were not copied."""
    schemas = {name.schema for name in migrated.tables}
    changes = []
    if settings.target_schema is not None and schemas and settings.target_schema not in schemas:
        changes.append(f"the target schema ({', '.join(sorted(schemas))} then, {settings.target_schema} now)")
    if rules is not None:
        included = [table for table in migrated.left_out if not rules.of_table(table).exclude]
        changes += [f"table {table} (excluded then, and not now)" for table in included]
        for table in migrated.tables.values():
            if not rules.of_table(table.terms.source).exclude:
                changes += table.terms.other_rules(terms_under(table.terms, rules), but_excluded=True)
    if changes := list(dict.fromkeys(changes)):  # the naming style is named once, not with each table
        raise TargetRefused(
            f"this migration was completed under other settings: {'; '.join(changes)}",
            next_step="Give the settings that it was completed under. To copy the rows under the new ones, run with "
            "--restart, which empties the tables first and is refused where the application has written to them.",
            changes=changes,
        )


async def _look_at_source(settings: Settings, run: RunLedger, migrated: _Migrated, obstacles: Obstacles) -> list[str]:
    """Return warnings about the source. Raises SourceChanged if the source holds other rows than were copied."""
    if obstacles.source:
        return [unseen("the source", obstacles.source)]
    try:
        # A ledger of an earlier version has only sizes and counters, and another file may have the same ones.
        identifies_file = migrated.source.file is not None
        if identifies_file and not migrated.source.stamp_differences(stamp(settings.source_path)):
            return []
        origin, file_changes, table_changes = await _changes(settings, run, migrated)
    except (SourceUnreadable, OSError) as error:
        return [unseen("the source", error)]
    if not file_changes:
        if not identifies_file:
            await history.write_fingerprint(run, origin.fingerprint)
        return []
    if settings.if_source_changed == "ignore" or table_changes or not migrated.tables:
        certain = settings.if_source_changed != "ignore"
        history.refuse_another(run.migration, migrated.known, origin, certain=certain)
    log.warning(Event.SOURCE_CHANGED, changes=file_changes)
    if settings.if_source_changed == "ignore":
        changed = f"the source has changed since it was migrated ({', '.join(file_changes)})"
        return [f"WARNING: {changed}; nothing was compared, and nothing copied"]
    if migrated.tables and not table_changes:  # VACUUM, a checkpoint, a new index or another copy
        await history.write_fingerprint(run, origin.fingerprint)
        return []
    description = _in_words(table_changes) if table_changes else ", ".join(file_changes)
    raise SourceChanged(
        f"the source has changed since it was migrated, and the target does not hold what it holds now: {description}",
        next_step="Find out who still writes to the old database. If what has changed there is not needed, run with "
        "--if-source-changed ignore. If it is, run with --refresh, which brings only what has changed, or with "
        "--restart, which empties the target's tables and brings all rows anew. Both are refused where the application "
        "has written to the target.",
        changes=file_changes,
        tables=[change.facts() for change in table_changes],
    )


async def _changes(
    settings: Settings, run: RunLedger, migrated: _Migrated
) -> tuple[SourceIdentity, list[str], list["TableChange"]]:
    """
    Return the source's identity, the differences of its file, and the tables that hold other rows.

    Raises TargetRefused if the ledger can distinguish sources only by path, and the path is another one.
    """
    async with open_source(settings) as source, source.pinned():
        origin = await identity_of(settings.source_path.absolute(), source)
        file_changes = history.changes_of_file(run.migration, migrated.known, migrated.source, origin)
        if not file_changes or settings.if_source_changed == "ignore":
            return origin, file_changes, []
        # Imported only when rows have to be read: a run with nothing left to do ends without loading the drivers.
        from migrator.job.source_changes import Reading, changes_of, new_tables  # noqa: PLC0415
        from migrator.planning.skipped import with_bookkeeping  # noqa: PLC0415
        from migrator.selection import recorded  # noqa: PLC0415
        from migrator.selection.conditions import under_conditions  # noqa: PLC0415
        from migrator.selection.left_behind import without_orphans  # noqa: PLC0415

        # The rules for rows are those of the ledger, which are the present ones (`_refuse_other_settings`).
        conditions = {
            table.terms.source: table.terms.where for table in migrated.tables.values() if table.terms.where is not None
        }
        rules = _rules(settings) or Rules.load(None, settings.exclude)
        # A bookkeeping table that wasn't carried isn't new: an earlier version never carried any.
        carried_tables = {table.terms.source for table in migrated.tables.values()}
        described = with_bookkeeping(
            await source.describe(), lambda name: name in carried_tables or rules.carries(name)
        )
        contents = await under_conditions(source, described, conditions)
        async with run.target.connect() as connection:
            references = (await recorded.read(connection, run.migration)).references
        contents = await asyncio.to_thread(without_orphans, source, contents, references)
        reading = Reading(source, contents, rules, settings.jobs, settings.batch_bytes)
        known = {table.terms.source for table in migrated.tables.values()} | {*migrated.left_out}
        new = [
            table.name
            for table in contents.tables
            if table.name not in known and not rules.of_table(table.name).exclude
        ]
        return (
            origin,
            file_changes,
            [
                *await changes_of(reading, list(migrated.tables.values())),
                *(await new_tables(reading, new) if migrated.tables else ()),
            ],
        )


def _in_words(changes: list["TableChange"]) -> str:
    from migrator.job.source_changes import in_words  # noqa: PLC0415 - already loaded

    return in_words(changes)


async def _upgrade(settings: Settings, run: RunLedger, runner: StageRunner, obstacles: Obstacles) -> list[str]:
    """Upgrade the application's schema to its newest revision if the scripts know its present one; return warnings."""
    if obstacles.configuration:
        return [unseen("the configuration", obstacles.configuration)]
    if settings.schema_mode != "alembic":
        return []
    from migrator.schema.alembic import alembic_project  # noqa: PLC0415 - other modes don't need Alembic

    project = alembic_project(settings.alembic_config)
    try:
        unknown = await project.strange_revisions(run.target)
    except Exception as error:
        if is_transient(error):
            raise
        return [unseen("the schema's revision", error)]
    if unknown:
        reason = f"the database is at Alembic revision {', '.join(unknown)}, which {str(project.ini)!r} doesn't know"
        log.warning(Event.WARNING_UNSEEN, what="the schema's revision", reason=reason)
        return [f"WARNING: {reason}: it is left as the application has it"]
    await runner("upgrade", lambda: upgrade_schema(settings, run.target))
    return []


def unseen(what: str, error: Exception) -> str:
    """Log that ``what`` could not be checked because of ``error``, and return that as a warning for the report."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    log.warning(Event.WARNING_UNSEEN, what=what, reason=reason)
    return f"WARNING: {what} could not be looked at: {reason}"
