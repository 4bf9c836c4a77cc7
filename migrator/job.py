"""
The job: its stages in order, on one page, and the smaller commands that do a part of it.

    wait → lock → init_sql → schema → preflight → park → copy → restore → sequences → analyze → verify → upgrade

Values go from stage to stage by name. Whatever raises ends the run; the ledger knows how far it came.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import structlog
from tenacity import AsyncRetrying

from migrator import book, history, ledger
from migrator.book import Book
from migrator.errors import ConfigurationError, MigratorError, SourceChanged, ValuesRefused
from migrator.events import Event
from migrator.findings import Finding, Profile
from migrator.names import TableName
from migrator.plan import Plan, make_plan
from migrator.progress import Progress
from migrator.report import CheckReport, Report, Status, TableLine
from migrator.retry import patience
from migrator.rules import Rules
from migrator.runner import Runner
from migrator.settings import Settings
from migrator.snapshot import snapshot_of
from migrator.source import Fingerprint, Source, SourceDatabase, check_file
from migrator.stages.analyze import analyze
from migrator.stages.copy import copy
from migrator.stages.init_sql import InitNames, init_sql
from migrator.stages.lock import Lock, lock
from migrator.stages.park import park
from migrator.stages.preflight import (
    Allowed,
    look_at_source,
    look_over,
    occupied_tables,
    preflight,
    refuse,
    strangers_in,
)
from migrator.stages.reset import reset as empty
from migrator.stages.restore import restore
from migrator.stages.schema import alembic_project, schema
from migrator.stages.sequences import sequences
from migrator.stages.upgrade import upgrade
from migrator.stages.verify import Verdict
from migrator.stages.verify import verify as compare
from migrator.stages.wait import ServerFacts, wait
from migrator.strangers import refusal
from migrator.survey import Showing
from migrator.target import Target, TargetDatabase

log = structlog.get_logger()


async def run(settings: Settings, progress: Progress) -> Report:
    """
    Move the source into the target, whole and verified; or find that this has been done and change nothing.

    Raises an error of the tree. What was committed until then is in the ledger, and the next run goes on from there.
    """
    runner, run_id = _runner(settings), _run_id()
    _check_configuration(settings)
    async with _ends(settings) as (source, target), AsyncExitStack() as held:
        await runner("wait", lambda: _wait(target, settings))
        held_lock = await runner("lock", lambda: held.enter_async_context(_lock(target, settings)))
        watch = await held.enter_async_context(source.pinned())
        if settings.restart:
            await _start_over(settings, target, runner, run_id)
        fingerprint = await source.fingerprint()
        if (migrated := await history.migrated(target)) is not None:
            return await _nothing_left(settings, target, runner, migrated, fingerprint)
        await runner("init_sql", lambda: _init_sql(target, settings))

        async def ready() -> None:
            if not await held_lock.is_held():
                await _wait(target, settings)
                await held_lock.take()

        run_book = book.opened(target, run_id, runner, settings=settings, source=fingerprint, ready=ready, watch=watch)
        async with run_book as opened:
            return await _move(settings, source, target, opened, fingerprint, progress)


async def _move(  # noqa: PLR0913, PLR0917 - both ends, and what the run knows
    settings: Settings, source: Source, target: Target, run_book: Book, fingerprint: Fingerprint, progress: Progress
) -> Report:
    """Go through the stages from ``schema`` to ``upgrade``."""
    stage, jobs, batch_bytes = run_book.stage, settings.jobs, settings.batch_bytes
    contents = await source.describe()
    await history.go_on_with(target, fingerprint)
    await stage("schema", lambda: schema(contents, target, settings))
    plan = await _plan(settings, contents, target)
    _tell_skipped(plan)
    profiles = await stage("preflight", lambda: _preflight(settings, source, target, plan, progress))
    rows = {name: profile.rows for name, profile in profiles.items()}
    await stage("park", lambda: park(target, plan, rows, run_book.run_id))
    progress.begin("copy", {str(name): count for name, count in rows.items()})
    await stage(
        "copy",
        lambda: copy(
            source,
            target,
            plan,
            profiles,
            run_id=run_book.run_id,
            jobs=jobs,
            batch_bytes=batch_bytes,
            chunk_bytes=settings.chunk_bytes,
            progress=progress,
        ),
    )
    progress.finish()
    await stage("restore", lambda: restore(target, jobs))
    await stage("sequences", lambda: sequences(source, target, plan))
    await stage("analyze", lambda: analyze(target, plan))
    verdicts = await stage("verify", lambda: _verify(settings, source, target, plan, progress, note=True))
    await history.complete(target, fingerprint, await source.fingerprint())
    if settings.schema_mode == "alembic":
        await stage("upgrade", lambda: upgrade(target, alembic_project(settings)))
    headline = "migrated: every value of every row is in the target"
    report = await _report(target, plan, verdicts, run_book.runner, headline)
    return replace(report, notes=_what_was_decided(plan, profiles.values()))


async def check(settings: Settings, progress: Progress) -> CheckReport:
    """
    Look the source over as preflight does, against the target as it is. Writes nothing, and takes no lock.

    Without a target in the settings it is the source alone that is looked at.
    """
    if not settings.has_target:
        return await _check_alone(settings)
    runner = _runner(settings)
    async with _ends(settings) as (source, target):
        await runner("wait", lambda: _wait(target, settings, to_write=False))
        plan = await _plan(settings, await source.describe(), target)
        _tell_skipped(plan)
        showing = Showing(settings.examples, settings.mask_values)
        surveys = await runner(
            "preflight",
            lambda: look_over(
                source,
                target,
                plan,
                jobs=settings.jobs,
                batch_bytes=settings.batch_bytes,
                showing=showing,
                progress=progress,
            ),
        )
        allowed = await _allowed(target)
        pending = [table for table in plan.tables if table.name not in allowed.loaded]
        strangers = await strangers_in(
            source,
            target,
            await occupied_tables(target, pending, allowed),
            {one.profile.table: one.profile for one in surveys},
            batch_bytes=settings.batch_bytes,
            showing=showing,
        )
    findings = [finding for one in surveys for finding in one.findings]
    failure = _refusal(findings) or (refusal(strangers) if strangers else None)
    return CheckReport(tuple(one.profile for one in surveys), tuple(findings), plan.skipped, failure)


async def _check_alone(settings: Settings) -> CheckReport:
    check_file(settings.source_path)
    source = Source(settings.source_path)
    try:
        contents = await source.describe()
        surveys = await _runner(settings)(
            "preflight",
            lambda: look_at_source(source, contents.tables, jobs=settings.jobs, batch_bytes=settings.batch_bytes),
        )
    finally:
        await source.close()
    findings = tuple(finding for one in surveys for finding in one.findings)
    return CheckReport(tuple(one.profile for one in surveys), findings, contents.skipped, against_target=False)


async def verify(settings: Settings, progress: Progress) -> Report:
    """Compare every value of both ends, at any time. Writes nothing, and takes no lock."""
    runner = _runner(settings)
    async with _ends(settings) as (source, target):
        await runner("wait", lambda: _wait(target, settings, to_write=False))
        plan = await _plan(settings, await source.describe(), target)
        verdicts = await runner("verify", lambda: _verify(settings, source, target, plan, progress, note=False))
        return await _report(target, plan, verdicts, runner, "every value of every row is equal")


async def repair(settings: Settings) -> Report:
    """Bring back the keys and indexes that a run took away and could not bring back. Copies nothing."""
    runner = _runner(settings)
    async with _held_target(settings, runner) as target:
        restored = await runner("restore", lambda: _restore(target, settings.jobs))
        return Report(f"{restored} keys and indexes brought back", timings=tuple(runner.timings))


async def reset(settings: Settings) -> Report:
    """Take back what the ledger says this job has loaded, and bring back keys and indexes."""
    runner = _runner(settings)
    async with _held_target(settings, runner) as target:
        emptied = await _start_over(settings, target, runner, _run_id())
        return Report(f"{emptied} tables emptied: as if nothing had been copied", timings=tuple(runner.timings))


async def status(settings: Settings) -> Status:
    """Tell what the ledger says, also while a run is under way. Writes nothing, and takes no lock."""
    runner = _runner(settings)
    target = Target(settings.target)
    try:
        await runner("wait", lambda: _wait(target, settings, to_write=False))
        async with target.connect() as connection:
            if not await ledger.exists(connection):
                return Status((), (), (), (), None)
            runs = await ledger.last_runs(connection, limit=5)
            return Status(
                tuple(runs),
                tuple(await ledger.stages_of(connection, runs[0].id)) if runs else (),
                tuple((await ledger.copied(connection)).values()),
                tuple(f"{entry.kind} {entry.name} of {entry.table}" for entry in await ledger.still_parked(connection)),
                await ledger.completed_at(connection),
            )
    finally:
        await target.close()


@asynccontextmanager
async def _ends(settings: Settings) -> AsyncIterator[tuple[Source, Target]]:
    """Open both ends; the source is looked at before the target is waited for."""
    address = settings.target
    check_file(settings.source_path)
    async with AsyncExitStack() as ends:
        target = Target(address)
        ends.push_async_callback(target.close)
        if settings.snapshot:
            yield await ends.enter_async_context(snapshot_of(settings.source_path)), target
            return
        source = Source(settings.source_path)
        ends.push_async_callback(source.close)
        yield source, target


@asynccontextmanager
async def _held_target(settings: Settings, runner: Runner) -> AsyncIterator[Target]:
    """Open the target alone, and hold its lock."""
    target = Target(settings.target)
    try:
        await runner("wait", lambda: _wait(target, settings))
        async with AsyncExitStack() as held:
            await runner("lock", lambda: held.enter_async_context(_lock(target, settings)))
            yield target
    finally:
        await target.close()


def _lock(target: Target, settings: Settings) -> AbstractAsyncContextManager[Lock]:
    return lock(target, settings.lock_timeout_seconds)


async def _start_over(settings: Settings, target: Target, runner: Runner, run_id: UUID) -> int:
    """Empty what was loaded, then bring back what was parked: in that order, since empty tables fit every key."""
    emptied = await runner("reset", lambda: empty(target, run_id, force=settings.force))
    await runner("restore", lambda: _restore(target, settings.jobs))
    return emptied


async def _restore(target: Target, jobs: int) -> int:
    async with target.connect() as connection:
        known = await ledger.exists(connection)
    return await restore(target, jobs) if known else 0


def _runner(settings: Settings) -> Runner:
    def policy(stage: str) -> AsyncRetrying:
        # Bounded by count alone: a copy may have run for hours before the connection that it loses.
        return patience(
            stage,
            seconds=float("inf"),
            attempts=settings.retry_attempts,
            longest_pause=settings.retry_max_pause_seconds,
        )

    return Runner(policy)


def _check_configuration(settings: Settings) -> None:
    """Raise ConfigurationError for what would only be noticed after waiting."""
    Rules.load(settings.rules, settings.exclude)
    if settings.schema_mode == "alembic":
        alembic_project(settings).head()
    if settings.init_sql is not None and not settings.init_sql.is_file():
        raise ConfigurationError(
            f"there is no init SQL at {str(settings.init_sql)!r}", next_step="correct MIGRATOR_INIT_SQL, or unset it"
        )


async def _wait(target: Target, settings: Settings, *, to_write: bool = True) -> ServerFacts:
    policy = patience(
        "wait", seconds=settings.wait_timeout_seconds, longest_pause=min(2, settings.retry_max_pause_seconds)
    )
    return await wait(target.address, policy, to_write=to_write)


async def _init_sql(target: Target, settings: Settings) -> None:
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


async def _plan(settings: Settings, contents: SourceDatabase, target: Target) -> Plan:
    return make_plan(contents, await _describe(target, settings), Rules.load(settings.rules, settings.exclude))


async def _describe(target: Target, settings: Settings) -> TargetDatabase:
    async with target.connect() as connection:
        name = await target.schema_of_application(connection, settings.target_schema)
        return await target.describe(connection, name)


async def _preflight(
    settings: Settings, source: Source, target: Target, plan: Plan, progress: Progress
) -> dict[TableName, Profile]:
    return await preflight(
        source,
        target,
        plan,
        await _allowed(target),
        jobs=settings.jobs,
        batch_bytes=settings.batch_bytes,
        showing=Showing(settings.examples, settings.mask_values),
        progress=progress,
    )


async def _allowed(target: Target) -> Allowed:
    """Return what the ledger knows to be in the target."""
    async with target.connect() as connection:
        if not await ledger.exists(connection):
            return Allowed(frozenset(), {})
        begun = {name: so_far.rows for name, so_far in (await ledger.begun(connection)).items()}
        return Allowed(frozenset(await ledger.copied(connection)), await ledger.seeded_rows(connection) | begun)


async def _verify(  # noqa: PLR0913 - both ends, the plan, and how to go about it
    settings: Settings, source: Source, target: Target, plan: Plan, progress: Progress, *, note: bool
) -> list[Verdict]:
    return await compare(
        source,
        target,
        plan,
        jobs=settings.jobs,
        batch_bytes=settings.batch_bytes,
        showing=Showing(settings.examples, settings.mask_values),
        progress=progress,
        file=settings.differences,
        note=note,
    )


def _refusal(findings: list[Finding]) -> MigratorError | None:
    try:
        refuse(findings)
    except ValuesRefused as error:
        return error
    return None


def _tell_skipped(plan: Plan) -> None:
    for skipped in plan.skipped:
        log.info(Event.TABLE_SKIPPED, table=skipped.name, reason=skipped.reason)


async def _nothing_left(
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
    return Report("already migrated and verified: nothing to do", timings=tuple(runner.timings), notes=tuple(notes))


async def _report(target: Target, plan: Plan, verdicts: list[Verdict], runner: Runner, headline: str) -> Report:
    async with target.connect() as connection:
        copied = await ledger.copied(connection) if await ledger.exists(connection) else {}
    lines = tuple(
        TableLine(
            str(verdict.table),
            verdict.source.rows,
            verdict.target.rows,
            copied[verdict.table].bytes if verdict.table in copied else None,
            verified=verdict.equal,
        )
        for verdict in verdicts
    )
    rows = sum(line.source_rows for line in lines)
    return Report(f"{headline} ({len(lines)} tables, {rows:,} rows)", lines, plan.skipped, tuple(runner.timings))


def _what_was_decided(plan: Plan, profiles: Iterable[Profile]) -> tuple[str, ...]:
    """Return what rules, and the one assumption, made of values; of tables that this run has loaded."""
    in_utc = [
        f"{table.source.name}.{column.source.name}"
        for table in plan.tables
        for column in table.columns
        if column.target.type_name == "timestamptz" and column.rule.timezone is None
    ]
    assumed = (f"text without an offset was read as UTC in: {', '.join(in_utc)}",) if in_utc else ()
    return (*(change.line() for profile in profiles for change in profile.changes), *assumed)


def _run_id() -> UUID:
    """Return the id that the log's lines carry."""
    known = structlog.contextvars.get_contextvars().get("run_id")
    return UUID(known) if known else uuid4()
