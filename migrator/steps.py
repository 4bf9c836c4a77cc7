"""
What the job and the smaller commands have in common: both ends opened, and stages called with what the settings say.

Every function here takes settings and ends, and leaves the order of things to ``job.py``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar
from uuid import UUID, uuid4

import structlog
from tenacity import AsyncRetrying

from migrator import history, ledger, loads
from migrator.contents import SourceDatabase
from migrator.errors import ConfigurationError, MigratorError, SourceChanged, ValuesRefused
from migrator.events import Event
from migrator.examples import Showing
from migrator.findings import Finding, Profile
from migrator.handover import Handover
from migrator.names import TableName
from migrator.plan import Plan, make_plan
from migrator.progress import Progress
from migrator.report import Report, TableLine
from migrator.retry import patience
from migrator.rules import Rules
from migrator.runner import Runner
from migrator.settings import Settings
from migrator.snapshot import snapshot_of
from migrator.source import Source
from migrator.source_file import Fingerprint, check_file
from migrator.stages.init_sql import InitNames, init_sql
from migrator.stages.lock import Lock, lock
from migrator.stages.preflight import (
    Allowed,
    preflight,
    refuse,
)
from migrator.stages.reset import reset as empty
from migrator.stages.restore import restore
from migrator.stages.schema import alembic_project
from migrator.stages.upgrade import upgrade
from migrator.stages.verify import NOTHING_KNOWN
from migrator.stages.verify import verify as compare
from migrator.stages.wait import ServerFacts, wait
from migrator.survey import Survey
from migrator.target import Target, TargetDatabase
from migrator.verdict import Verdict
from migrator.watchdog import give_up_all

log = structlog.get_logger()
T = TypeVar("T")


@asynccontextmanager
async def open_ends(settings: Settings) -> AsyncIterator[tuple[Source, Target]]:
    """Open both ends; the source is looked at before the target is waited for."""
    address = settings.target
    check_file(settings.source_path)
    async with AsyncExitStack() as ends:
        ends.callback(give_up_all)  # no thread may be left to wait for a server
        target = Target(address)
        ends.push_async_callback(target.close)
        if settings.snapshot:
            yield await ends.enter_async_context(snapshot_of(settings.source_path)), target
            return
        source = Source(settings.source_path)
        ends.push_async_callback(source.close)
        yield source, target


@asynccontextmanager
async def held_target(settings: Settings, runner: Runner) -> AsyncIterator[Target]:
    """Open the target alone, and hold its lock."""
    target = Target(settings.target)
    try:
        await runner("wait", lambda: wait_for(target, settings))
        async with AsyncExitStack() as held:
            await runner("lock", lambda: held.enter_async_context(lock_of(target, settings)))
            yield target
    finally:
        await target.close()


def lock_of(target: Target, settings: Settings) -> AbstractAsyncContextManager[Lock]:
    """Return the target's lock, to be held while the block runs; as long is waited for it as the settings say."""
    return lock(target, settings.lock_timeout_seconds)


async def start_over(settings: Settings, target: Target, runner: Runner, run_id: UUID) -> int:
    """Empty what was loaded, then bring back what was parked: in that order, since empty tables fit every key."""
    emptied = await runner("reset", lambda: empty(target, run_id, force=settings.force))
    await runner("restore", lambda: restore_parked(target, settings.jobs, run_id))
    return emptied


async def restore_parked(target: Target, jobs: int, run_id: UUID) -> int:
    """Bring back what the ledger has as parked, if there is a ledger; return how many entries that were."""
    async with target.transaction() as connection:
        if not await ledger.exists(connection):
            return 0
        await ledger.take_over(connection, run_id)
    return await restore(target, jobs, run_id)


def runner_of(settings: Settings) -> Runner:
    """Return a runner of stages that retries as often as the settings allow."""

    def policy(stage: str) -> AsyncRetrying:
        # Bounded by count alone: a copy may have run for hours before the connection that it loses.
        return patience(
            stage,
            seconds=float("inf"),
            attempts=settings.retry_attempts,
            longest_pause=settings.retry_max_pause_seconds,
        )

    return Runner(policy)


def check_configuration(settings: Settings) -> None:
    """Raise ConfigurationError for what would only be noticed after waiting."""
    Rules.load(settings.rules, settings.exclude)
    if settings.schema_mode == "alembic":
        alembic_project(settings).head()
    if settings.init_sql is not None and not settings.init_sql.is_file():
        raise ConfigurationError(
            f"there is no init SQL at {str(settings.init_sql)!r}", next_step="correct MIGRATOR_INIT_SQL, or unset it"
        )


async def wait_for(target: Target, settings: Settings, *, to_write: bool = True) -> ServerFacts:
    """Wait for the server as long as the settings allow; a replica will do unless the caller is going to write."""
    policy = patience(
        "wait", seconds=settings.wait_timeout_seconds, longest_pause=min(2, settings.retry_max_pause_seconds)
    )
    return await wait(target.address, policy, to_write=to_write)


async def run_init_sql(target: Target, settings: Settings) -> None:
    """Run the init SQL, if one is set; what the server warns about is logged."""
    if settings.init_sql is None:
        log.info(Event.STAGE_SKIPPED, reason="no init SQL is set")
        return
    script = settings.init_sql.read_text(encoding="utf-8")
    async with target.driver() as connection:
        await init_sql(
            connection,
            script,
            InitNames(settings.init_schema, settings.init_role),
            require_extensions=settings.require_extensions,
            on_warning=lambda message: log.warning(Event.WARNING_SERVER, message=message),
        )


async def plan_of(settings: Settings, contents: SourceDatabase, target: Target) -> Plan:
    """Pair both ends under the operator's rules; raises what ``make_plan`` raises."""
    return make_plan(contents, await describe_target(target, settings), Rules.load(settings.rules, settings.exclude))


async def describe_target(target: Target, settings: Settings) -> TargetDatabase:
    """Return the tables of the application's schema."""
    async with target.connect() as connection:
        name = await target.schema_of_application(connection, settings.target_schema)
        return await target.describe(connection, name)


Intact = Callable[[], Awaitable[None]]
"""Tells whether the source's file is damaged."""


async def look_before(  # noqa: PLR0913, PLR0917 - both ends, the plan, and how to go about it
    settings: Settings, source: Source, target: Target, plan: Plan, progress: Progress, intact: Intact
) -> dict[TableName, Survey]:
    """Call preflight with what the ledger knows to be in the target; ``intact`` tells whether the file is damaged."""
    return await preflight(
        source,
        target,
        plan,
        await known_rows(target),
        jobs=settings.jobs,
        batch_bytes=settings.batch_bytes,
        chunk_bytes=settings.chunk_bytes,
        showing=Showing(settings.examples, settings.mask_values),
        progress=progress,
        intact=intact,
    )


async def known_rows(target: Target) -> Allowed:
    """Return what the ledger knows to be in the target."""
    async with target.connect() as connection:
        if not await ledger.exists(connection):
            return Allowed(frozenset(), {})
        begun = {name: so_far.brought.rows for name, so_far in (await loads.begun(connection)).items()}
        return Allowed(frozenset(await loads.copied(connection)), await loads.seeded_rows(connection) | begun)


async def compare_all(  # noqa: PLR0913, PLR0917 - both ends, the plan, and how to go about it
    settings: Settings,
    source: Source,
    target: Target,
    plan: Plan,
    progress: Progress,
    surveys: Mapping[TableName, Survey] = NOTHING_KNOWN,
    *,
    hands: asyncio.Semaphore | None = None,
    ready: Handover[TableName] | None = None,
    note: UUID | None = None,
) -> list[Verdict]:
    """Call verify with what the settings say; ``note`` is the run that may write of it."""
    return await compare(
        source,
        target,
        plan,
        jobs=settings.jobs,
        batch_bytes=settings.batch_bytes,
        chunk_bytes=settings.chunk_bytes,
        hands=hands,
        ready=ready,
        showing=Showing(settings.examples, settings.mask_values),
        progress=progress,
        surveys=surveys,
        file=settings.differences,
        note=note,
    )


@asynccontextmanager
async def beside(work: Coroutine[object, object, T]) -> AsyncIterator["asyncio.Task[T]"]:
    """Have work done while the block runs, and give the task that does it; at the block's end it is cancelled."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def refusal_of(findings: list[Finding]) -> MigratorError | None:
    """Return the error that the findings amount to, or None."""
    try:
        refuse(findings)
    except ValuesRefused as error:
        return error
    return None


def tell_skipped(plan: Plan) -> None:
    """Log what is left out, a line each."""
    for skipped in plan.skipped:
        log.info(Event.TABLE_SKIPPED, table=skipped.name, reason=skipped.reason)


async def nothing_left(
    settings: Settings, target: Target, runner: Runner, migrated: Fingerprint, now: Fingerprint
) -> Report:
    """Leave the rows alone, which may be the application's by now; only newer migrations are applied."""
    notes: list[str] = []
    if changes := migrated.differences(now):
        log.warning(Event.SOURCE_CHANGED, changes=changes)
        notes.append(
            f"WARNING: the source has changed since it was migrated ({', '.join(changes)}); nothing was copied"
        )
        if settings.if_source_changed == "fail":
            raise SourceChanged(
                f"the source has changed since it was migrated: {', '.join(changes)}",
                next_step="find out who still writes to the old database: its new rows are not in the target",
                changes=changes,
            )
    if settings.schema_mode == "alembic":
        await runner("upgrade", lambda: upgrade(target, alembic_project(settings)))
    await history.make_ready(target)
    return Report("already migrated and verified: nothing to do", timings=tuple(runner.timings), notes=tuple(notes))


async def report_of(target: Target, plan: Plan, verdicts: list[Verdict], runner: Runner, headline: str) -> Report:
    """Return the report on verified tables."""
    async with target.connect() as connection:
        copied = await loads.copied(connection) if await ledger.exists(connection) else {}
    lines = tuple(
        TableLine(
            str(verdict.table),
            verdict.source.rows,
            verdict.target.rows,
            copied[verdict.table].bytes if verdict.table in copied else None,
            verified=verdict.equal,
            copy_seconds=round(copied[verdict.table].seconds, 3) if verdict.table in copied else None,
            verify_seconds=round(verdict.seconds, 3),
        )
        for verdict in verdicts
    )
    rows = sum(line.source_rows for line in lines)
    return Report(f"{headline} ({len(lines)} tables, {rows:,} rows)", lines, plan.skipped, tuple(runner.timings))


def what_was_decided(plan: Plan, profiles: Iterable[Profile]) -> tuple[str, ...]:
    """Return what rules, and the one assumption, made of values, and what else is worth knowing, of loaded tables."""
    profiles = list(profiles)
    in_utc = [
        f"{table.source.name}.{column.source.name}"
        for table in plan.tables
        for column in table.columns
        if column.target.type_name == "timestamptz" and column.rule.timezone is None
    ]
    assumed = (f"text without an offset was read as UTC in: {', '.join(in_utc)}",) if in_utc else ()
    return (
        *(change.line() for profile in profiles for change in profile.changes),
        *assumed,
        *(f"WARNING: {remark.line()}" for profile in profiles for remark in profile.remarks),
    )


def run_id_of_log() -> UUID:
    """Return the id that the log's lines carry."""
    known = structlog.contextvars.get_contextvars().get("run_id")
    return UUID(known) if known else uuid4()
