"""scripts/database/migrate-to-postgres.py, the documented one-line way, run as an operator runs it."""

import subprocess
import sys
from pathlib import Path

import pytest
from fix_job import ROOT, Ended, clean_environment
from fix_postgres import Database
from sqlalchemy import make_url

from migrator.demo.dryad import sample

SCRIPT = str(ROOT / "scripts" / "database" / "migrate-to-postgres.py")


def migrate(*arguments: str, python: tuple[str, ...] = (sys.executable,)) -> Ended:
    """Run the script to its end."""
    command = [*python, SCRIPT, *arguments]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def dryad(dryad_file: Path) -> str:
    """Give the URL of a small Dryad database."""
    return f"sqlite:///{dryad_file}"


async def test_one_line_moves_dryad_and_compares_it(dryad: str, database: Database) -> None:
    """All tables are in the schema that the init SQL made, found equal, at the newest revision; the code is 0."""
    ended = migrate(dryad, database.url)
    assert ended.code == 0, ended.stderr
    events = ended.events
    copied = {event["table"]: event["rows"] for event in events if event["event"] == "table.copied"}
    verified = {event["table"]: event["rows"] for event in events if event["event"] == "table.verified"}
    assert copied == verified
    assert {f"dryad.{table}" for table, _ in sample.TABLES} == set(copied)
    stored = await database.fetch("SELECT (SELECT count(*) FROM users), (SELECT version_num FROM alembic_version)")
    assert tuple(stored[0]) == (copied["dryad.users"], "0006")
    assert database.password not in ended.stdout + ended.stderr


@pytest.mark.one_server
async def test_the_second_time_there_is_nothing_to_do(dryad: str, database: Database) -> None:
    """It exits 0 again and leaves alone what the application has written and deleted since."""
    assert migrate(dryad, database.url).code == 0
    await database.execute("UPDATE users SET display_name = 'new'; DELETE FROM messages")
    ended = migrate(dryad, database.url)
    assert ended.code == 0, ended.stderr
    assert "nothing to do" in ended.stdout
    assert not [event for event in ended.events if event["event"] == "table.copied"]
    left = await database.fetch("SELECT DISTINCT display_name, (SELECT count(*) FROM messages) FROM users")
    assert [tuple(row) for row in left] == [("new", 0)]


@pytest.mark.one_server
async def test_a_wrong_password_is_told_at_once(dryad: str, database: Database) -> None:
    """Exit code 2, without waiting; neither the right nor the wrong password is repeated, nothing is written."""
    url = make_url(database.url).set(password="not-this-one").render_as_string(hide_password=False)
    ended = migrate(dryad, url)
    assert ended.code == 2, ended.stderr
    assert "password" in ended.message
    assert not [event for event in ended.events if event["event"] == "retry.scheduled"]
    assert "not-this-one" not in ended.stdout + ended.stderr
    assert await database.fetch("SELECT FROM pg_namespace WHERE nspname IN ('dryad', 'migrator')") == []


@pytest.mark.one_server
async def test_a_missing_source_is_named_and_not_made(tmp_path: Path, database: Database) -> None:
    """Exit code 3 and the path; no file appears there, and the target is as it was."""
    missing = tmp_path / "missing.db"
    ended = migrate(f"sqlite:///{missing}", database.url)
    assert ended.code == 3, ended.stderr
    assert str(missing) in ended.message
    assert not missing.exists()
    assert await database.fetch("SELECT FROM pg_namespace WHERE nspname IN ('dryad', 'migrator')") == []


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("sqlite:///a.db",),
        ("sqlite:///a.db", "postgresql://u@h/d", "more"),
        ("a.db", "postgresql://h/d", "--frobnicate"),
    ],
    ids=["none", "one", "three", "unknown flag"],
)
def test_wrong_arguments_get_the_usage(arguments: tuple[str, ...]) -> None:
    """Exit code 2 and one usage line that names both arguments."""
    ended = migrate(*arguments)
    assert ended.code == 2
    assert ended.stderr.startswith("usage: migrate-to-postgres.py [-h] sqlite_url postgres_url\n")
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("source", "target"),
    [("a.db", "mysql://u@h/d"), ("postgresql://u:secret@h/d", "sqlite:///a.db")],
    ids=["another database", "the wrong way round"],
)
def test_an_unusable_url_is_named(source: str, target: str) -> None:
    """Exit code 2 with one line that says what is wrong, and no password in it."""
    ended = migrate(source, target)
    assert ended.code == 2, ended.stderr
    assert ended.message
    assert "secret" not in ended.stderr


def test_without_the_package_it_says_how_to_get_it() -> None:
    """A Python in which the package isn't installed gets a line with the next step and 2, no traceback."""
    ended = migrate("a.db", "postgresql://u@h/d", python=(sys.executable, "-I", "-S"))
    assert ended.code == 2
    assert "scripts/setup.sh" in ended.stderr
    assert "Traceback" not in ended.stderr
