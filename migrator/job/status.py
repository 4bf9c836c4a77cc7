"""Runs ``migrator status``, which reports from the ledger how far a migration is."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_before_delay, wait_fixed

from migrator.config.settings import Settings
from migrator.errors import GaveUp
from migrator.job.context import open_target, runner_of, wait_for
from migrator.ledger.readiness import until_ready
from migrator.reports.status import Status
from migrator.runtime.retry import is_transient, short_message
from migrator.status.next_action import next_action
from migrator.status.reading import read_all
from migrator.target.database import Target

if TYPE_CHECKING:
    from migrator.reports.console.live_status import StatusScreen

_PAUSE_SECONDS: Final = 1.0
"""The pause between two looks of ``--follow``. A look costs the server a few short queries."""


async def status(settings: Settings) -> Status:
    """
    Return what the ledger says, also while a run is under way. Writes nothing and takes no lock.

    If the ledger has several migrations and none is named, the report has a line for each. With ``settings.follow`` it
    is shown again and again, and returned when each migration is complete or has failed. With ``settings.wait`` it is
    returned only when the application may start; raises GaveUp after ``settings.ready_timeout_seconds``.
    """
    async with open_target(settings) as target:
        runner = runner_of(settings, target)
        if settings.wait and not settings.follow:
            await until_ready(target, settings.wanted, settings.ready_timeout_seconds)
        else:
            await runner("wait", lambda: wait_for(target, settings, runner.tracker, to_write=False))
        if settings.follow:
            with _screen_for(settings) as screen:
                return await _follow(lambda: _status(target, settings), screen, settings.wait_timeout_seconds)
        return await runner.retry("status", lambda: _status(target, settings))


async def _status(target: Target, settings: Settings) -> Status:
    # A server may accept the connection and then never answer.
    async with asyncio.timeout(4 * target.address.connect_timeout_seconds), target.connect() as connection:
        found, unknown = await read_all(connection, settings.wanted)
    named = len(found) > 1 or unknown is not None or settings.migration is not None
    return Status(tuple(found), tuple(next_action(one, settings.source_url, named=named) for one in found), unknown)


def _screen_for(settings: Settings) -> "StatusScreen":
    """Return a screen that is redrawn if stderr is a terminal, and otherwise one that writes events."""
    from migrator.reports.console.live_status import RedrawnStatus, StatusEvents  # noqa: PLC0415 - they need rich

    on_terminal = sys.stderr.isatty() and settings.log_format != "json"
    if not settings.quiet and (settings.progress == "on" or (settings.progress == "auto" and on_terminal)):
        return RedrawnStatus()
    return StatusEvents(settings.progress_interval)


async def _follow(look: Callable[[], Awaitable[Status]], screen: "StatusScreen", wait_seconds: float) -> Status:
    """Show what ``look`` returns until nothing changes by itself any more. Waits so long for a server that is away."""

    async def looked() -> Status:  # tenacity awaits only what is declared as async
        return await look()

    while True:
        latest: Status = await _patient(screen, wait_seconds)(looked)
        screen.show(latest)
        if latest.has_ended:
            return latest
        await asyncio.sleep(_PAUSE_SECONDS)


def _patient(screen: "StatusScreen", seconds: float) -> AsyncRetrying:
    """Return a policy that looks again while the server is away, and raises GaveUp after ``seconds``."""

    def show_lost(state: RetryCallState) -> None:
        screen.show_lost(_reason(state), max(0, seconds - (state.seconds_since_start or 0)))

    def give_up(state: RetryCallState) -> None:
        raise GaveUp(
            f"the server has not answered for {state.seconds_since_start or 0:.0f} s: {_reason(state)}",
            next_step="Run `migrator status --follow` again when the server is back; the run itself may be going on.",
        )

    return AsyncRetrying(
        retry=retry_if_exception(is_transient),
        wait=wait_fixed(_PAUSE_SECONDS),
        stop=stop_before_delay(seconds),
        before_sleep=show_lost,
        retry_error_callback=give_up,
    )


def _reason(state: RetryCallState) -> str:
    error = state.outcome.exception() if state.outcome else None
    return short_message(error or RuntimeError("nothing was tried"))
