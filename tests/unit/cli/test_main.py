"""The command: exit codes are a contract, reports go to stdout, events to stderr, and a signal ends it cleanly."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console

from migrator import __version__
from migrator.cli import commands, main, signals
from migrator.config.settings import Settings
from migrator.errors import (
    ConfigurationError,
    ExitCode,
    GaveUp,
    MigratorError,
    Mismatch,
    RowsInTheWay,
    ValuesRefused,
)
from migrator.monitoring.tracker import Tracker
from migrator.reports.console.outcome import render
from migrator.reports.outcome import Outcome

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("target", "restored_logs")


@pytest.fixture
def target(environment: pytest.MonkeyPatch) -> None:
    """Set a target, which every command but ``demo`` needs; nobody is there."""
    environment.setenv("MIGRATOR_TARGET_URL", "postgresql://u@h/d")


class Told:
    """An outcome to show."""

    def __init__(self, failure: MigratorError | None = None) -> None:
        """``failure`` is what the outcome amounts to."""
        self.failure = failure

    def to_json(self) -> dict[str, Any]:
        """Give something that JSON has no word for, too."""
        return {"count": 3, "path": Path("x")}


@render.register
def _(_outcome: Told, console: Console) -> None:
    console.print("3 tables")


Call = Callable[[Settings, Tracker, UUID], Awaitable[Outcome]]


@pytest.fixture
def doing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Call], None]:
    """Let the command ``status`` do something else, so that a test can decide how it ends."""

    def put(call: Call) -> None:
        command = commands.COMMANDS["status"]
        monkeypatch.setitem(commands.COMMANDS, "status", commands.Command(command.summary, command.groups, call))

    return put


def ending(outcome: Told | BaseException) -> Call:
    """Make a command that ends this way."""

    async def call(_settings: Settings, _tracker: Tracker, _run_id: UUID) -> Outcome:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return call


def events(capsys: Capture) -> list[dict[str, Any]]:
    """Read the events on stderr."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_done(doing: Callable[[Call], None], capsys: Capture) -> None:
    """Exit code 0, the report on stdout, start and end in the log under one run id."""
    doing(ending(Told()))
    assert main.main(["status", "--target", "postgresql://u@h/d"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "3 tables\n"
    first, last = map(json.loads, captured.err.splitlines())
    assert (first["event"], last["event"]) == ("job.started", "job.finished")
    assert (first["command"], first["version"]) == ("status", __version__)
    assert first["settings"] == {"target": "postgresql://u@h:5432/d"}
    assert first["run_id"] == last["run_id"]


def test_the_run_has_the_id_that_its_log_has(doing: Callable[[Call], None], capsys: Capture) -> None:
    """The ledger keeps the id that the command is given, so a line of the log leads to the run's line there."""
    given: list[str] = []

    async def call(_settings: Settings, _tracker: Tracker, run_id: UUID) -> Outcome:
        given.append(run_id.hex)
        return Told()

    doing(call)
    assert main.main(["status"]) == 0
    assert [event["run_id"] for event in events(capsys)] == given * 2


def test_a_report_for_programs(doing: Callable[[Call], None], capsys: Capture) -> None:
    """One JSON object on stdout and nothing else there."""
    doing(ending(Told()))
    assert main.main(["status", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"count": 3, "path": "x"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Mismatch("one table differs", next_step="look"), 1),
        (ConfigurationError("no", next_step="set it"), 2),
        (ValuesRefused("no", next_step="mend it"), 3),
        (RowsInTheWay("no", next_step="empty it", table="users", rows=3), 4),
        (GaveUp("no", next_step="later"), 5),
        (ConnectionRefusedError("refused"), 5),
        (ZeroDivisionError("a bug"), 70),
        (ExceptionGroup("", [RowsInTheWay("no", next_step="empty it"), TimeoutError()]), 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_error_has_its_code_and_one_line(
    doing: Callable[[Call], None], capsys: Capture, tmp_path: Path, error: Exception, code: int
) -> None:
    """The line has message, next step, code and facts; the report's file has the same; there is no traceback."""
    doing(ending(error))
    file = tmp_path / "report.json"
    assert main.main(["status", "--report", str(file)]) == code
    *_, line = events(capsys)
    assert (line["event"], line["exit_code"], line["level"]) == ("job.failed", code, "error")
    assert line["message"]
    assert line["next_step"]
    assert "exception" not in line
    if isinstance(error, RowsInTheWay):
        assert (line["table"], line["rows"]) == ("users", 3)
    assert json.loads(file.read_text())["exit_code"] == code


def test_a_mismatch_is_shown_and_is_the_exit_code(doing: Callable[[Call], None], capsys: Capture) -> None:
    """A difference that does not reach the exit code was not verified; the report is printed all the same."""
    doing(ending(Told(Mismatch("users differs", next_step="look", tables=["users"]))))
    assert main.main(["status"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "3 tables\n"
    assert json.loads(captured.err.splitlines()[-1])["tables"] == ["users"]


def test_a_traceback_only_with_debug(doing: Callable[[Call], None], capsys: Capture) -> None:
    """Whoever reports a bug needs it, and nobody else."""
    doing(ending(ZeroDivisionError("a bug")))
    assert main.main(["status", "--log-level", "debug"]) == 70
    *_, line = events(capsys)
    assert line["message"] == "unexpected: ZeroDivisionError: a bug"
    assert "--log-level debug" in line["next_step"]
    assert "ZeroDivisionError" in line["exception"]


def test_what_is_unexpected_is_named_also_out_of_a_group(doing: Callable[[Call], None], capsys: Capture) -> None:
    """Stages overlap, and "1 sub-exception" is nothing to report."""
    doing(ending(ExceptionGroup("tasks", [ExceptionGroup("more", [KeyError("gone")])])))
    assert main.main(["status"]) == 70
    *_, line = events(capsys)
    assert line["message"] == "unexpected: KeyError: 'gone'"


def test_secrets_are_out_of_log_and_report_file(
    doing: Callable[[Call], None], capsys: Capture, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where an error quotes what it shouldn't."""
    environment.setenv("MIGRATOR_TARGET_URL", "postgresql://u:s3cr%25t@h/d")
    doing(ending(RuntimeError("no login as u:s3cr%25t or s3cr%t")))
    file = tmp_path / "report.json"
    assert main.main(["status", "--report", str(file), "--log-level", "debug"]) == 70
    assert "s3cr" not in capsys.readouterr().err + file.read_text()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "no command is given"),
        (["rnu"], "there is no command rnu; `run` is near"),
        (["status", "--jobs", "3"], "--jobs is a flag of other commands"),
        (["run", "--sorce", "x"], "--source is near"),
        (["run", "--jobs", "none"], "MIGRATOR_JOBS"),
        (["run", "sqlite:///x", "postgresql://u:s3cret@h"], "takes flags only"),
        (["run", "--target", "mysql://u:s3cret@h"], "mysql://"),
        (["run", "--report", "/no/such/folder/report.json"], "/no/such/folder/report.json"),
        (["status", "--format", "yaml"], "console"),
    ],
)
def test_wrong_usage_is_2_and_named(capsys: Capture, argv: list[str], words: str) -> None:
    """One line says what is wrong and where help is; nothing was begun, and no value was quoted."""
    assert main.main(argv) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert words in line
    assert json.loads(line)["next_step"]
    assert "s3cret" not in line


def test_an_unknown_variable_is_a_warning(
    doing: Callable[[Call], None], capsys: Capture, environment: pytest.MonkeyPatch
) -> None:
    """It does nothing, and that is said; another version of the image may know it."""
    environment.setenv("MIGRATOR_ZZZZZ", "logs")
    doing(ending(Told()))
    assert main.main(["status"]) == 0
    [warning] = [event for event in events(capsys) if event["level"] == "warning"]
    assert warning["variable"] == "MIGRATOR_ZZZZZ"


@pytest.mark.parametrize("command", list(commands.COMMANDS))
def test_a_variable_that_is_almost_a_setting_is_refused(
    doing: Callable[[Call], None], capsys: Capture, environment: pytest.MonkeyPatch, command: str
) -> None:
    """By every command: what was meant by it would not be done."""
    environment.setenv("MIGRATOR_EXCLUDES", "logs")
    doing(ending(Told()))
    assert main.main([command]) == 2
    [failure] = [event for event in events(capsys) if event["event"] == "job.failed"]
    assert failure["message"].startswith("MIGRATOR_EXCLUDES is no setting (MIGRATOR_EXCLUDE is near)")


def test_the_report_file_may_fail_without_changing_the_outcome(
    doing: Callable[[Call], None], capsys: Capture, tmp_path: Path
) -> None:
    """The data is migrated; that the file went away meanwhile is said, no more."""
    folder = tmp_path / "reports"
    folder.mkdir()

    async def call(_settings: Settings, _tracker: Tracker, _run_id: UUID) -> Outcome:
        shutil.rmtree(folder)
        return Told()

    doing(call)
    assert main.main(["status", "--report", str(folder / "r.json")]) == 0
    assert "warning.report" in [event["event"] for event in events(capsys)]


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_help_of_every_command(capsys: Capture, command: str) -> None:
    """It comes on stdout, says what the command does, and isn't an error."""
    assert main.main([command, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"usage: migrator {command} [flags]\n")
    assert commands.COMMANDS[command].summary.split(".", maxsplit=1)[0] in " ".join(captured.out.split())
    assert captured.err == ""


def test_help_names_commands_and_exit_codes(capsys: Capture) -> None:
    """The page to begin with."""
    assert main.main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(re.search(rf"\b{command}\b", text) for command in commands.COMMANDS)
    assert all(re.search(rf"\b{code.value}\b", text) for code in ExitCode)
    assert str(main.BUG) in text


def test_the_version(capsys: Capture) -> None:
    """As packaged."""
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"migrator {__version__}\n"


def test_help_does_not_wait_for_drivers() -> None:
    """SQLAlchemy, Arrow, DuckDB and the ADBC drivers take long to load; help needs none of them."""
    code = "import sys; from migrator.cli import main as cli; cli.main(['run', '--help']); sys.exit(', '.join(sorted("
    code += "{'sqlalchemy', 'pyarrow', 'duckdb', 'adbc_driver_manager', 'alembic'} & set(sys.modules))) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_signal_handlers_are_put_back(doing: Callable[[Call], None]) -> None:
    """A program that calls main keeps its own."""
    before = [signal.getsignal(number) for number in signals.EXIT_CODES]
    doing(ending(Told()))
    main.main(["status"])
    assert [signal.getsignal(number) for number in signals.EXIT_CODES] == before


# A program whose command `status` says that it is there and then does not end by itself.
PROGRAM = """
import asyncio, sys, threading, time
from migrator.cli import commands, main as cli, signals

async def endless(settings, progress, run_id):
    print("begun", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("tidied", flush=True)

async def stubborn(settings, progress, run_id):
    print("begun", flush=True)
    await asyncio.to_thread(time.sleep, 3600)

async def deaf(settings, progress, run_id):
    print("begun", flush=True)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise RuntimeError("the driver's last words") from None

signals.GRACE_SECONDS = 1
commands.COMMANDS["status"] = commands.Command("", commands.COMMANDS["status"].groups, globals()[sys.argv[1]])
sys.exit(cli.main(["status", *sys.argv[2:]]))
"""


def begin(kind: str, *argv: str) -> subprocess.Popen[str]:
    """Start the program and wait until its command has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("kind", ["endless", "stubborn", "deaf"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_it(kind: str, number: signal.Signals, code: int, tmp_path: Path) -> None:
    """
    Cleanly where that is possible, and in any case soon, with the code that says so and no traceback.

    The termination message says so too, also where the command was left in the middle.
    """
    file = tmp_path / "termination-log"
    with begin(kind, "--termination-message", str(file)) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    told = json.loads(file.read_text(encoding="utf-8"))
    assert (told["exit_code"], told["message"]) == (code, f"stopped by {number.name}")
    names = [json.loads(line)["event"] for line in err.splitlines()]
    assert names[1] == "job.stopping"
    if kind == "endless":
        assert "tidied" in out
    if kind != "stubborn":
        assert names[-1] == "job.failed"
        assert json.loads(err.splitlines()[-1])["exit_code"] == code


def test_a_signal_while_settings_are_read(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before the loop runs nobody else listens; the first process of a container would ignore SIGTERM."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    environment.setenv("POSTGRES_PASSWORD_FILE", str(pipe))
    command = [sys.executable, "-m", "migrator", "status"]
    # Opening the pipe returns when the job has opened it too, and keeps it waiting for what is to be read.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process, pipe.open("w"):
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["job.failed"]


def test_a_reader_that_has_seen_enough() -> None:
    """``migrator status | head -1`` ends without complaint."""
    code = "import sys\nfrom migrator.cli import commands, main as cli\n"
    code += "sys.path.insert(0, sys.argv[1]); import test_main as t\n"
    code += "class Long(t.Told): pass\n"
    code += "t.render.register(Long, lambda _, console: [console.print('line') for _ in range(100000)])\n"
    code += "commands.COMMANDS['status'] = commands.Command('', commands.COMMANDS['status'].groups, t.ending(Long()))\n"
    code += "sys.exit(cli.main(['status']))"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "line\n"
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
    assert process.returncode == 0
    assert "Broken pipe" not in err
    assert "Traceback" not in err


def test_a_person_at_a_terminal_reads_no_json() -> None:
    """With auto the console's form is taken where stderr is a terminal, and JSON elsewhere."""
    leader, follower = pty.openpty()
    subprocess.run([sys.executable, "-m", "migrator", "rnu"], stderr=follower, check=False)
    os.close(follower)
    written = os.read(leader, 10_000).decode()
    os.close(leader)
    assert "ERROR" in written
    assert "{" not in written


def test_the_module_is_the_command() -> None:
    """``python -m migrator`` does the same."""
    done = subprocess.run([sys.executable, "-m", "migrator", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"migrator {__version__}\n"


def test_status_does_without_the_drivers_of_the_bulk_way() -> None:
    """Gates call `status` again and again: it loads no Arrow, DuckDB or Alembic, which take longer than its answer."""
    code = "import sys; import migrator.job.status; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"pyarrow", "duckdb", "alembic", "pgpq", "adbc_driver_postgresql"} & set(loaded) == set()
