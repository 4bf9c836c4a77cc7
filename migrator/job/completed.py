"""
Decides what a run does that finds its migration complete.

The rows may be the application's by now, and nothing is copied. Left in place the job starts again with each release
of the application, when the source may be archived and the schema ahead of the image's scripts. What can't be looked
at then is a warning; what can be, and says that rows are missing, is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from migrator.config.settings import Settings
from migrator.errors import MigratorError, RowsInTheWay, SourceChanged, SourceUnreadable, TargetRefused
from migrator.events import Event
from migrator.job import lost_rows
from migrator.job.context import Obstacles, open_source, upgrade_schema
from migrator.job.reports import Report
from migrator.ledger import carried, history, loads, schema, state
from migrator.ledger.carried import Carried
from migrator.ledger.history import SourceIdentity, identity_of
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName
from migrator.planning.rules import Rules
from migrator.planning.table_terms import terms_under
from migrator.runtime.retry import is_transient
from migrator.runtime.stage_runner import StageRunner
from migrator.source.file import Fingerprint, stamp
from migrator.stages.reset import touched_since
from migrator.target.database import own_rows

if TYPE_CHECKING:
    from migrator.job.source_changes import TableChange

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Migrated:
    """What the ledger knows of a migration that is complete."""

    source: Fingerprint
    tables: Mapping[TableName, Carried]
    left_out: tuple[str, ...]
    """Tables of the source that the operator had excluded."""
    ready: bool
    known: SourceIdentity | None
    """As which source the ledger knows it; None where nothing of it is known."""


async def settle(settings: Settings, run: RunLedger, runner: StageRunner, obstacles: Obstacles) -> Report:
    """
    Leave the rows alone; apply newer migrations where the image's scripts know the database's revision.

    Raises SourceChanged if the source holds other rows by now, TargetRefused if the settings ask for others than were
    brought. What the ``obstacles`` hide is a warning; but until the schema has reached its newest revision once, the
    configuration must be right. Then it raises what is wrong with it.
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
    done = "already migrated and verified: nothing to do"
    return Report(done, timings=tuple(runner.timings), notes=tuple(notes), migration=run.migration.name)


async def rows_are_gone(run: RunLedger) -> bool:
    """
    Return whether rows of a complete migration are to be brought anew; then it counts as complete no longer.

    A crash of the server empties tables that are UNLOGGED, and until the application may start anybody's TRUNCATE is a
    loss too. Where somebody has written to other tables the application has taken over, and a loss is a warning. Before
    it may have, that raises RowsInTheWay.
    """
    async with run.target.transaction() as connection:
        ready = bool(await state.recall(connection, run.migration, state.READY))
        # The application's own migrations may empty a table, once they go on.
        only_unlogged = ready or await history.upgrade_has_begun(connection, run.migration)
        gone = await lost_rows.emptied(connection, run.migration, unlogged=only_unlogged)
        if not gone:
            return False
        listed = ", ".join(f"{name} ({rows} rows)" for name, rows in sorted(gone.items()))
        loaded = await loads.loaded(connection, run.migration)
        others = await own_rows(connection, [name for name in loaded if name not in gone])
        touched = await touched_since(connection, others, loaded)
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
    """Return a warning of each table that a crash has emptied and whose rows nobody brings anew."""
    if not migrated.ready:
        return []
    async with run.target.connect() as connection:
        found = await lost_rows.emptied(connection, run.migration)
    reason = "it is UNLOGGED and was emptied, and the application has taken over: it is left as it is"
    for name, rows in found.items():
        log.warning(Event.ROWS_LOST, table=str(name), rows=rows, reason=reason)
    return [f"WARNING: {name} has none of the {rows} rows that were brought: {reason}" for name, rows in found.items()]


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
    """Return the operator's rules; None where they can't be read, which is among the obstacles."""
    try:
        return Rules.load(settings.rules, settings.exclude)
    except MigratorError:
        return None


def _refuse_other_settings(settings: Settings, migrated: _Migrated, rules: Rules | None) -> None:
    """Raise TargetRefused if today's settings ask for rows, or for values, that were not brought."""
    schemas = {name.schema for name in migrated.tables}
    other = []
    if settings.target_schema is not None and schemas and settings.target_schema not in schemas:
        other.append(f"the target schema ({', '.join(sorted(schemas))} then, {settings.target_schema} now)")
    if rules is not None:
        wanted = [table for table in migrated.left_out if not rules.of_table(table).exclude]
        other += [f"table {table} (excluded then, and not now)" for table in wanted]
        for one in migrated.tables.values():
            if not rules.of_table(one.terms.source).exclude:
                other += one.terms.other_rules(terms_under(one.terms, rules), but_excluded=True)
    if other:
        raise TargetRefused(
            f"this migration was completed under other settings: {'; '.join(other)}",
            next_step="Give the settings that it was completed under. To copy the rows under the new ones, run with "
            "--restart, which empties the tables first and is refused where the application has written to them.",
            changes=other,
        )


async def _look_at_source(settings: Settings, run: RunLedger, migrated: _Migrated, obstacles: Obstacles) -> list[str]:
    """Return warnings. Raises SourceChanged if the source holds other rows than were brought."""
    if obstacles.source:
        return [unseen("the source", obstacles.source)]
    try:
        # An earlier version kept sizes and counters alone, which another file may share.
        told_apart = migrated.source.file is not None
        if told_apart and not migrated.source.stamp_differences(stamp(settings.source_path)):
            return []
        origin, words, tables = await _changes(settings, run, migrated)
    except (SourceUnreadable, OSError) as error:
        return [unseen("the source", error)]
    if not words:
        if not told_apart:
            await history.write_fingerprint(run, origin.fingerprint)
        return []
    if settings.if_source_changed == "ignore" or tables or not migrated.tables:
        certain = settings.if_source_changed != "ignore"
        history.refuse_another(run.migration, migrated.known, origin, certain=certain)
    log.warning(Event.SOURCE_CHANGED, changes=words)
    if settings.if_source_changed == "ignore":
        changed = f"the source has changed since it was migrated ({', '.join(words)})"
        return [f"WARNING: {changed}; nothing was compared, and nothing copied"]
    if migrated.tables and not tables:  # by VACUUM, a checkpoint, a new index, another copy of the file
        await history.write_fingerprint(run, origin.fingerprint)
        return []
    what = _in_words(tables) if tables else ", ".join(words)
    raise SourceChanged(
        f"the source has changed since it was migrated, and the target does not hold what it holds now: {what}",
        next_step="Find out who still writes to the old database. If what has changed there is not needed, run with "
        "--if-source-changed ignore. If it is, run with --restart, which empties the target's tables and brings all "
        "rows anew, and is refused where the application has written to them.",
        changes=words,
        tables=[change.facts() for change in tables],
    )


async def _changes(
    settings: Settings, run: RunLedger, migrated: _Migrated
) -> tuple[SourceIdentity, list[str], list["TableChange"]]:
    """
    Return what source it is, what it has different, and which tables hold something else for that.

    Raises TargetRefused for another source that nothing but its path tells apart.
    """
    async with open_source(settings) as source, source.pinned():
        origin = await identity_of(settings.source_path.absolute(), source)
        words = history.changes_of_file(run.migration, migrated.known, migrated.source, origin)
        if not words or settings.if_source_changed == "ignore":
            return origin, words, []
        # Not before somebody has to read the rows: a run with nothing left to do is over before the drivers are loaded.
        from migrator.job.source_changes import Reading, changes_of, new_tables  # noqa: PLC0415

        contents = await source.describe()
        rules = _rules(settings) or Rules.load(None, settings.exclude)
        reading = Reading(source, contents, rules, settings.jobs, settings.batch_bytes)
        known = {one.terms.source for one in migrated.tables.values()} | {*migrated.left_out}
        new = [t.name for t in contents.tables if t.name not in known and not rules.of_table(t.name).exclude]
        return (
            origin,
            words,
            [
                *await changes_of(reading, list(migrated.tables.values())),
                *(await new_tables(reading, new) if migrated.tables else ()),
            ],
        )


def _in_words(changes: list["TableChange"]) -> str:
    from migrator.job.source_changes import in_words  # noqa: PLC0415 - loaded by now

    return in_words(changes)


async def _upgrade(settings: Settings, run: RunLedger, runner: StageRunner, obstacles: Obstacles) -> list[str]:
    """Go on to the newest revision of the application's schema where the scripts know the way; return warnings."""
    if obstacles.configuration:
        return [unseen("the configuration", obstacles.configuration)]
    if settings.schema_mode != "alembic":
        return []
    from migrator.schema.alembic import alembic_project  # noqa: PLC0415 - other modes do without Alembic

    project = alembic_project(settings.alembic_config)
    try:
        strange = await project.strange_revisions(run.target)
    except Exception as error:
        if is_transient(error):
            raise
        return [unseen("the schema's revision", error)]
    if strange:
        reason = f"the database is at Alembic revision {', '.join(strange)}, which {str(project.ini)!r} doesn't know"
        log.warning(Event.WARNING_UNSEEN, what="the schema's revision", reason=reason)
        return [f"WARNING: {reason}: it is left as the application has it"]
    await runner("upgrade", lambda: upgrade_schema(settings, run.target))
    return []


def unseen(what: str, error: Exception) -> str:
    """Log that something couldn't be looked at, and return it as a warning of the report."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    log.warning(Event.WARNING_UNSEEN, what=what, reason=reason)
    return f"WARNING: {what} could not be looked at: {reason}"
