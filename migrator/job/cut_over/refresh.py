"""
Runs the stage ``refresh`` in place of ``preflight``: brings the target to the source's present rows.

Everything is decided before anything changes: which tables of the source differ from the ledger, whether the target is
as the last run left it, and whether every value can be carried. Then one transaction writes the changed rows, empties
the tables that are loaded anew, and says in the ledger that the migration isn't complete. From there on any run
finishes it by the usual stages.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack

from msgspec import Struct, field
from msgspec.structs import asdict, replace
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.constraints import judged_of
from migrator.catalog.keys import Keys
from migrator.config.settings import Settings
from migrator.errors import TargetRefused
from migrator.job.recorder import RunRecorder
from migrator.ledger import carried, history, kept, state
from migrator.ledger.carried import Carried, Terms
from migrator.ledger.history import SourceIdentity
from migrator.ledger.loads import KnownRows, known_rows
from migrator.ledger.parked import still_parked
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName
from migrator.planning.plan import TablePlan
from migrator.planning.rules import Rules
from migrator.preflight.table_check import TableCheck
from migrator.refresh.finding import find_changes
from migrator.refresh.locks import TO_WRITE, have_room, lock_tables, locked_to_read, neighbours
from migrator.refresh.pages import compared
from migrator.refresh.pages.compared import Compared
from migrator.refresh.pages.remember import remember_read
from migrator.refresh.read_back import NOTHING, analyze, read_back, to_read_back
from migrator.refresh.row_changes import RowChanges
from migrator.refresh.standing import refuse_touched, standing_of
from migrator.refresh.survey import RefreshContext, Stores, Surveyed, survey
from migrator.refresh.writing import Writing, write, write_lines
from migrator.reports.refresh_report import TableRefresh, Way
from migrator.runtime.retry import sqlstate_of
from migrator.stages.context import StageContext
from migrator.stages.preflight import preflight
from migrator.trials.unmade import Unmade
from migrator.verification.compare_table import TableResult
from migrator.verification.digest import Digest
from migrator.verification.recipe import recorded


class Refreshed(Struct, frozen=True):
    """What the stage has done, and what the stages after it need."""

    tables: tuple[TableRefresh, ...] = ()
    checks: Mapping[TableName, TableCheck] = field(default_factory=dict)
    """The checks of the tables whose rows have changed, and of those that the stage ``copy`` loads."""
    equal: Mapping[TableName, TableResult] = field(default_factory=dict)
    """Tables that are compared already, and that nobody writes to until the run has ended."""

    @property
    def written(self) -> frozenset[TableName]:
        """The tables whose changed rows are written."""
        return frozenset(entry.table for entry in self.tables if entry.way is Way.CHANGED)


class Refreshing(Struct, frozen=True):
    """What the stage needs besides its context."""

    refresh: RefreshContext
    stages: StageContext
    origin: SourceIdentity
    terms: Mapping[str, Terms]
    check_source_file: Callable[[], Awaitable[None]]
    untried: Sequence[str] = ()


def refresh_context(settings: Settings, run: RunLedger, stages: StageContext, rules: Rules) -> RefreshContext:
    """Return the context of a refresh of the tables that ``stages`` are about."""
    return RefreshContext(
        stages.source,
        run,
        stages.plan,
        rules,
        stages.limits,
        stages.tracker,
        settings.lock_timeout_seconds,
        changed_only=settings.compares_changed_only,
    )


async def refresh(recorder: RunRecorder, refreshing: Refreshing, held: AsyncExitStack) -> Refreshed:
    """
    Bring the tables that an earlier run has loaded to the source's present rows.

    Until ``held`` is closed, nobody writes to unchanged tables. Raises SourceUnreadable, RowsInTheWay if somebody has
    written to the target, and the errors of ``preflight``; then nothing was changed.
    """
    return await recorder.stage("refresh", lambda: _refresh(refreshing, held))


async def _refresh(refreshing: Refreshing, held: AsyncExitStack) -> Refreshed:
    context = refreshing.refresh
    with Stores.opened() as stores:
        tables = await survey(context, stores)
        try:
            return await _locked(refreshing, stores, tables, held)
        except Exception as error:
            if not (sqlstate_of(error) or "").startswith(_VIOLATION):
                raise
            # The server has refused rows that passed by themselves: another table's rows decide.
            await _judge(refreshing, context.plan.tables, await _known(context, tables))
            raise


async def look(refreshing: Refreshing) -> tuple[TableRefresh, ...]:
    """
    Return what ``refresh`` would do. Reads both databases, locks nothing, and writes nothing that lasts.

    Raises what ``refresh`` would raise before it writes.
    """
    context = refreshing.refresh
    with Stores.opened() as stores:
        tables = await survey(context, stores)
        standing = await standing_of(context, stores.rows, tables)
        refuse_touched(standing.touched)
        writing, tables = await find_changes(context, stores.rows, standing.without_doubt(tables))
    async with context.target.connect() as connection:
        await _refuse_merged(connection, writing)
        near = await neighbours(connection, [table.name for table in tables if table.way is not Way.UNCHANGED])
    await _judge(refreshing, _to_judge(tables, near), await _known(context, tables))
    return _results(tables, writing)


_VIOLATION = "23"
"""The class of SQLSTATE for a row that a constraint refuses."""


async def _locked(
    refreshing: Refreshing, stores: Stores, tables: Sequence[Surveyed], held: AsyncExitStack
) -> Refreshed:
    """Lock the target's tables, and decide and write what has changed."""
    context = refreshing.refresh
    changed = [table for table in tables if table.way in {Way.CHANGED, Way.LOADED_ANEW}]
    async with AsyncExitStack() as attempt:
        async with context.run.transaction() as connection:
            names = [table.name for table in changed]
            # One that no run has compared since it was written has to be analyzed yet, which this lock would stop.
            names += [table.name for table in tables if table.way is Way.UNCHANGED and not table.was_compared]
            near = await neighbours(connection, [table.name for table in tables if table.way is not Way.UNCHANGED])
            others = [table.name for table in tables if table.way is Way.UNCHANGED]
            others = [name for name in others if name not in {*names, *near}]
            # Keys that an earlier run has parked are restored after this, in tables that the catalogs don't tell.
            is_whole = not await still_parked(connection, context.run.migration)
            apart = others if is_whole and await have_room(connection, others) else []
            await lock_tables(connection, {*names, *near}, TO_WRITE, context.lock_seconds)
            await attempt.enter_async_context(locked_to_read(context.target, apart, context.lock_seconds))
            standing = await standing_of(context, stores.rows, tables)
            refuse_touched(standing.touched)
            writing, tables = await find_changes(context, stores.rows, standing.without_doubt(tables))
            await _refuse_merged(connection, writing)
            judged = await _judged(refreshing, tables, writing, near)
            writing = replace(writing, checks=judged)
            written = await to_read_back(connection, tables, writing, standing) if is_whole else NOTHING
            if writing.tables:
                stats = await write(context, connection, writing)
                await write_lines(context, connection, writing, stats)
                await analyze(connection, written.changes)
            await _write_facts(refreshing, connection, tables, writing)
            await remember_read(connection, context.run.migration, stores.pages, _compared_by_pages(tables, writing))
        if set(apart) <= standing.equal.keys():
            held.push_async_exit(attempt.pop_all())
        else:  # those that are not are analyzed and compared like changed ones, and so they all are
            apart = []
    equal = {name: result for name, result in standing.equal.items() if name in apart}
    equal |= await read_back(context, written.without(equal), held)
    compared = {change.table.name: change.digest for change in writing.changes}
    whole = {
        table.name: replace(table.check, known_digest=compared[table.name])
        for table in tables
        if table.name in compared
    }
    return Refreshed(_results(tables, writing), {**judged, **whole}, equal)


async def _refuse_merged(connection: AsyncConnection, writing: Writing) -> None:
    """Raise TargetRefused if rows that only the target holds would be lost with a table that is emptied."""
    merged = [str(name) for name in await kept.merged_conditions(connection) if name in writing.emptied]
    if merged:
        raise TargetRefused(
            f"most rows have changed in tables where rows of the target have stayed beside the source's (keep), so "
            f"these can't be emptied to be loaded anew: {', '.join(merged)}",
            next_step="Run with --restart, which copies all rows anew and keeps the target's own rows again.",
            tables=merged,
        )


async def _judged(
    refreshing: Refreshing, tables: Sequence[Surveyed], writing: Writing, near: Collection[TableName]
) -> dict[TableName, TableCheck]:
    """
    Check every row that is to be sent, before anything changes. Raises what ``preflight`` raises.

    If only single rows are sent, only these are read. Whether they fit the others (unique and foreign keys) is left to
    the server: it checks each in the transaction that writes them, and then all rows are judged (``_refresh``).
    """
    known = await _known(refreshing.refresh, tables)
    if any(table.way in {Way.NEW, Way.LOADED_ANEW} for table in tables):
        return await _judge(refreshing, _to_judge(tables, near), known)
    changes = [change for change in writing.changes if change.total]
    sent = [replace(change.table, source=writing.sent(change)) for change in changes]
    async with refreshing.refresh.target.connect() as connection:
        judged = await judged_of(connection, refreshing.refresh.plan.schema)
    alone = {
        name: replace(entry, constraints=tuple(each for each in entry.constraints if not each.spans_rows))
        for name, entry in judged.items()
    }
    by_server = Unmade(
        keys={table.name: Keys() for table in sent},
        judged={table.name: alone[table.name] for table in sent if table.name in alone},
    )
    return await _judge(refreshing, sent, known, by_server)


def _to_judge(tables: Sequence[Surveyed], near: Collection[TableName]) -> list[TablePlan]:
    """
    Return the tables whose rows have to be checked before anything changes.

    A foreign key between a table that is loaded by the usual way and an unchanged one is not checked before it is
    restored; so both are checked now.
    """
    loaded = [table for table in tables if table.way in {Way.NEW, Way.LOADED_ANEW}]
    both = bool(loaded) and bool(near)
    return [table.plan for table in tables if table.way is not Way.UNCHANGED or (both and table.name in near)]


async def _known(context: RefreshContext, tables: Sequence[Surveyed]) -> KnownRows:
    """Return the rows that may be in the target: those of the tables that somebody has not written to."""
    known = await known_rows(context.target, context.run.migration)
    present = {table.name: table.copied.rows for table in tables if table.copied}
    return KnownRows(frozenset(), {**known.seeded, **present}, known.begun)


async def _judge(
    refreshing: Refreshing, tables: Sequence[TablePlan], known: KnownRows, unmade: Unmade | None = None
) -> dict[TableName, TableCheck]:
    """Check the rows of the ``tables`` as before a copy, and return the checks. Raises what ``preflight`` raises."""
    if not tables:
        return {}
    stages = refreshing.stages
    context = replace(stages, plan=replace(stages.plan, tables=tuple(tables)))
    return await preflight(context, known, refreshing.check_source_file, refreshing.untried, unmade)


async def _write_facts(
    refreshing: Refreshing,
    connection: AsyncConnection,
    tables: Sequence[Surveyed],
    writing: Writing,
) -> None:
    """Write the source's present state into the ledger, and that the migration isn't complete if rows have changed."""
    migration = refreshing.refresh.run.migration
    if any(table.way is not Way.UNCHANGED for table in tables):
        await history.reopen(connection, migration)
    lines = {
        change.table.name: Carried(
            refreshing.terms[change.table.source.name],
            recorded(known.comparison, known.digest) if (known := change.digest) else None,
        )
        for change in writing.changes
    }
    await carried.write(connection, migration, lines)
    for table in tables:
        if table.pages_are_others:  # they are read again at the end of the run
            await compared.forget(connection, migration, table.name)
    await history.write_identity(connection, migration, refreshing.origin)
    await state.remember(connection, migration, state.SOURCE, asdict(refreshing.origin.fingerprint))


def _compared_by_pages(tables: Sequence[Surveyed], writing: Writing) -> dict[TableName, tuple[Compared, Digest]]:
    """Return what was known of changed tables whose pages were looked at, and the digests that they have now."""
    known = {table.name: table.doubt.known for table in tables if table.doubt}
    return {
        change.table.name: (known[change.table.name], change.digest.digest)
        for change in writing.changes
        if change.digest and change.table.name in known
    }


def _not_read(table: Surveyed, change: RowChanges | None) -> int:
    """Return for how many of the source's rows the comparison of an earlier run holds, so that they were not read."""
    rows = table.check.table_size.rows
    if table.doubt is None:
        return 0
    if table.is_unchanged:
        return rows
    return rows - change.read if change and change.read is not None else 0


def _results(tables: Sequence[Surveyed], writing: Writing) -> tuple[TableRefresh, ...]:
    changes = {change.table.name: change for change in writing.changes}
    results = []
    for table in tables:
        change = changes.get(table.name)
        results.append(
            TableRefresh(
                table.name,
                table.plan.source.name,
                table.way,
                table.check.table_size.rows,
                table.copied.rows if table.copied else None,
                change.inserted if change else 0,
                change.updated if change else 0,
                change.deleted if change else 0,
                table.reason if table.way is Way.LOADED_ANEW else "",
                change.seconds if change else 0.0,
                _not_read(table, change),
            )
        )
    return tuple(results)
