"""The log as people read it."""

import re

import pytest
import structlog

from migrator.events import Event
from migrator.runtime import logs
from migrator.runtime.log_lines import words_of

Capture = pytest.CaptureFixture[str]


@pytest.mark.usefixtures("restored_logs")
def test_a_line_has_the_time_the_stage_and_what_happened(capsys: Capture) -> None:
    """The run's id is in the first line only, and what to do is on a line of its own."""
    logs.configure("info", "console")
    log = structlog.get_logger()
    with structlog.contextvars.bound_contextvars(run_id="4f3c"):
        log.info(Event.JOB_STARTED, command="run", version="1.0", settings={})
        with structlog.contextvars.bound_contextvars(stage="preflight"):
            log.info(Event.STAGE_FINISHED, seconds=31.04)
            log.warning(Event.RETRY_SCHEDULED, attempt=1, pause_seconds=2.5, error="connection lost")
        log.error(Event.JOB_FAILED, message="no room", next_step="Free some.", exit_code=4, table="t")
    lines = [re.sub(r"^\d\d:\d\d:\d\d", "06:37:57", line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "06:37:57             run 4f3c, migrator 1.0",
        "06:37:57  preflight  done in 31.0 s",
        "06:37:57  preflight  WARNING connection lost; try 2 in 2.5 s",
        "06:37:57             ERROR no room",
        "                     To do: Free some.",
    ]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"event": "progress", "seconds": 12.0, "rows": 5, "of": 1000}, "under way, 5 of 1,000 rows"),
        ({"event": "progress", "seconds": 12.0}, "under way, 12 s"),
        (
            {"event": "progress", "table": "a.b", "rows": 5, "of": 1000, "rate": 1234.5, "seconds_left": 61},
            "a.b: 5 of 1,000 rows (1,234 a second) 61 s left",
        ),
        ({"event": "progress", "waiting": "db:1 refused the connection"}, "db:1 refused the connection"),
        ({"event": "table.skipped", "level": "info", "reason": "excluded"}, "table skipped: reason: excluded"),
        ({"event": "stage.finished"}, "stage finished"),
    ],
)
def test_what_an_event_says(event: dict[str, object], words: str) -> None:
    """An event without words of its own, or without its usual fields, still tells all it has."""
    assert words_of(event) == words


@pytest.mark.usefixtures("restored_logs")
def test_colours_are_for_terminals_that_want_them(capsys: Capture) -> None:
    """In a file or a pipe there is not one control character."""
    logs.configure("info", "console")
    structlog.get_logger().warning(Event.WARNING_SERVER, message="slow")
    assert "\x1b" not in capsys.readouterr().err
