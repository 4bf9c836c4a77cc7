"""Starts and ends everything that watches a run: the live view, and the events of the heartbeat."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from migrator.config.settings import Settings
from migrator.monitoring.heartbeat import write_progress
from migrator.monitoring.ticker import Ticker
from migrator.monitoring.tracker import Tracker
from migrator.runtime import logs


@contextmanager
def observed(settings: Settings, form: logs.Form, tracker: Tracker) -> Iterator[None]:
    """Show what a run does while the block runs: as a live view on a terminal, and as events elsewhere."""
    with ExitStack() as observers:
        if draws(settings, form):
            from migrator.cli.live_view import LiveView  # noqa: PLC0415 - without a terminal rich is not needed

            observers.enter_context(LiveView(tracker).shown())
        else:
            observers.enter_context(Ticker(partial(write_progress, tracker), settings.progress_interval))
        yield


def draws(settings: Settings, form: logs.Form) -> bool:
    """Return whether the live view is drawn: by default on a terminal that also gets the log."""
    automatic = settings.progress == "auto" and form == "console" and sys.stderr.isatty()
    return not settings.quiet and (automatic or settings.progress == "on")
