"""
Watching a run: in a real terminal, in the log without one, in the metrics file, and at a receiver of traces.

A lock on a table of the target holds the copy, so that there is time to look.
"""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from fix_job import Cli, quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from prometheus_client.openmetrics.parser import text_string_to_metric_families

pytestmark = pytest.mark.one_server

SOURCE = """
CREATE TABLE notes (id INTEGER, body TEXT);
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO notes SELECT i, 'text' FROM n;
INSERT INTO users VALUES (1, 'ada'), (2, 'bob');
"""
HEADER = "stage                                  rows       MB    rows/s    time   left"
TARGET = "CREATE TABLE notes (id bigint, body text); CREATE TABLE users (id bigint PRIMARY KEY, name text)"


@dataclass
class Terminal:
    """A terminal of 80 columns, with a shell in it."""

    socket: str

    def tmux(self, *command: str) -> str:
        """Run a command of tmux and return what it prints."""
        done = subprocess.run(
            ["tmux", "-L", self.socket, *command], capture_output=True, text=True, check=True, timeout=20
        )
        return done.stdout

    def enter(self, command: str) -> None:
        """Type a line."""
        self.tmux("send-keys", "-l", command)
        self.tmux("send-keys", "Enter")

    def screen(self) -> list[str]:
        """Return the lines that the terminal shows, and those that have scrolled out of sight."""
        return self.tmux("capture-pane", "-p", "-S", "-500").rstrip().splitlines()

    async def until(self, condition: Callable[[list[str]], bool]) -> list[str]:
        """Wait until what is shown fulfils the condition, and return it."""
        async with asyncio.timeout(60):
            while not condition(lines := await asyncio.to_thread(self.screen)):  # noqa: ASYNC110 - tmux tells of no change
                await asyncio.sleep(0.1)
        return lines


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Give a terminal; ``scripts/terminal.sh`` installs what it needs."""
    if shutil.which("tmux") is None:
        pytest.skip("there is no tmux; scripts/terminal.sh installs it")
    terminal = Terminal(f"migrator-{os.getpid()}-{tmp_path.name}")
    environment = {"PS1": "$ ", "TERM": "screen", "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    given = [f"{name}={value}" for name, value in environment.items()]
    terminal.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "50", "env", "-i", *given, "sh")
    yield terminal
    terminal.tmux("kill-server")


def row(lines: list[str], name: str) -> list[str]:
    """Return the words of the last line of the view about a stage or a table; none if it isn't shown."""
    found = [line.split() for line in lines if line.split()[:1] == [name]]
    return found[-1] if found else []


def ended(code: int, times: int = 1) -> Callable[[list[str]], bool]:
    """Return a condition: the shell has printed the exit code so often."""
    return lambda lines: lines.count(f"code {code}") == times


async def test_a_person_sees_every_stage_and_gets_the_terminal_back(
    terminal: Terminal, database: Database, make_sqlite: MakeSqlite
) -> None:
    """A line a stage while it goes on, whole log lines above; after Ctrl-C and at the end the terminal is clean."""
    source = make_sqlite(SOURCE)
    await database.execute(TARGET)
    command = [sys.executable, "-m", "migrator", "run", "--source", str(source), "--schema", "existing"]
    command += ["--jobs", "2", "--target-url", database.url]
    held = await asyncpg.connect(database.url)
    try:
        async with held.transaction():
            await held.execute("LOCK TABLE notes IN SHARE MODE")
            terminal.enter(f"{shlex.join(command)}; echo code $?")
            lines = await terminal.until(lambda lines: bool(row(lines, "copy") and row(lines, "public.notes")))
            assert row(lines, "preflight")[1] == "done"
            assert row(lines, "copy")[1] != "done"
            terminal.tmux("resize-window", "-x", "60")
            await terminal.until(lambda lines: any(re.fullmatch("stage .*…", line) for line in lines))
            terminal.tmux("resize-window", "-x", "80")
            await terminal.until(lambda lines: HEADER in lines)
            terminal.tmux("send-keys", "C-c")
            await terminal.until(ended(130))
            assert terminal.tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"
            first = terminal.screen()
        terminal.tmux("send-keys", "-R")
        terminal.tmux("clear-history")
        terminal.enter(f"NO_COLOR=1 {shlex.join(command)}; echo code $?")
        lines = await terminal.until(ended(0))
    finally:
        await held.close()
    for stage in ("wait", "preflight", "copy", "restore", "analyze", "verify", "sequences"):
        assert row(lines, stage)[1] == "done", lines
    assert "5,002" in row(lines, "verify")
    assert (first.count(HEADER), lines.count(HEADER)) == (1, 1), "\n".join([*first, *lines])
    assert any(line[2::3][:2] == "::" and "preflight  done in" in line for line in lines)
    assert not re.search(r"\x1b\[[0-9;]*\b[39][0-7]m", terminal.tmux("capture-pane", "-p", "-e"))
    assert terminal.tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"
    terminal.tmux("send-keys", "-R")
    terminal.tmux("clear-history")
    terminal.enter(f"{shlex.join(command)} --quiet; echo code $?")
    lines = await terminal.until(ended(0))
    assert [line for line in lines if line == HEADER or "preflight" in line] == []


def test_a_log_shows_life_and_the_metrics_file_tells_the_end(
    cli: Cli, database: Database, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """Events tell of every stage that counts; the numbers in the file are those of the report."""
    asyncio.run(database.execute(TARGET))
    metrics = tmp_path / "migrator.prom"
    flags = ("--metrics-file", metrics, "--progress-interval", "0.001", *quick_flags())
    done = cli("run", "--source", make_sqlite(SOURCE), "--schema", "existing", *flags, MIGRATOR_TARGET_URL=database.url)
    assert done.code == 0, done.stderr
    progress = [event for event in done.events if event["event"] == "progress"]
    assert {"preflight", "copy"} <= {event.get("stage") for event in progress}
    copied = [event for event in progress if event.get("stage") == "copy" and "of" in event and "table" not in event]
    assert copied[-1]["of"] == 5002
    assert len({event["run_id"] for event in done.events}) == 1
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.read_text())  # type: ignore[no-untyped-call]
        for sample in family.samples
    }
    assert samples["migrator_exit_code",] == 0
    assert samples["migrator_table_done", "copy", "public.notes", "rows"] == 5000
    assert samples["migrator_table_done", "verify", "public.users", "rows"] == 2
    assert samples["migrator_start_time_seconds",] < samples["migrator_end_time_seconds",]
    assert "text" not in metrics.read_text().replace("text format", "")


def test_a_server_that_is_away_is_told_while_it_is_waited_for(
    cli: Cli, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """Who is waited for, why, and for how long yet; and the metrics file has the exit code of a failed run."""
    metrics = tmp_path / "migrator.prom"
    done = cli(
        "check", "--source", make_sqlite(SOURCE), "--metrics-file", metrics, "--progress-interval", "0.1",
        "--wait-timeout-seconds", "1.5", MIGRATOR_TARGET_URL="postgresql://a:secret-word@127.0.0.1:1/a",
    )  # fmt: skip
    assert done.code == 5
    waiting = {event["waiting"] for event in done.events if event["event"] == "progress" and "waiting" in event}
    assert any(line.startswith("127.0.0.1:1 refused the connection; trying for 1.5 s, ") for line in waiting), waiting
    text = metrics.read_text()
    assert "migrator_exit_code 5" in text
    assert 'migrator_stage_failed{stage="wait"} 1' in text
    assert "secret-word" not in text + json.dumps(done.events)
