"""Chooses how log, progress and report are shown. Imports rich only where it draws."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

from migrator.config.settings import Settings
from migrator.reports.outcome import Outcome
from migrator.runtime import logs
from migrator.runtime.progress import NoProgress, Progress


def log_form(chosen: Literal["auto", "json", "console"]) -> logs.Form:
    """Return the chosen form of the log. ``auto`` means JSON unless stderr is a terminal."""
    if chosen == "auto":
        return "console" if sys.stderr.isatty() else "json"
    return chosen


def early_form(flag: str | None, environment: Mapping[str, str]) -> logs.Form:
    """Return the form of the log for errors that come before the settings are read: a wrong flag, or a wrong value."""
    named = (flag or environment.get("MIGRATOR_LOG_FORMAT", "auto")).lower()
    return log_form("json" if named == "json" else "console" if named == "console" else "auto")


def progress_of(settings: Settings, form: logs.Form) -> Progress:
    """Return the receiver of progress. By default it draws bars on a terminal and nothing elsewhere."""
    automatic = settings.progress == "auto" and form == "console" and sys.stderr.isatty()
    if settings.quiet or (not automatic and settings.progress != "on"):
        return NoProgress()
    from migrator.cli.console import ProgressBars  # noqa: PLC0415 - without a terminal rich is not needed

    return ProgressBars.of_stderr()


def show(outcome: Outcome, form: Literal["console", "json", "headline"], clean: Callable[[Any], Any]) -> None:
    """Print the report on stdout: for people, or only its headline, or as JSON."""
    try:
        headline = outcome.to_json().get("headline") if form == "headline" else None
        if form == "json":
            fields = {name: clean(value) for name, value in outcome.to_json().items()}
            print(json.dumps(fields, ensure_ascii=False, default=str))  # noqa: T201 - the report belongs on stdout
        elif headline is not None:
            print(clean(headline))  # noqa: T201 - the report belongs on stdout
        else:
            # Only a report for people needs rich.
            from migrator.cli.console import ReportConsole  # noqa: PLC0415
            from migrator.reports.console.outcome import render  # noqa: PLC0415

            render(outcome, ReportConsole(clean))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe. Otherwise Python would print another error at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
