"""The command line as people expect it: what was mistyped, how much is told, help, and what comes without a command."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping

import pytest

from migrator import __version__
from migrator.cli import commands, main
from migrator.cli.command_line import CommandLine, chosen, read
from migrator.errors import ConfigurationError

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("environment", "restored_logs")


def at_a_terminal(*arguments: str, variables: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run the command with stderr on a terminal; return its exit code and what it said there."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "migrator", *arguments]
    done = subprocess.run(
        command, stderr=follower, check=False, env=os.environ | {"NO_COLOR": "1", **(variables or {})}
    )
    os.close(follower)
    written = os.read(leader, 100_000).decode().replace("\r\n", "\n")
    os.close(leader)
    return done.returncode, written


def test_without_arguments_a_person_reads_how_to_begin() -> None:
    """Few lines, with commands that can be pasted, and exit code 2; no error's line."""
    code, told = at_a_terminal()
    assert code == 2
    assert told.startswith("usage: migrator COMMAND [flags]\n")
    assert "\n  migrator run --source app.db --target postgresql://user@localhost:5432/app --schema create\n" in told
    assert all(name in told for name in commands.COMMANDS)
    assert len(told.splitlines()) <= 12
    assert "job.failed" not in told


def test_without_arguments_a_program_reads_one_event(capsys: Capture) -> None:
    """A pod whose command was forgotten has a line of JSON in its log."""
    assert main.main([]) == 2
    [line] = capsys.readouterr().err.splitlines()
    failure = json.loads(line)
    assert (failure["event"], failure["message"]) == ("job.failed", "no command is given")
    assert "`migrator run --source app.db" in failure["next_step"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rnu"], "there is no command rnu; `run` is near"),
        (["chekc", "--source", "a.db"], "there is no command chekc; `check` is near"),
        (["Verify"], "there is no command Verify; `verify` is near"),
        (["-v", "stauts"], "there is no command stauts; `status` is near"),
        (["help", "rest"], "there is no command rest; `reset` is near"),
        (["zzzzz"], "there is no command zzzzz"),
        (["postgresql://u:s3cret@h/d"], "the first argument is no command"),
        (["--source", "a.db", "run"], "--source stands before the command"),
        (["--target=postgresql://u:s3cret@h/d"], "no command is given before --target"),
        (["run", "-q", "-v"], "-v and -q say the opposite of each other"),
        (["run", "--sorce", "a.db", "--jbos=3"], "there is no flag --sorce; --source is near"),
    ],
)
def test_what_was_mistyped_is_named_with_what_is_near(argv: list[str], message: str) -> None:
    """And no value is quoted, which may be a password."""
    with pytest.raises(ConfigurationError) as caught:
        read(argv)
    assert str(caught.value).startswith(message)
    assert "s3cret" not in str(caught.value) + caught.value.next_step
    assert caught.value.next_step


def test_every_unknown_flag_is_named() -> None:
    """Not one at a time."""
    with pytest.raises(
        ConfigurationError, match=r"--sorce; --source is near.*--jbos; --jobs is near.*--wait is a flag"
    ):
        read(["run", "--sorce", "a.db", "--jbos=3", "--wait"])


@pytest.mark.parametrize("argv", [["help"], ["--help"], ["-h"], ["help", "--help"], ["-q", "help"]])
def test_help(capsys: Capture, argv: list[str]) -> None:
    """On stdout, without an error, and with every command unless help on help was asked for."""
    assert main.main(argv) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert all(name in told.out for name in commands.COMMANDS) or argv == ["help", "--help"]


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_of_a_command_is_its_flag_help(capsys: Capture, name: str) -> None:
    """``migrator help run`` and ``migrator run --help`` print the same."""
    assert main.main(["help", name]) == 0
    told = capsys.readouterr().out
    assert main.main([name, "--help"]) == 0
    assert told == capsys.readouterr().out


def test_the_version_has_a_short_flag(capsys: Capture) -> None:
    """As other programs have it."""
    assert main.main(["-V"]) == 0
    assert capsys.readouterr().out == f"migrator {__version__}\n"


@pytest.mark.parametrize("argv", [["status", "-v"], ["-v", "status"], ["status", "--verbose"]])
def test_v_tells_more(argv: list[str]) -> None:
    """Before the command and behind it."""
    assert read(argv).flags == {"log_level": "debug"}


@pytest.mark.parametrize("argv", [["status", "-q"], ["-q", "status"], ["status", "--quiet"]])
def test_q_tells_less(argv: list[str]) -> None:
    """Before the command and behind it."""
    assert read(argv).flags == {"quiet": True}


def test_a_dry_run_is_a_check() -> None:
    """With the settings of the run, which needs a target."""
    line = read(["run", "--dry-run", "--source", "a.db"])
    assert (line.command, line.is_dry_run, line.flags) == ("check", True, {"source_url": "a.db"})
    assert line.needs.target
    assert not line.needs.may_do_without_target
    assert read(["check"]) == CommandLine("check", "console", {}, ("check",))


def test_a_dry_run_does_not_say_what_restart_would_do(capsys: Capture) -> None:
    """What was copied is removed by the run alone, so the check would look at something else."""
    argv = ["run", "--dry-run", "--restart", "--source", "a.db", "--target", "postgresql://h/d"]
    assert main.main(argv) == 2
    assert "--restart" in json.loads(capsys.readouterr().err.splitlines()[-1])["message"]


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (("run", "--log-format", "json", "--nonsense"), {}),
        (("run", "--nonsense", "--log-format=json"), {}),
        (("rnu",), {"MIGRATOR_LOG_FORMAT": "json"}),
        (("status", "--jobs", "none", "--log-format=json"), {}),
        (("run", "--log-format=json", "--on-existing-rows", "x"), {}),
    ],
)
def test_errors_of_settings_have_the_chosen_form(arguments: tuple[str, ...], variables: dict[str, str]) -> None:
    """A line of JSON with the fields that every failure has, also at a terminal, and also before flags are known."""
    code, told = at_a_terminal(*arguments, variables=variables)
    failure = json.loads(told.splitlines()[-1])
    assert code == failure["exit_code"] == 2
    assert {"timestamp", "level", "event", "run_id", "message", "next_step"} <= set(failure)
    assert failure["event"] == "job.failed"


def test_errors_of_settings_are_text_where_text_was_chosen(capsys: Capture, environment: pytest.MonkeyPatch) -> None:
    """Also where no terminal is; and a form that there isn't leaves it to the terminal."""
    assert main.main(["run", "--nonsense", "--log-format", "console"]) == 2
    assert not capsys.readouterr().err.startswith("{")
    environment.setenv("MIGRATOR_LOG_FORMAT", "yaml")
    assert main.main(["run"]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[-1]["event"] == "job.failed"
    assert "MIGRATOR_LOG_FORMAT" in lines[-1]["message"]


def test_the_value_of_a_flag_before_it_is_parsed() -> None:
    """Both spellings, the last one wins, and nothing where there is none."""
    assert chosen(["run", "--log-format", "json"], "--log-format") == "json"
    assert chosen(["run", "--log-format=json"], "--log-format") == "json"
    assert chosen(["run", "--log-format"], "--log-format") is None
    assert chosen([], "--log-format") is None
