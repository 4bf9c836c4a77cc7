"""
Writes the log to stderr: one event per line, as JSON for programs or as coloured text for people, without secrets.

All lines go through structlog. Messages that libraries send through ``logging`` (Alembic, SQLAlchemy, asyncio) or
``warnings`` get the same fields and the same redaction. ``events.py`` lists the events.
"""

import logging.config
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import TextIOBase
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from migrator.events import OF_FINDINGS, Event
from migrator.runtime.log_lines import LogLines
from migrator.runtime.redaction import redactor

Level = Literal["debug", "info", "warning", "error"]

Form = Literal["json", "console"]

# The job itself chooses these values, so they are not redacted: a password such as "copy" must not mask a stage.
OWN_FIELDS: Final = frozenset({"timestamp", "level", "run_id", "stage"})

OWN_EVENTS: Final = frozenset(event.value for event in Event)

FIRST_FIELDS: Final = ("timestamp", "level", "event", "run_id", "stage", "table")


def configure(
    level: Level, form: Form, secrets: Iterable[str] = (), listener: Callable[[EventDict], None] | None = None
) -> None:
    """
    Set up the log of the process. A later call replaces an earlier one.

    Each line goes to the object that ``sys.stderr`` is at that moment, so that the live view can print lines above
    itself. ``level`` is the lowest level that is shown. Tracebacks are shown only with ``debug``. Libraries log
    only warnings and errors, because SQLAlchemy and aiosqlite put rows into their debug lines; only Alembic's upgrade
    steps are logged at a lower level. ``form`` chooses JSON or text, and every value in ``secrets`` is masked.
    ``listener`` gets every event of the job, also those below ``level``, without secrets.
    """
    lowest = logging.getLevelNamesMapping()[level.upper()]
    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if level == "debug" else _without_traceback,
    ]
    redaction = _Redaction(secrets)
    shown: list[Processor] = [*([_without_table_rows] if form == "console" else []), _in_order, _renderer(form)]
    last: list[Processor] = [redaction, *shown]
    heard: list[Processor] = [redaction, _Heard(listener, lowest), *shown] if listener else last
    structlog.configure(
        processors=[*first, *heard],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if listener else lowest),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=False,
    )
    handler = _Handler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_from_library, *first],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("alembic.runtime.migration").setLevel(lowest)  # "Running upgrade …"; no other logger of Alembic


@contextmanager
def undisturbed() -> Iterator[None]:
    """
    Protect the set-up of the log while the application's code runs. Most ``env.py`` call ``logging.config.fileConfig``.

    The handlers of such a call would write to stderr without redaction, and the call disables the existing loggers. So
    it is ignored. Text that the code prints becomes lines of the log, to be redacted too and to keep stdout for the
    report.
    """

    def ignore(*_arguments: object, **_keywords: object) -> None:
        return

    originals = {name: getattr(logging.config, name) for name in ("fileConfig", "dictConfig")}
    try:
        for name in originals:
            setattr(logging.config, name, ignore)
        with redirect_stdout(_Printed("stdout", sys.stdout)), redirect_stderr(_Printed("stderr", sys.stderr)):
            yield
    finally:
        for name, function in originals.items():
            setattr(logging.config, name, function)


class _Printed(TextIOBase):
    """Replaces stdout or stderr. Each printed line becomes an event."""

    def __init__(self, name: str, beneath: TextIO) -> None:
        self._name = name
        self._rest = ""
        self.beneath = beneath

    def write(self, text: str, /) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(str.strip, lines):
            self._log(line)
        return len(text)

    def flush(self) -> None:
        if self._rest.strip():
            self._log(self._rest)
        self._rest = ""

    def _log(self, line: str) -> None:
        structlog.get_logger().info(Event.LIBRARY_MESSAGE, logger=self._name, message=line)


class _Stderr:
    """Writes whole lines to the object that ``sys.stderr`` is at that moment."""

    def msg(self, message: str) -> None:
        with suppress(BrokenPipeError, ValueError):  # a closed stderr must not fail a migration
            stream = sys.stderr.beneath if isinstance(sys.stderr, _Printed) else sys.stderr
            stream.write(message + "\n")
            stream.flush()

    debug = info = warning = error = critical = exception = msg


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _Stderr().msg(self.format(record))


class _Redaction:
    """Masks every secret in every value, also in nested values and in the text of an exception."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._clean = redactor(secrets)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {name: value if _is_own(name, value) else self._clean(value) for name, value in event.items()}


class _Heard:
    """Gives each event to a listener, and drops those that are not to be shown."""

    def __init__(self, listener: Callable[[EventDict], None], lowest: int) -> None:
        self._listener = listener
        self._lowest = lowest

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        self._listener(event)
        if logging.getLevelNamesMapping()[event["level"].upper()] < self._lowest:
            raise structlog.DropEvent
        return event


def _is_own(name: str, value: object) -> bool:
    return name in OWN_FIELDS or (name == "event" and value in OWN_EVENTS)


def _from_library(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Move a library's text from ``event`` to ``message``. The second line of a warning is source code and is cut."""
    record: logging.LogRecord = event["_record"]
    text = str(event["event"])
    message = text.partition("\n")[0] if record.name == "py.warnings" else text
    return {**event, "event": Event.LIBRARY_MESSAGE.value, "logger": record.name, "message": message}


def _without_traceback(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace an exception by its type and message, without the traceback."""
    trace: Any = event.pop("exc_info", None)
    error = trace[1] if isinstance(trace, tuple) else trace if isinstance(trace, BaseException) else sys.exception()
    if trace and error is not None:
        event.setdefault("error", f"{type(error).__name__}: {error}")
    return event


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: event[name] for name in (*(n for n in FIRST_FIELDS if n in event), *event)}


def _without_table_rows(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """
    Leave out what the report shows on the same terminal: the findings one by one, and the next step.

    Raises structlog.DropEvent for an event about one finding.
    """
    if not sys.stdout.isatty():
        return event
    if event.get("event") in OF_FINDINGS:
        raise structlog.DropEvent
    if event.get("event") == Event.JOB_FAILED and "reasons" in event:
        event.pop("next_step", None)
    return event


def _renderer(form: Form) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")  # https://no-color.org
    return LogLines(colours=colours)
