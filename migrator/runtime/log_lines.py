"""
Turns events into lines for people: the time, the stage, and what happened, such as ``06:37:57  copy  done in 31.0 s``.

Programs read the same events as JSON, with all their fields. A line shows what a person can use at that moment.
"""

import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from structlog.typing import EventDict, WrappedLogger

from migrator.events import Event
from migrator.monitoring.snapshot import duration
from migrator.runtime.wording import wrapped

SUBJECT_COLUMNS: Final = 9
"""The width of the stage's name, as long as the longest name."""

INDENT: Final = " " * (10 + SUBJECT_COLUMNS + 2)

MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "warning": ("WARNING ", "\x1b[33m"),
    "error": ("ERROR ", "\x1b[31m"),
    "critical": ("ERROR ", "\x1b[31m"),
}

RESET: Final = "\x1b[0m"

COMMON: Final = frozenset({"timestamp", "level", "event", "run_id", "stage", "next_step", "exception"})
"""Fields that have a place of their own in a line."""


class LogLines:
    """Renders an event as one line, and a second one if it has a next step."""

    def __init__(self, *, colours: bool) -> None:
        """``colours`` says whether warnings and errors are coloured."""
        self._colours = colours

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """Return the text of an event."""
        mark, colour = MARKS.get(str(event.get("level")), ("", ""))
        if mark and self._colours:
            mark = f"{colour}{mark.strip()}{RESET} "
        subject = str(event.get("stage") or event.get("step") or "")
        line = f"{_clock(event)}  {subject:{SUBJECT_COLUMNS}}  {mark}{words_of(event)}"
        if next_step := event.get("next_step"):
            line += f"\n{INDENT}To do: {next_step}"
        if trace := event.get("exception"):
            line += f"\n{trace}"
        return wrapped(line, shutil.get_terminal_size().columns, INDENT) if sys.stderr.isatty() else line


def _clock(event: Mapping[str, Any]) -> str:
    """Return the time of an event on the clock of the machine's time zone."""
    stamp = event.get("timestamp")
    return datetime.fromisoformat(stamp).astimezone().strftime("%H:%M:%S") if isinstance(stamp, str) else "--:--:--"


def words_of(event: Mapping[str, Any]) -> str:
    """Return what an event means, without its time and stage."""
    if words := _WORDS.get(str(event.get("event"))):
        try:
            return words(event)
        except (KeyError, TypeError, ValueError):
            pass  # an event with other fields than usual is told in its own words
    if message := event.get("message"):
        return str(message)
    name = str(event.get("event", "")).replace(".", " ").replace("_", " ")
    facts = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in event.items() if key not in COMMON)
    return f"{name}: {facts}" if facts else name


def _progress(event: Mapping[str, Any]) -> str:
    if waiting := event.get("waiting"):
        return str(waiting)
    parts = [f"{event['table']}:" if "table" in event else "under way,"]
    parts += [f"{event[unit]:,} of {event['of']:,} {unit}" for unit in ("rows", "keys", "tables") if unit in event]
    if "table" not in event and "of" not in event:
        parts.append(duration(event["seconds"]))
    if "rate" in event:
        parts.append(f"({event['rate']:,.0f} a second)")
    if "seconds_left" in event:
        parts.append(f"{duration(event['seconds_left'])} left")
    return " ".join(parts)


def _copied(event: Mapping[str, Any]) -> str:
    return f"{event['table']}: {event['rows']:,} rows, {event['bytes'] / 1e6:,.1f} MB in {event['seconds']:.1f} s"


def _tries(event: Mapping[str, Any]) -> str:
    return f", after {event['attempts']} tries" if "attempts" in event else ""


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    Event.JOB_STARTED: lambda event: f"{event['command']} {event['run_id']}, migrator {event['version']}",
    Event.JOB_FINISHED: lambda event: f"done in {event['seconds']:.1f} s",
    Event.JOB_STOPPING: lambda event: f"{event['signal']} came: stopping at the next safe point",
    Event.STAGE_STARTED: lambda _: "begins",
    Event.STAGE_FINISHED: lambda event: f"done in {event['seconds']:.1f} s{_tries(event)}",
    Event.STAGE_SKIPPED: lambda event: f"nothing to do: {event['reason']}",
    Event.RETRY_SCHEDULED: lambda event: (
        f"{event.get('reason') or event['error']}; try {event['attempt'] + 1} in {duration(event['pause_seconds'])}"
    ),
    Event.SERVER_WAITING: lambda event: (
        f"{event['server']} (from {event['setting']}) did not answer; trying for {duration(event['seconds'])}"
    ),
    Event.SERVER_READY: lambda event: f"the server answers: PostgreSQL {event['version'].partition(' (')[0]}",
    Event.LOCK_WAITING: lambda event: f"another job holds the lock of {event['of']}: {event['holder']}",
    Event.MIGRATION_CHOSEN: lambda event: f"the migration is {event['migration']}",
    Event.TABLE_COPIED: _copied,
    Event.TABLE_VERIFIED: lambda event: f"{event['table']}: {event['rows']:,} rows, every value is equal",
    Event.PROGRESS: _progress,
}
