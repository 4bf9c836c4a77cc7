"""
Opens both databases, and turns settings into the values that stages are called with.

``job.run`` and ``job.migrate`` decide the order of the stages.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import structlog
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection
from tenacity import AsyncRetrying

from migrator.config.settings import Settings
from migrator.errors import ConfigurationError, MigratorError
from migrator.events import Event
from migrator.ledger import registry
from migrator.ledger import schema as ledger_schema
from migrator.ledger.migration import SETUP_LOCK_KEY, Migration, Wanted, schema_lock_key
from migrator.ledger.run_ledger import RunLedger
from migrator.monitoring.snapshot import Pause
from migrator.monitoring.tracker import Tracker
from migrator.planning.rules import Rules
from migrator.runtime.limits import ExampleOptions, Limits
from migrator.runtime.retry import RetryLimits, retry_policy
from migrator.runtime.stage_runner import StageRunner
from migrator.schema.options import SchemaOptions
from migrator.sessions.watchdog import give_up_all
from migrator.source.database import Source
from migrator.source.file import check_file
from migrator.source.snapshot import snapshot_of
from migrator.stages.context import StageContext
from migrator.stages.init_sql import InitNames, init_sql
from migrator.stages.lock import Lock, lock, refuse_pooler
from migrator.stages.restore import restore
from migrator.stages.upgrade import upgrade
from migrator.stages.wait import ServerFacts, wait
from migrator.target.advisory import Key, holding
from migrator.target.database import Target

if TYPE_CHECKING:
    from migrator.planning.plan import Plan
    from migrator.selection.key_file import KeyFile

log = structlog.get_logger()


class Obstacles(Struct, frozen=True):
    """Errors of the configuration and the source that are known before the job waits for the server."""

    configuration: Exception | None
    source: Exception | None

    @property
    def first(self) -> Exception | None:
        """The error that ends a run with work left to do, or None; the configuration's error comes first."""
        return self.configuration or self.source

    @contextmanager
    def instead(self) -> Iterator[None]:
        """
        Raise the first obstacle in place of a MigratorError of the block.

        The block asks the ledger whether the migration is complete; a complete one needs neither configuration nor
        source. So the obstacles are only logged before the block, as warnings.
        """
        for what, error in (("the configuration", self.configuration), ("the source", self.source)):
            if error:
                log.warning(Event.WARNING_UNSEEN, what=what, reason=str(error))
        try:
            yield
        except MigratorError as error:
            if self.first:
                raise self.first from error
            raise


def obstacles(settings: Settings) -> Obstacles:
    """Return errors of the configuration and the source; raises ConfigurationError if no source or target is named."""
    settings.refuse_missing()
    path, _ = settings.source_path, settings.target
    return Obstacles(_raised(lambda: check_configuration(settings)), _raised(lambda: check_file(path)))


def _raised(look: Callable[[], None]) -> Exception | None:
    """Call ``look`` and return the exception that it raised, or None: an application's scripts may raise anything."""
    try:
        look()
    except Exception as error:  # noqa: BLE001 - raised later, if the migration is not complete
        return error
    return None


@asynccontextmanager
async def open_databases(settings: Settings) -> AsyncIterator[tuple[Source, Target]]:
    """Open both databases. The source file is checked before the target is opened."""
    address = settings.target
    check_file(settings.source_path)
    async with AsyncExitStack() as stack:
        stack.callback(give_up_all)  # no thread may keep waiting for a server
        target = Target(address)
        stack.push_async_callback(target.close)
        await stack.enter_async_context(target.pooled())
        yield await stack.enter_async_context(open_source(settings)), target


@asynccontextmanager
async def open_target(settings: Settings) -> AsyncIterator[Target]:
    """Open the target. After the block no thread keeps waiting for its server."""
    async with AsyncExitStack() as stack:
        stack.callback(give_up_all)
        target = Target(settings.target)
        stack.push_async_callback(target.close)
        await stack.enter_async_context(target.pooled())
        yield target


@asynccontextmanager
async def open_source(settings: Settings) -> AsyncIterator[Source]:
    """Open the source, or a snapshot of it if the settings ask for one; raises SourceUnreadable."""
    check_file(settings.source_path)
    if settings.snapshot:
        async with snapshot_of(settings.source_path) as snapshot:
            yield snapshot
        return
    source = Source(settings.source_path)
    try:
        yield source
    finally:
        await source.close()


@asynccontextmanager
async def locked_target(
    settings: Settings, target: Target, run_id: UUID | None, tracker: Tracker | None = None
) -> AsyncIterator[tuple[RunLedger, StageRunner]]:
    """
    Wait for the target, and hold the lock of the migration that the settings select while the block runs.

    Yields the run's ledger and the runner of its stages. ``run_id`` is the run's id, by default a new one, and
    ``tracker`` is told what is done. Raises
    ConfigurationError if the ledger doesn't know the named migration, or if none is named and it knows several.
    """
    runner = runner_of(settings, target, tracker)
    await runner("wait", lambda: wait_for(target, settings, runner.tracker))
    async with AsyncExitStack() as held:
        run, _ = await runner("lock", lambda: take_lock(held, target, settings, registry.to_change, run_id))
        yield run, runner


Choose = Callable[[AsyncConnection, Wanted], Awaitable[Migration]]
"""Returns the migration that the settings select, as the ledger is now."""


async def take_lock(
    held: AsyncExitStack, target: Target, settings: Settings, choose: Choose, run_id: UUID | None
) -> tuple[RunLedger, Lock]:
    """
    Take the lock of the migration that ``choose`` selects, and return the run's ledger and the lock.

    The lock is held until ``held`` ends. Waits for it at most ``settings.lock_timeout_seconds``. A ledger of an earlier
    version is upgraded.
    """
    await refuse_pooler(target)
    async with target.connect() as connection:
        migration = await choose(connection, settings.wanted)
    async with AsyncExitStack() as attempt:  # a failed try must not keep the lock: the next would wait for it
        held_lock = await attempt.enter_async_context(lock(target, migration, settings.lock_timeout_seconds))
        await registry.adopt(target)
        held.push_async_exit(attempt.pop_all())
    log.info(Event.MIGRATION_CHOSEN, migration=migration.name)
    return RunLedger(target, migration, run_id or uuid4()), held_lock


async def migration_meant(target: Target, settings: Settings) -> Migration:
    """Return the migration that a run with these settings works on, as the target is now."""
    async with target.connect() as connection:
        return await registry.of_run(connection, settings.wanted)


async def start_over(settings: Settings, run: RunLedger, runner: StageRunner) -> int:
    """Empty the loaded tables, then restore what was parked, since empty tables fit every key; return their number."""
    from migrator.stages.reset import reset as empty  # noqa: PLC0415 - only `--restart` and `reset` need it

    emptied = await runner("reset", lambda: empty(run, force=settings.force))
    await runner("restore", lambda: restore_parked(run, settings.jobs, runner.tracker))
    return emptied


async def restore_parked(run: RunLedger, jobs: int, tracker: Tracker) -> int:
    """Restore what the ledger has as parked, if there is a ledger; return the number of entries."""
    async with run.target.transaction() as connection:
        if not await ledger_schema.exists(connection):
            return 0
        await run.take_over(connection)
    return await restore(run, jobs, tracker=tracker)


def runner_of(settings: Settings, target: Target | None, tracker: Tracker | None = None) -> StageRunner:
    """
    Return a runner that retries stages as the settings allow, and watches for overdue answers of the target.

    ``tracker`` is told of stages, tries and pauses.
    """
    tracker = tracker or Tracker()

    def policy(stage: str) -> AsyncRetrying:
        # The limit is a number of tries, not a time: a copy may have run for hours before it loses its connection.
        return retry_policy(
            stage,
            RetryLimits(attempts=settings.retry_attempts, longest_pause=settings.retry_max_pause_seconds),
            on_pause=tracker.pause,
        )

    return (
        StageRunner(policy, around=target.watched, tracker=tracker) if target else StageRunner(policy, tracker=tracker)
    )


def check_configuration(settings: Settings) -> None:
    """Raise ConfigurationError for mistakes that would otherwise be noticed only after the job has waited."""
    rules_of(settings)
    if settings.schema_mode == "alembic":
        from migrator.schema.alembic import alembic_project  # noqa: PLC0415 - `status` doesn't need Alembic

        alembic_project(settings.alembic_config).head()
    if settings.init_sql is not None and not settings.init_sql.is_file():
        raise ConfigurationError(
            f"there is no init SQL at {str(settings.init_sql)!r}", next_step="Correct MIGRATOR_INIT_SQL, or unset it."
        )


async def wait_for(
    target: Target,
    settings: Settings,
    tracker: Tracker,
    *,
    to_write: bool = True,
    meanwhile: Callable[[], None] = lambda: None,
) -> ServerFacts:
    """
    Wait for the server as long as the settings allow, and return its facts. Refuses a replica if ``to_write``.

    ``tracker`` is told why the job waits. ``meanwhile`` is called in each pause between two attempts.
    """

    def on_pause(pause: Pause) -> None:
        meanwhile()
        tracker.pause(replace(pause, reason=f"{target.address.server()} {pause.reason}"))

    limits = RetryLimits(seconds=settings.wait_timeout_seconds, longest_pause=min(2, settings.retry_max_pause_seconds))
    policy = retry_policy("wait", limits, on_pause=on_pause)
    try:
        return await wait(target.address, policy, to_write=to_write, seconds=settings.wait_timeout_seconds)
    finally:
        tracker.resume("wait")


async def run_init_sql(target: Target, settings: Settings) -> None:
    """Run the init SQL if one is set. The server's warnings are logged."""
    if settings.init_sql is None:
        log.info(Event.STAGE_SKIPPED, reason="no init SQL is set")
        return
    script = settings.init_sql.read_text(encoding="utf-8")
    setup_lock = holding(target, Key(SETUP_LOCK_KEY, "init SQL"), settings.lock_timeout_seconds)
    async with setup_lock, target.script() as connection:
        await init_sql(
            connection,
            script,
            InitNames(settings.init_schema, settings.init_role),
            require_extensions=settings.require_extensions,
            on_warning=lambda message: log.warning(Event.WARNING_SERVER, message=message),
        )
    await target.discard_pooled()


@asynccontextmanager
async def one_at_a_schema(target: Target, settings: Settings) -> AsyncIterator[None]:
    """
    Hold the target schema's lock while the block makes or upgrades its tables, so that only one job does so at a time.

    Waits for the lock at most ``settings.lock_timeout_seconds``; raises GaveUp, which names the lock's holder.
    """
    async with target.connect() as connection:
        schema = settings.target_schema or await registry.current_schema(connection) or ""
    async with holding(target, Key(schema_lock_key(schema), f"schema {schema}"), settings.lock_timeout_seconds):
        yield


async def upgrade_schema(settings: Settings, target: Target) -> None:
    """Upgrade the application's schema to its newest revision, one job at a time."""
    async with one_at_a_schema(target, settings):
        from migrator.schema.alembic import alembic_project  # noqa: PLC0415 - as above

        await upgrade(target, alembic_project(settings.alembic_config))


def context_of(settings: Settings, source: Source, target: Target, plan: "Plan", tracker: Tracker) -> StageContext:
    """Return the context of the stages that read the source and work on planned tables."""
    made_by_job = settings.schema_mode == "create"
    return StageContext(source, target, plan, limits_of(settings), example_options_of(settings), tracker, made_by_job)


def rules_of(settings: Settings) -> Rules:
    """Return the operator's rules; raises ConfigurationError if they can't be read."""
    rules = Rules.load(settings.rules, settings.exclude, settings.leave_out, settings.on_existing_rows, settings.names)
    return rules.for_created_tables() if settings.schema_mode == "create" else rules


def limits_of(settings: Settings) -> Limits:
    """Return the limits on simultaneous work and on memory."""
    return Limits(
        settings.jobs,
        settings.batch_bytes,
        settings.chunk_bytes,
        settings.stall_timeout_seconds,
        settings.kept_limit,
    )


def schema_options_of(settings: Settings) -> SchemaOptions:
    """Return how the target's tables are made; raises ConfigurationError if the rules can't be read."""
    return SchemaOptions(
        settings.schema_mode,
        settings.target_schema,
        settings.alembic_config,
        settings.schema_command,
        rules_of(settings),
    )


def key_file_of(settings: Settings) -> "KeyFile | None":
    """Return the file for the keys of orphans, if the settings name one."""
    from migrator.selection.key_file import KeyFile  # noqa: PLC0415 - loads drivers that `status` doesn't need

    return KeyFile(settings.left_behind, settings.mask_values) if settings.left_behind is not None else None


def example_options_of(settings: Settings) -> ExampleOptions:
    """Return how many values are shown, and whether they are masked."""
    return ExampleOptions(settings.examples, settings.mask_values)
