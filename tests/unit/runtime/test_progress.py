"""Progress: bars where somebody looks, and log lines that stay whole above them."""

import io
import sys
from threading import Thread

import pytest
import structlog
from rich.console import Console

from migrator.cli.console import ProgressBars
from migrator.events import Event
from migrator.runtime import logs
from migrator.runtime.progress import NoProgress, Progress


@pytest.fixture
def screen() -> Console:
    """Give a terminal of fixed size that remembers what was written to it."""
    return Console(file=io.StringIO(), force_terminal=True, width=100, height=30, _environ={})


def shown(screen: Console) -> str:
    """Give all that was written."""
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_stage_tables_rows_and_bytes_are_shown(screen: Console) -> None:
    """A bar for the stage, one for each table under way; names are text, whatever is in them."""
    progress = ProgressBars(screen)
    progress.begin("copy", {"users": 3000, "odd [red] name": 5})
    progress.advance("users", rows=1000, bytes=2_000_000)
    progress.advance("odd [red] name", rows=2)
    progress.finish()
    text = shown(screen)
    for expected in ("copy", "users", "odd [red] name", "1,000 of 3,000 rows", "2.0 MB", "1,002 of 3,005 rows"):
        assert expected in text


def test_a_table_that_is_done_makes_room(screen: Console) -> None:
    """A database of a thousand tables has no room for a thousand bars."""
    progress = ProgressBars(screen)
    progress.begin("copy", {"users": 10, "logs": 10})
    progress.advance("users", rows=10)
    before = len(shown(screen))
    progress.advance("logs", rows=1)
    progress.finish()
    assert "users" not in shown(screen)[before:]


def test_counting_from_many_threads(screen: Console) -> None:
    """Tables are loaded side by side; no row is lost from the count."""
    progress = ProgressBars(screen)
    progress.begin("copy", {str(n): 500 for n in range(4)})

    def count(table: str) -> None:
        for _ in range(499):
            progress.advance(table, rows=1, bytes=1)

    threads = [Thread(target=count, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    progress.finish()
    assert "1,996 of 2,000 rows" in shown(screen)


@pytest.mark.parametrize("form", ["json", "console"])
def test_log_lines_stay_whole_above_the_bars(
    screen: Console, monkeypatch: pytest.MonkeyPatch, form: logs.Form, restored_logs: None
) -> None:
    """While bars are drawn what goes to stderr is printed above them, line by line."""
    del restored_logs
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    logs.configure("info", form)
    progress = ProgressBars(screen)
    progress.begin("copy", {"users": 10})
    progress.advance("users", rows=1)
    structlog.get_logger().info(Event.TABLE_COPIED, table="users")
    progress.finish()
    lines = [line for line in shown(screen).splitlines() if "table.copied" in line]
    assert len(lines) == 1
    assert "rows" not in lines[0]


@pytest.mark.parametrize("progress", [NoProgress(), ProgressBars(Console(file=io.StringIO(), force_terminal=True))])
def test_order_does_not_matter(progress: Progress) -> None:
    """A stage that is tried again begins again; finishing twice, or counting after the end, harms nobody."""
    progress.finish()
    progress.advance("users", rows=1)
    progress.begin("copy", {})
    progress.advance("unheard of", rows=1)
    progress.begin("verify", {"users": 1})
    progress.finish()
    progress.finish()
