"""Chooses how log and report are shown. Imports rich only where it draws."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from migrator.reports.outcome import Outcome
from migrator.runtime import logs

if TYPE_CHECKING:
    from migrator.reports.run_report import Report


def log_form(chosen: Literal["auto", "json", "console"]) -> logs.Form:
    """Return the chosen form of the log. ``auto`` means JSON unless stderr is a terminal."""
    if chosen == "auto":
        return "console" if sys.stderr.isatty() else "json"
    return chosen


def early_form(flag: str | None, environment: Mapping[str, str]) -> logs.Form:
    """Return the form of the log for errors that come before the settings are read: a wrong flag, or a wrong value."""
    named = (flag or environment.get("MIGRATOR_LOG_FORMAT", "auto")).lower()
    return log_form("json" if named == "json" else "console" if named == "console" else "auto")


def show(outcome: Outcome, form: Literal["console", "json", "headline"], clean: Callable[[Any], Any]) -> None:
    """Print the report on stdout: for people, or only its headline, or as JSON."""
    try:
        headline = outcome.to_json().get("headline") if form == "headline" else None
        if form == "json":
            fields = {name: clean(value) for name, value in outcome.to_json().items()}
            print(json.dumps(fields, ensure_ascii=False, default=str))  # noqa: T201 - the report belongs on stdout
        elif headline is not None:
            print(clean(headline))  # noqa: T201 - the report belongs on stdout
        elif _is_plain(outcome):
            from migrator.reports.console.lines import PlainLines  # noqa: PLC0415 - as below
            from migrator.reports.console.run_report import render_run  # noqa: PLC0415

            render_run(outcome, PlainLines(clean))
        else:
            # Only what is drawn needs rich: 0.04 s.
            from migrator.cli.console import ReportConsole  # noqa: PLC0415
            from migrator.reports.console.outcome import render  # noqa: PLC0415

            render(outcome, ReportConsole(clean))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe. Otherwise Python would print another error at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_plain(outcome: Outcome) -> TypeGuard["Report"]:
    """Return whether an outcome is printed as plain lines: a run's, unless it goes to a terminal, or is to look so."""
    from migrator.reports.run_report import Report  # noqa: PLC0415 - a command with another outcome doesn't need it

    looks_drawn = sys.stdout.isatty() or os.environ.get("FORCE_COLOR") or os.environ.get("TTY_COMPATIBLE")
    return isinstance(outcome, Report) and not outcome.refreshed and not looks_drawn
