"""
Tells from the ledger whether the application may start. An init container uses it to wait for the job.

It reads only the target, needs only a role that may read the ledger, and writes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from msgspec import Struct
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, retry_if_result, stop_before_delay, wait_fixed

from migrator.errors import ExitCode, GaveUp, MigratorError, MissingPrivilege
from migrator.events import Event
from migrator.ledger import registry
from migrator.ledger import runs as ledger_runs
from migrator.ledger import state as ledger_state
from migrator.ledger.migration import Wanted
from migrator.runtime.error_mapping import to_migrator_error
from migrator.runtime.retry import is_transient, short_message
from migrator.target.database import Target

PAUSE_SECONDS: Final = 2.0
"""The pause between two reads. Each read costs the server one connection, and two seconds don't matter here."""

log = structlog.get_logger()


class Readiness(Struct, frozen=True):
    """Whether the application may start, and the reason in a few words."""

    ready: bool
    reason: str


async def readiness(target: Target, wanted: Wanted) -> Readiness:
    """
    Return whether the migration is complete, verified, and upgraded to the newest schema.

    Raises MissingPrivilege if the role may not read the ledger. Errors of the driver pass through.
    """
    async with target.connect() as connection:
        migration = await registry.chosen(connection, wanted)
        if migration is None:
            # The migration may begin later, also if another tenant's exists. A mistyped name would never become ready,
            # so the reason names the migrations that exist.
            unknown = await registry.unknown(connection, wanted)
            return Readiness(ready=False, reason=unknown or "no migration has begun here")
        if await ledger_state.recall(connection, migration, ledger_state.READY):
            return Readiness(ready=True, reason="migrated and verified")
        verified = await ledger_state.completed_at(connection, migration) is not None
        runs = await ledger_runs.last_runs(connection, migration, limit=1)
        if not runs:
            return Readiness(ready=False, reason="no migration has begun here")
        rehearsed = await ledger_state.recall(connection, migration, ledger_state.REHEARSED)
        stages = await ledger_runs.stages_of(connection, runs[0].id)
    if rehearsed and runs[0].exit_code == ExitCode.DONE:
        return Readiness(ready=False, reason=_BEFORE_CUT_OVER)
    opening = f"{_BEFORE_CUT_OVER}; " if rehearsed else _BEFORE_UPGRADE if verified else ""
    if runs[0].ended_at is None:
        stage = stages[-1].stage if stages else "its begin"
        return Readiness(ready=False, reason=f"{opening}a run is under way, or was killed, in stage {stage}")
    return Readiness(
        ready=False, reason=f"{opening}the newest run ended with {runs[0].exit_code}: {runs[0].message or ''}"
    )


_BEFORE_CUT_OVER: Final = "the migration was rehearsed, and `migrator run --refresh` has not cut over yet"
_BEFORE_UPGRADE: Final = "every row is verified, but the newest schema is not reached; "


async def until_ready(
    target: Target,
    wanted: Wanted,
    seconds: float,
    *,
    pause_seconds: float = PAUSE_SECONDS,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """
    Return when the application may start, at most ``seconds`` from now.

    It waits while the server is starting or away, while no ledger exists, and while a run goes on. It also waits after
    a failed run, since only an operator knows whether there will be another run. Between two reads it pauses
    ``pause_seconds``. Raises GaveUp with the last reason when the time is over. Raises ConfigurationError or
    MissingPrivilege at once, since waiting doesn't help there.
    """
    policy = AsyncRetrying(
        retry=retry_if_result(lambda latest: not latest.ready) | retry_if_exception(is_transient),
        wait=wait_fixed(pause_seconds),
        stop=stop_before_delay(seconds),
        before_sleep=_Changes(),
        retry_error_callback=_give_up,
        sleep=sleep,
    )
    # A server may accept the connection and then never answer.
    longest = 2 * target.address.connect_timeout_seconds

    async def look() -> Readiness:
        async with asyncio.timeout(longest):
            return await readiness(target, wanted)

    try:
        await policy(look)
    except Exception as error:
        raise _in_our_words(error) from error


class _Changes:
    """Logs the reason for waiting only when it changes. Otherwise many equal lines would hide the different line."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, state: RetryCallState) -> None:
        reason = _seen(state)
        if reason != self._last:
            log.info(Event.READY_WAITING, reason=reason)
        self._last = reason


def _seen(state: RetryCallState) -> str:
    if state.outcome is None:
        return "nothing was tried"
    error = state.outcome.exception()
    latest: Readiness | None = None if error else state.outcome.result()
    return latest.reason if latest else short_message(error or RuntimeError())


def _give_up(state: RetryCallState) -> None:
    seconds = round(state.seconds_since_start or 0, 1)
    raise GaveUp(
        f"the migration was not complete after {seconds} s: {_seen(state)}",
        next_step="Look at `migrator status` and the log of the job for how far it is, then wait again.",
        seconds=seconds,
    )


def _in_our_words(error: Exception) -> Exception:
    known = to_migrator_error(error)
    if isinstance(known, MissingPrivilege):
        return MissingPrivilege(
            str(known),
            next_step="Set MIGRATOR_INIT_ROLE to this role when the job runs, or GRANT USAGE ON SCHEMA migrator and "
            "SELECT ON ALL TABLES IN SCHEMA migrator to it.",
            **known.facts,
        )
    return known if isinstance(known, MigratorError) else error
