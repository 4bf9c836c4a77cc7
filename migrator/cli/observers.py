"""Starts and ends everything that watches a run: the live view, the heartbeat, the metrics file, and traces."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from migrator.config.settings import Settings
from migrator.errors import ExitCode
from migrator.monitoring.heartbeat import write_progress
from migrator.monitoring.metrics_file import MetricsFile, RunFacts
from migrator.monitoring.ticker import Ticker
from migrator.monitoring.tracker import Tracker
from migrator.runtime import logs


@contextmanager
def observed(settings: Settings, form: logs.Form, tracker: Tracker) -> Iterator[None]:
    """Show what a run does while the block runs: as a live view on a terminal, and as events elsewhere."""
    with ExitStack() as observers:
        if settings.follow:
            pass  # `status --follow` shows the progress of another process
        elif draws(settings, form):
            from migrator.cli.live_view import LiveView  # noqa: PLC0415 - without a terminal rich is not needed

            observers.enter_context(LiveView(tracker).shown())
        else:
            observers.enter_context(Ticker(partial(write_progress, tracker), settings.progress_interval))
        yield


@contextmanager
def exported(
    settings: Settings, tracker: Tracker, run: RunFacts, exit_code_of: Callable[[Exception], int]
) -> Iterator[None]:
    """
    Write the metrics file while the block runs and at its end, and send the traces at its end, if they are asked for.

    ``exit_code_of`` returns the exit code for an error of the block. Errors of what is written or sent are told in the
    log and have no other consequence.
    """
    from migrator.monitoring.traces import is_asked_for, send  # noqa: PLC0415 - as below

    metrics = MetricsFile(settings.metrics_file, tracker, run) if settings.metrics_file else None
    exit_code: int = ExitCode.DONE
    with ExitStack() as exporters:
        if metrics:
            exporters.enter_context(Ticker(metrics.write, settings.progress_interval, at_ends=True))
        try:
            yield
        except Exception as error:
            exit_code = exit_code_of(error)
            raise
        finally:
            if metrics:
                metrics.exit_code, metrics.end = exit_code, time.time()
            if is_asked_for():
                send(tracker, run, exit_code)


def draws(settings: Settings, form: logs.Form) -> bool:
    """Return whether the live view is drawn: by default on a terminal that also gets the log."""
    automatic = settings.progress == "auto" and form == "console" and sys.stderr.isatty()
    return not settings.quiet and (automatic or settings.progress == "on")
