"""The view of a run on a terminal, drawn into a string; ``test_terminal.py`` draws it on a real terminal."""

import io
import sys

import pytest
import structlog
from rich.console import Console

from migrator.cli.live_view import LiveView, Screen, clock, render
from migrator.events import Event
from migrator.monitoring.snapshot import Pause
from migrator.monitoring.tracker import Tracker
from migrator.runtime import logs


def drawn(tracker: Tracker, *, width: int = 80, lines: int = 30) -> list[str]:
    """Return the lines of the view of this moment."""
    screen = Console(file=io.StringIO(), width=width, height=40, _environ={})
    screen.print(render(tracker.snapshot(), lines))
    assert isinstance(screen.file, io.StringIO)
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


def test_stages_tables_rows_and_bytes_are_shown_in_80_columns() -> None:
    """A line for each stage and each table in work; names are text, whatever is in them."""
    tracker = Tracker()
    with tracker.stage("preflight"):
        pass
    with tracker.stage("copy"), tracker.stage("verify"):
        tracker.expect("copy", {"users": 3000, "odd [red] name": 5, "a_very_long_name_of_a_table_indeed": 1})
        tracker.advance("copy", "users", 1000, 2_000_000)
        tracker.advance("copy", "odd [red] name", 2)
        tracker.begin_table("copy", "a_very_long_name_of_a_table_indeed")
        tracker.pause(Pause("wait", "db:5432 refused the connection", 1, 1, limit_seconds=120))
        lines = drawn(tracker)
    assert max(map(len, lines)) <= 77
    assert lines[0].split() == ["stage", "rows", "MB", "rows/s", "time", "left"]
    words = {line.split()[0]: line.split() for line in lines[1:]}
    assert words["preflight"][1] == "done"
    assert {"33", "1,002", "2.0"} <= {*words["copy"]}
    assert "1,000" in words["users"]
    assert any(line.startswith("  odd [red] name") for line in lines)
    assert lines[-1] == "db:5432 refused the connection; trying for 2 min, 2 min left"


def test_a_table_that_is_done_makes_room_and_many_tables_take_no_more_than_the_screen() -> None:
    """A database of a thousand tables has no room for a thousand lines."""
    tracker = Tracker()
    with tracker.stage("copy"):
        tracker.expect("copy", {f"t{number}": number for number in range(1000)})
        for number in range(1000):
            tracker.begin_table("copy", f"t{number}")
        lines = drawn(tracker, lines=6)
        assert [line.split()[0] for line in lines] == ["stage", "copy", "t999", "t998", "t997", "t996"]
        tracker.finish_table("copy", "t999")
        assert "t999" not in " ".join(drawn(tracker))


@pytest.mark.parametrize("form", ["json", "console"])
def test_log_lines_stay_whole_above_the_view(
    monkeypatch: pytest.MonkeyPatch, form: logs.Form, restored_logs: None
) -> None:
    """While the view is drawn what goes to stderr is printed above it, line by line; then the cursor is back."""
    del restored_logs
    screen = Screen(file=io.StringIO(), force_terminal=True, width=100, height=30, _environ={})
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    logs.configure("info", form)
    tracker = Tracker()
    with LiveView(tracker, screen).shown(), tracker.stage("copy"):
        structlog.get_logger().info(Event.TABLE_SKIPPED, table="users", reason="excluded")
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    [line] = [line for line in text.splitlines() if "excluded" in line]
    assert "copy" not in line
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0:00"), (31, "0:31"), (754, "12:34"), (4350, "1:12:30")])
def test_a_stopwatch_needs_the_same_room_all_the_time(seconds: float, words: str) -> None:
    """Columns that change their width would make the view jump."""
    assert clock(seconds) == words
