"""
Writes the lines of one run into the ledger: when the run and its stages begin and end, and how the run ended.

This module starts all stages of the job, so that ``migrator status`` in another terminal shows the present stage.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import structlog
from msgspec import Struct, field
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator import __version__
from migrator.concurrency.heartbeat import run_with_heartbeat
from migrator.concurrency.pool import WorkerPool
from migrator.config.settings import Settings
from migrator.errors import ExitCode
from migrator.events import Event
from migrator.ledger import registry, runs, schema
from migrator.ledger.run_ledger import RunLedger
from migrator.runtime.error_mapping import to_migrator_error
from migrator.runtime.redaction import redactor
from migrator.runtime.stage_runner import StageRunner
from migrator.sessions.connections import in_transaction, is_open
from migrator.source.database import Watch
from migrator.source.file import Fingerprint
from migrator.status.failures import Failure, write_failure
from migrator.status.progress import forget_progress
from migrator.status.progress_writer import ProgressWriter

T = TypeVar("T")

Ready = Callable[[], Awaitable[None]]

log = structlog.get_logger()

_GOODBYE_SECONDS = 3
"""Time for writing the last line of a failed or stopped run. The server may be the cause of the failure."""

_PULSE_SECONDS = 5
"""Time between two checks of the source, which cost almost nothing. The runner checks for overdue answers."""


class Guard(Struct, frozen=True):
    """The checks of a run, before each try and during its work."""

    ready: Ready
    """Called before every try; its errors count as the stage's errors."""
    watch: Watch
    """Notices when somebody writes to the source."""


class RunRecorder(Struct, frozen=True):
    """Runs the stages of one run and records them in the ledger."""

    run: RunLedger
    connections: WorkerPool[AsyncConnection]
    """One connection for all lines of the run: opening a connection for each line would cost more than the line."""
    runner: StageRunner
    guard: "Guard"
    stall_seconds: float
    """Seconds that an answer of the server may take."""
    _in_turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Stages may overlap, but only one of them at a time calls ``ready`` or checks the source, for all stages."""

    async def stage(self, name: str, action: Callable[[], Awaitable[T]]) -> T:
        """
        Run a stage, and write into the ledger when it begins and when it ends without an error.

        Returns the result of ``action`` and raises its errors. Raises SourceChanged if somebody wrote to the source
        during the stage, and GaveUp if another run has taken over.
        """

        async def noted() -> T:
            async with self.connections.worker() as connection, in_transaction(connection):
                await self.run.hold(connection)
                await runs.begin_stage(connection, self.run, name)
            result = await action()
            await self.guard.watch.check()
            async with self.connections.worker() as connection, in_transaction(connection):
                await self.run.hold(connection)
                await runs.end_stage(connection, self.run, name)
            return result

        return await self.runner(name, lambda: self._watched(noted))

    async def step(self, what: str, action: Callable[[], Awaitable[T]]) -> T:
        """Do a short action that belongs to no stage; it is watched and retried like a stage."""
        return await self.runner.retry(what, lambda: self._watched(action))

    async def _watched(self, work: Callable[[], Awaitable[T]]) -> T:
        async with self._in_turn:
            await self.guard.ready()
        return await run_with_heartbeat(work(), self._beat, self._every_seconds)

    @property
    def _every_seconds(self) -> float:
        return min(_PULSE_SECONDS, self.stall_seconds / 2)

    async def _beat(self) -> None:
        if self._in_turn.locked():
            return
        async with self._in_turn:
            await self.guard.watch.check()


@asynccontextmanager
async def record_run(
    run: RunLedger, runner: StageRunner, settings: Settings, source: Fingerprint, guard: Guard
) -> AsyncIterator[RunRecorder]:
    """
    Make the ledger if there is none, write the run's line, and write how the run ended when the block is left.

    From the start of the block, no earlier run of this migration can write to the ledger.
    """
    info = runs.RunInfo(__version__, source, settings.public())

    async def begin() -> None:
        await guard.ready()
        async with run.target.transaction() as connection:
            await schema.check_privileges(connection)
            await schema.create(connection, settings.init_role)
        async with run.target.transaction() as connection:
            await registry.register(connection, run, settings.target_schema or run.migration.name, __version__)
            await runs.begin_run(connection, run, info)
            await run.take_over(connection)
            await forget_progress(connection, run.migration)

    async def end() -> None:
        async with run.target.transaction() as connection:
            await runs.end_run(connection, run, exit_code=ExitCode.DONE, message="done")

    await runner.retry("ledger", begin)
    clean = redactor(settings.secrets())
    writer = ProgressWriter(run, runner.tracker, clean)
    try:
        async with _beside(writer), WorkerPool(1, run.target.connect, is_open) as connections:
            yield RunRecorder(run, connections, runner, guard, settings.stall_timeout_seconds)
    except BaseException as error:
        await _record_failure(run, error, clean)
        await writer.clear()
        raise
    await runner.retry("ledger", end)
    await writer.clear()


@asynccontextmanager
async def _beside(writer: ProgressWriter) -> AsyncIterator[None]:
    """Let the writer write while the block runs."""
    writing = asyncio.create_task(writer.keep_writing())
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def _record_failure(run: RunLedger, error: BaseException, clean: Callable[[str], str]) -> None:
    """Write how a run failed: without secrets, since others may read it, and without NUL, which text can't hold."""
    exit_code, message, failure = _exit_code_and_reason(error)

    def storable(text: str) -> str:
        return clean(text).replace("\0", "\\0")

    said = Failure(storable(failure.next_step), tuple(map(storable, failure.flags)), storable(failure.rules))
    try:
        async with asyncio.timeout(_GOODBYE_SECONDS), run.target.transaction() as connection:
            await runs.end_run(connection, run, exit_code=exit_code, message=storable(message))
            await write_failure(connection, run.run_id, said)
    except Exception as failed:  # noqa: BLE001 - the run's own error is raised; this one is logged
        log.warning(Event.LEDGER_UNWRITTEN, reason=f"{type(failed).__name__}: {failed}")


def _exit_code_and_reason(error: BaseException) -> tuple[int | None, str, Failure]:
    """Return the exit code of the process, if it is known here, the reason, and what settles it."""
    if isinstance(error, asyncio.CancelledError) and error.args and error.args[0] in ExitCode.__members__:
        # The signal handler passes the signal's name.
        return ExitCode[error.args[0]], f"stopped by {error.args[0]}", Failure("")
    known = to_migrator_error(error) if isinstance(error, Exception) else None
    if known is None:
        return None, f"stopped ({type(error).__name__})", Failure(_REPORT_IT)
    settlement = known.settlement
    rules = settlement.rules if settlement.sections else ""
    return known.exit_code, str(known), Failure(known.next_step, settlement.flags, rules)


_REPORT_IT = "Report this as a bug, with the traceback that --log-level debug shows."
