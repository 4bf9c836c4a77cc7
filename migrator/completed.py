"""
A run that finds its migration complete: what it looks at, and what stands in nobody's way any more.

The rows may be the application's by now, and nothing is copied. Left in place the job starts again with each release
of the application, when the source may be archived and the schema ahead of the image's scripts. What can't be looked
at then is a warning; what can be, and says that rows are missing, is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from migrator import carried, history, identity, ledger
from migrator.carried import Carried
from migrator.decisions import terms_under
from migrator.errors import MigratorError, SourceChanged, SourceUnreadable, TargetRefused
from migrator.events import Event
from migrator.identity import SourceIdentity, identity_of
from migrator.names import TableName
from migrator.report import Report
from migrator.retry import is_transient
from migrator.rules import Rules
from migrator.run_ledger import RunLedger
from migrator.runner import Runner
from migrator.settings import Settings
from migrator.source_file import Fingerprint, stamp
from migrator.stages.schema import alembic_project
from migrator.steps import Obstacles, open_source, upgrade_schema

if TYPE_CHECKING:
    from migrator.source_changes import TableChange

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Migrated:
    """What the ledger knows of a migration that is complete."""

    source: Fingerprint
    tables: Mapping[TableName, Carried]
    left_out: tuple[str, ...]
    """Tables of the source that the operator had excluded."""
    ready: bool


async def settle(settings: Settings, run: RunLedger, runner: Runner, obstacles: Obstacles) -> Report:
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
        *await _upgrade(settings, run, runner, obstacles),
    ]
    await history.make_ready(run.target, run.migration)
    done = "already migrated and verified: nothing to do"
    return Report(done, timings=tuple(runner.timings), notes=tuple(notes), migration=run.migration.name)


async def _migrated(run: RunLedger) -> _Migrated:
    async with run.target.connect() as connection:
        return _Migrated(
            Fingerprint(**await ledger.recall(connection, run.migration, ledger.SOURCE)),
            await carried.read(connection, run.migration),
            tuple(await ledger.recall(connection, run.migration, ledger.LEFT_OUT) or ()),
            bool(await ledger.recall(connection, run.migration, ledger.READY)),
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
            next_step="Give the settings that it was completed under. To bring the rows under the new ones, run with "
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
        origin, words, tables = await _changes(settings, migrated)
    except (SourceUnreadable, OSError) as error:
        return [unseen("the source", error)]
    if not words:
        if not told_apart:
            await _refuse_another(run, origin, certain=True)
            await history.remember_source(run, origin.fingerprint)
        return []
    if settings.if_source_changed == "ignore" or tables or not migrated.tables:
        await _refuse_another(run, origin, certain=settings.if_source_changed != "ignore")
    log.warning(Event.SOURCE_CHANGED, changes=words)
    if settings.if_source_changed == "ignore":
        changed = f"the source has changed since it was migrated ({', '.join(words)})"
        return [f"WARNING: {changed}; nothing was compared, and nothing copied"]
    if migrated.tables and not tables:  # by VACUUM, a checkpoint, a new index, another copy of the file
        await history.remember_source(run, origin.fingerprint)
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


async def _refuse_another(run: RunLedger, origin: SourceIdentity, *, certain: bool) -> None:
    """Raise TargetRefused if the source is another one; by its tables alone unless it is ``certain``."""
    async with run.target.connect() as connection:
        known = await identity.recall(connection, run.migration)
    if known is not None and identity.is_another(known, origin, certain=certain):
        raise identity.refusal(run.migration, known, origin)


async def _changes(settings: Settings, migrated: _Migrated) -> tuple[SourceIdentity, list[str], list["TableChange"]]:
    """Return what source it is, what it has different, and which tables hold something else for that."""
    async with open_source(settings) as source, source.pinned():
        origin = await identity_of(settings.source_path.absolute(), source)
        words = migrated.source.differences(origin.fingerprint)
        if not words or settings.if_source_changed == "ignore":
            return origin, words, []
        # Not before somebody has to read the rows: a run with nothing left to do is over before the drivers are loaded.
        from migrator.source_changes import Reading, changes_of, new_tables  # noqa: PLC0415

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
    from migrator.source_changes import in_words  # noqa: PLC0415 - loaded by now

    return in_words(changes)


async def _upgrade(settings: Settings, run: RunLedger, runner: Runner, obstacles: Obstacles) -> list[str]:
    """Go on to the newest revision of the application's schema where the scripts know the way; return warnings."""
    if obstacles.configuration:
        return [unseen("the configuration", obstacles.configuration)]
    if settings.schema_mode != "alembic":
        return []
    project = alembic_project(settings)
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
