"""Stops a command on SIGINT and SIGTERM: cancels the command, and ends the process after a grace period."""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

import structlog

from migrator.cli.outcome_files import OutcomeFiles
from migrator.errors import ExitCode, Stopped
from migrator.events import Event
from migrator.reports.outcome import Outcome
from migrator.reports.refusal import facts_of

log = structlog.get_logger()

# A thread inside a driver can't be interrupted. The server rolls open transactions back, as after SIGKILL.
GRACE_SECONDS: Final = 8

_STDERR: Final = 2

EXIT_CODES: Final = {signal.SIGINT: ExitCode.SIGINT, signal.SIGTERM: ExitCode.SIGTERM}


def finish_or_stop(action: Awaitable[Outcome], files: OutcomeFiles) -> Outcome:
    """Run the action and return its outcome. On a signal, cancel the action and raise Stopped in place of its error."""
    received: list[signal.Signals] = []
    leave = threading.Timer(GRACE_SECONDS, lambda: _exit_now(received[0]))
    leave.daemon = True

    async def guarded() -> Outcome:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: signal.Signals) -> None:
            if received:  # a second signal
                _exit_now(number)
            received.append(number)
            log.warning(Event.JOB_STOPPING, signal=number.name)
            # Written now, because the process may be killed before the command has ended.
            files.write_ahead(facts_of(stopped(number)))
            leave.start()
            if task is not None:
                task.cancel(number.name)  # the run records the signal's name as the reason

        for number in EXIT_CODES:
            loop.add_signal_handler(number, stop, number)
        return await action

    try:
        return asyncio.run(guarded())
    except (Exception, asyncio.CancelledError) as error:
        if received:
            raise stopped(received[0]) from error
        raise
    finally:
        leave.cancel()


def _exit_now(number: signal.Signals) -> None:
    """End the process at once, without its clean-up. Only the cursor, which the live view hides, is shown again."""
    with suppress(OSError):
        if os.isatty(_STDERR):
            os.write(_STDERR, b"\x1b[?25h\n")
    os._exit(EXIT_CODES[number])


@contextmanager
def signals_raise() -> Iterator[None]:
    """
    Let signals raise Stopped while no event loop handles them: while settings are read and reports are printed.

    Without its own handler, the first process of a container would ignore SIGTERM.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise stopped(signal.Signals(number))

    previous = {number: signal.signal(number, stop) for number in EXIT_CODES}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def stopped(number: signal.Signals) -> Stopped:
    """Return the error of a run that a signal has stopped."""
    return Stopped(
        f"stopped by {number.name}",
        next_step="Run the command again; a migration goes on where it stopped.",
        signal=number.name,
    )
