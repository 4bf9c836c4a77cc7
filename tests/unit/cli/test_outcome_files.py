"""The outcome in files: a termination message is one short line of JSON without secrets, whatever the outcome is."""

import json
from pathlib import Path

import pytest
from fix_job import Cli, quick_flags, settings_of, until
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.cli.outcome_files import LONGEST_LINE_BYTES, OutcomeFiles, short_line


def said(file: Path) -> dict[str, object]:
    """Read a termination message, which has to be one line."""
    [line] = file.read_text(encoding="utf-8").splitlines()
    told: dict[str, object] = json.loads(line)
    return told


@pytest.mark.parametrize("character", ["x", "ü", "木", '"', "\\", "\n"])
def test_a_long_message_is_cut_and_stays_json(character: str) -> None:
    """The kubelet cuts at 4096 bytes wherever that falls, so the line is below it in bytes, escapes included."""
    line = short_line({"exit_code": 3, "message": character * 10_000, "next_step": "mend it"})
    assert len(line.encode()) <= LONGEST_LINE_BYTES
    told = json.loads(line)
    assert (told["exit_code"], told["next_step"]) == (3, "mend it")
    assert told["message"].startswith(character * 300)
    assert told["message"].endswith("…")


def test_a_short_message_is_whole() -> None:
    """Nothing is cut where nothing has to be; what the line has no room for (tables, say) is left to the report."""
    line = short_line({"exit_code": 0, "message": "migrated", "tables": ["x"] * 1000, "next_step": ""})
    assert json.loads(line) == {"exit_code": 0, "message": "migrated"}


@pytest.mark.one_server
def test_what_can_not_be_written_changes_nothing(database: Database, tmp_path: Path) -> None:
    """A termination message is a courtesy: the outcome of the job is what it is."""
    settings = settings_of(tmp_path / "x.db", database, termination_message=tmp_path / "missing" / "log")
    OutcomeFiles.of(settings).write({"message": "done", "exit_code": 0})
    assert not (tmp_path / "missing").exists()


@pytest.mark.one_server
async def test_every_exit_code_leaves_its_line(
    make_sqlite: MakeSqlite, database: Database, cli: Cli, tmp_path: Path
) -> None:
    """Done, mismatch, configuration, refused value, rows in the way, and a server that is away: one file tells."""
    file = tmp_path / "termination-log"
    source = make_sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER)", {"a": [(1, "many")]})
    good = make_sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER)", {"a": [(1, 5)]}, file=tmp_path / "good.db")
    await database.execute("CREATE TABLE a (id int PRIMARY KEY, n int)")

    def run(*command: object, **environment: str) -> tuple[int, dict[str, object]]:
        file.write_text("")
        variables = {"MIGRATOR_TARGET_URL": database.url} | environment
        ended = cli(*command, variables=variables, MIGRATOR_TERMINATION_MESSAGE=str(file))
        assert database.password not in file.read_text()
        return ended.code, said(file)

    move = ("run", "--schema", "existing", *quick_flags(), "--source")
    code, told = run(*move, source)
    assert (code, told["exit_code"], told["stage"]) == (3, 3, "preflight")
    assert "id = 1: 'many'" in str(told["message"])
    assert told["next_step"]
    code, told = run(*move, good, MIGRATOR_JOBS="many")
    assert (code, told["exit_code"]) == (2, 2)
    assert "MIGRATOR_JOBS" in str(told["message"])
    away = database.url.partition("@")[0] + "@127.0.0.1:1/x"
    code, told = run(*move, good, "--wait-timeout-seconds", 0.5, MIGRATOR_TARGET_URL=away)
    assert (code, told["exit_code"], told["stage"]) == (5, 5, "wait")
    await database.execute("INSERT INTO a VALUES (7, 7)")
    code, told = run(*move, good)
    assert (code, told["exit_code"]) == (4, 4)
    await database.execute("DELETE FROM a")
    code, told = run(*move, good)
    assert (code, told["exit_code"]) == (0, 0)
    assert str(told["message"]).startswith("migrated: every value")
    await database.execute("UPDATE a SET n = 6")
    code, told = run("verify", "--source", good)
    assert (code, told["exit_code"]) == (1, 1)


@pytest.mark.one_server
def test_a_run_that_is_killed_leaves_no_older_success(database: Database, cli: Cli, tmp_path: Path) -> None:
    """From its begin on the files say that it has not ended; and differences of another day are gone."""
    files = {"report": tmp_path / "report.json"}
    files |= {name: tmp_path / name for name in ("differences", "termination-message")}
    for file in files.values():
        file.write_text('{"message": "done", "exit_code": 0}')
    flags = [part for name, file in files.items() for part in (f"--{name}", file)]
    away = database.url.partition("@")[0] + "@127.0.0.1:1/x"
    source = tmp_path / "none.db"
    started = cli.start("run", "--source", source, *flags, "--schema", "existing", MIGRATOR_TARGET_URL=away)
    until(lambda event: event["event"] == "stage.retrying" or event.get("stage") == "wait", started)
    started.kill()
    started.wait()
    assert not files["differences"].exists()
    for name in ("report", "termination-message"):
        told = said(files[name])
        assert (told["message"], told.get("exit_code")) == ("run has begun, and has not ended yet", None)


@pytest.mark.one_server
@pytest.mark.parametrize("way", ["flag", "variable"])
def test_a_complaint_about_settings_is_the_outcome_too(way: str, cli: Cli, tmp_path: Path) -> None:
    """A setting is wrong, and the report isn't that of the run before."""
    report = tmp_path / "report.json"
    report.write_text('{"exit_code": 0}')
    flags, variables = ((), {"MIGRATOR_REPORT": str(report)}) if way == "variable" else (("--report", report), {})
    assert cli("run", *flags, variables=variables, MIGRATOR_JOBS="many").code == 2
    assert said(report)["exit_code"] == 2
