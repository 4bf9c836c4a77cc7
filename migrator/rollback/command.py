"""
Runs ``migrator rollback``: writes a new SQLite file that has the old file's schema and PostgreSQL's present rows.

The new file begins as a copy of the old one. All sessions read one snapshot of PostgreSQL. What differs is brought into
the copy, in the form in which the old file stores such values. Then every value of the copy is compared with
PostgreSQL's, by the code that compares them after a migration, and every row that nobody has changed with the old
file's. Only then the file gets its name. Nothing is written in PostgreSQL.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, TypeVar

import structlog
from msgspec import Struct

from migrator.catalog.sequences import feeds_of
from migrator.config.settings import Settings
from migrator.errors import ConfigurationError, Mismatch, NoMatch
from migrator.job.check import migration_of
from migrator.job.context import context_of, open_databases, runner_of, wait_for
from migrator.job.plan import describe_target, plan_of, reading_of, refuse_nothing
from migrator.monitoring.tracker import Tracker
from migrator.planning.plan import Plan
from migrator.preflight.version_tables import differing_versions
from migrator.reports.rollback_report import RollbackReport, RolledBackTable
from migrator.rollback.changes import StagedTable
from migrator.rollback.moment import Moment, at_one_moment
from migrator.rollback.new_file import Beside, apply, broken_keys, check, check_new, unfinished, without_selection
from migrator.rollback.one_sided import refuse_one_sided
from migrator.rollback.proof import altered_rows
from migrator.rollback.scratch import scratch_folder
from migrator.rollback.table_changes import changes_since, compare_new_file
from migrator.runtime.stage_runner import StageRunner
from migrator.runtime.wording import counted
from migrator.selection.selected_plan import Selecting, select_to_look
from migrator.sessions.address import TargetAddress
from migrator.source.database import Source
from migrator.source.schema import SourceDatabase
from migrator.stages.context import StageContext
from migrator.target.database import Target
from migrator.verification.compare_table import TableResult

log = structlog.get_logger()

T = TypeVar("T")


async def rollback(settings: Settings, tracker: Tracker) -> RollbackReport:
    """
    Write the file ``settings.to`` like the old file ``settings.like``, with PostgreSQL's present rows; return a report.

    Without ``settings.like`` the old file is the source.

    Raises ConfigurationError if the new file can't be written, NoMatch for what only PostgreSQL has, TargetRefused for
    rows that the old schema refuses, SourceUnreadable, and Mismatch if the new file isn't what it has to be; then no
    file has the new name.
    """
    old = settings.like if settings.like is not None else settings.source_url
    if old is None or settings.to is None:
        missing = [flag for flag, value in (("--like", old), ("--to", settings.to)) if value is None]
        raise ConfigurationError(
            f"rollback needs {' and '.join(missing)}",
            next_step="Give the file from before the migration and the new file, as in "
            "`migrator rollback --like OLD.db --to NEW.db`.",
        )
    new = settings.to.absolute()
    settings = settings.model_copy(update={"source_url": old})
    check_new(settings.source_path, new)
    async with open_databases(settings) as (source, target):
        runner = runner_of(settings, target, tracker)
        await runner("wait", lambda: wait_for(target, settings, tracker, to_write=False))
        job = _Job(settings, source, target, runner)
        return await at_one_moment(target, runner, lambda moment: _written(job, moment, new))


class _Job(Struct, frozen=True):
    settings: Settings
    source: Source
    target: Target
    runner: StageRunner


async def _written(job: _Job, moment: Moment, new: Path) -> RollbackReport:
    """Write the new file with PostgreSQL's rows of one moment, prove it, and return the report."""
    settings = job.settings
    plan, notes, over = await moment.during(lambda: _planned(settings, job.source, job.target))
    context = context_of(settings, job.source, job.target, plan, job.runner.tracker)
    marks = await moment.during(lambda: _marks(job.target, plan))

    async def stage(name: str, work: Callable[[], Awaitable[T]]) -> T:
        return await job.runner(name, lambda: moment.during(work))

    old = job.source.path  # with --snapshot, the copy: the file itself may be one that SQLite can't open in place
    with scratch_folder() as folder, unfinished(old, new) as path:
        paths = (path, old, folder)
        changes = await stage("compare", lambda: changes_since(context, moment.address, paths[2]))
        beside = Beside(marks, over)
        notes += await stage("bring", lambda: asyncio.to_thread(_bring, paths, changes, beside))
        await stage("verify", lambda: _prove(context, moment.address, paths, changes))
        notes += (*_without_way_back(changes), *_broken_keys(path, old))
    return _report(new, changes, notes)


async def _planned(
    settings: Settings, source: Source, target: Target
) -> tuple[Plan, tuple[str, ...], Mapping[str, str]]:
    """
    Return the plan, notes, and the table that each full-text index with its own text indexes.

    Raises NoMatch if either side has what the other has no place for, or other versions.
    """
    # What is excluded by a name that only PostgreSQL has isn't for the plan, which knows the source's names.
    described = await source.describe()
    names = _names(described)
    over = {skipped.name: skipped.over for skipped in described.skipped if skipped.over}
    ours = [given for given in settings.exclude if any(_fits(given, name) for name in names)]
    theirs = tuple(settings.exclude)
    settings = settings.model_copy(update={"exclude": tuple(ours)})
    reading = await reading_of(settings, source)
    contents = reading.contents
    refuse_nothing(settings, source, contents)
    await _refuse_other_versions(settings, source, contents, target)
    plan = await plan_of(settings, contents, target)
    migration = await migration_of(target, settings)
    plan = await select_to_look(Selecting(source, plan, reading.rules, {}), target, migration)
    existing = await describe_target(target, settings)
    async with target.connect() as connection:
        await refuse_one_sided(connection, plan, existing, theirs)
    kept = [skipped for skipped in plan.skipped if skipped.rows and skipped.name not in over]
    notes = [f"{skipped.name} is as in the old file: {skipped.reason}" for skipped in kept]
    return plan, tuple(notes), over


def _names(contents: SourceDatabase) -> list[str]:
    columns = [f"{table.name}.{column.name}" for table in contents.all_tables for column in table.columns]
    others = [skipped.name for skipped in contents.skipped]
    return [*(table.name for table in contents.all_tables), *others, *columns]


def _fits(given: str, name: str) -> bool:
    return fnmatchcase(name.casefold(), given.casefold())


async def _refuse_other_versions(settings: Settings, source: Source, contents: SourceDatabase, target: Target) -> None:
    differing = await differing_versions(source, contents, target, await describe_target(target, settings))
    if differing:
        raise NoMatch(
            "PostgreSQL and the old file are at different versions of the application's schema: "
            + "; ".join(entry.line() for entry in differing),
            next_step="Bring a copy of the old file to PostgreSQL's version with the application's own migrations, and "
            "give the copy as --like.",
            tables=[entry.table for entry in differing],
        )


async def _marks(target: Target, plan: Plan) -> Mapping[str, int]:
    """Return the highest values that PostgreSQL's sequences have given to the rowid aliases, by the source's table."""
    marks: dict[str, int] = {}
    async with target.connect() as connection:
        feeds = await feeds_of(connection, [table.name for table in plan.tables], plan.sequence_rules)
        for table in plan.tables:
            alias = table.source.rowid_alias
            keys = {column.target.name for column in table.columns if alias is not None and column.source == alias}
            for owned in feeds.by_table.get(table.name, ()):
                if owned.column in keys:
                    # Not by pg_sequence_last_value, which is NULL without a right since PostgreSQL 17.
                    last = await connection.exec_driver_sql(f"SELECT last_value FROM {owned.sequence} WHERE is_called")
                    marks[table.source.name] = max(last.scalar() or 0, marks.get(table.source.name, 0))
    return marks


Paths = tuple[Path, Path, Path]
"""The unfinished file, the old file, and the folder of the scratch databases."""


def _bring(paths: Paths, changes: Sequence[StagedTable], beside: Beside) -> tuple[str, ...]:
    path, old, scratch = paths
    changed = [table for table in changes if not table.is_unchanged]
    notes = apply(path, old, scratch, changed, beside)
    check(path)
    return notes if changed else ()


async def _prove(context: StageContext, address: TargetAddress, paths: Paths, changes: Sequence[StagedTable]) -> None:
    """Compare every value of the new file with PostgreSQL's, and unchanged rows with the old file; raises Mismatch."""
    results = await compare_new_file(context, address, paths[0])
    differing = [result for result in results if not result.equal]
    if differing:
        raise Mismatch(
            "the new file doesn't hold PostgreSQL's values, and was removed: "
            + "; ".join(result.difference() for result in differing),
            next_step=_step_after(differing, context.plan),
            tables=[str(result.table) for result in differing],
            differences=[result.facts() for result in differing],
        )
    await asyncio.to_thread(_refuse_altered, paths, changes)


def _step_after(differing: Sequence[TableResult], plan: Plan) -> str:
    names = {result.table for result in differing}
    selected = [table.source.name for table in plan.tables if table.name in names and table.source.condition]
    if selected:  # a row that the rules would leave behind now was written in PostgreSQL
        return without_selection(*selected)
    return (
        "Leave these columns as they are in the old file with --exclude, if that is right: a rule may have changed "
        "their values on the way out without a way back."
    )


def _refuse_altered(paths: Paths, changes: Sequence[StagedTable]) -> None:
    altered = altered_rows(*paths, changes)
    if altered:
        named = ", ".join(f"{table} ({rows})" for table, rows in altered.items())
        raise Mismatch(
            f"rows that nobody has changed are not in the new file as they were, and it was removed: {named}",
            next_step="Report this with the schema of these tables; the old file and PostgreSQL are as they were.",
            tables=list(altered),
        )


_ONE_WAY: Final = ("round", "truncate", "nul_bytes", "invalid_utf8", "duplicate_keys", "expression")
"""The rules by which several values of the source become one of the target."""


def _without_way_back(changes: Sequence[StagedTable]) -> tuple[str, ...]:
    """Return a note about each column whose rule can't be taken back, if rows of its table have changed."""
    return tuple(
        f"{table.plan.source.name}.{column.source.name}: new values are as PostgreSQL has them; the rule "
        f"{column.rule.words()} of the way out has no way back"
        for table in changes
        if table.changed or table.added
        for column in table.plan.compared
        if column.rule.model_fields_set.intersection(_ONE_WAY)
    )


def _broken_keys(path: Path, old: Path) -> tuple[str, ...]:
    new_keys = broken_keys(path)
    old_keys = broken_keys(old) if new_keys else {}
    return tuple(
        f"WARNING: {counted(rows, 'row')} of {table} {'refers' if rows == 1 else 'refer'} to rows that don't exist, "
        f"as in {'the old file' if rows == old_keys.get(table) else 'PostgreSQL or the old file'}"
        for table, rows in new_keys.items()
    )


def _report(new: Path, changes: Sequence[StagedTable], notes: tuple[str, ...]) -> RollbackReport:
    tables = tuple(
        RolledBackTable(table.plan.source.name, table.unchanged, table.changed, table.added, table.deleted)
        for table in changes
    )
    rows = sum(table.unchanged + table.changed + table.added for table in tables)
    forms = {table.plan.source.name: table.forms for table in changes if not table.is_unchanged}
    told = [(table, form) for table, of_table in forms.items() for form in of_table]
    return RollbackReport(
        f"rolled back: {str(new)!r} holds every value of PostgreSQL "
        f"({counted(len(tables), 'table')}, {counted(rows, 'row')})",
        str(new),
        tables,
        {table: tuple(form.line(table) for form in of_table) for table, of_table in forms.items()},
        tuple(form.line(table) for table, form in told if form.is_doubtful),
        notes,
    )
