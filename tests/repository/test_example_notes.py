"""The second example: an application with Alembic scripts of its own, moved to a real server."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import ROOT, Cli, clean_environment, quick_flags
from fix_postgres import Database

NOTES = ROOT / "examples" / "notes"
INI = NOTES / "alembic.ini"
BODIES = ["木 and ü", "line\nbreak"]
pytestmark = pytest.mark.one_server


def application(*command: str, source: Path) -> str:
    """Run the application, or its Alembic, as its developers do."""
    environment = clean_environment() | {"DATABASE_URL": f"sqlite:///{source}", "PYTHONPATH": str(NOTES)}
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, cwd=NOTES, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def notes_db(tmp_path: Path) -> Path:
    """Give a database that the application has written at its newest revision."""
    source = tmp_path / "notes.db"
    application("alembic", "--config", str(INI), "upgrade", "head", source=source)
    for body in BODIES:
        application("notes", "add", "trees", body, source=source)
    return source


@pytest.fixture
def old_notes_db(tmp_path: Path) -> Path:
    """Give one that an older version of the application has written, a migration of data before the newest."""
    source = tmp_path / "old.db"
    application("alembic", "--config", str(INI), "upgrade", "0002", source=source)
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("INSERT INTO notebooks VALUES (7, 'trees')")
        rows = [
            (number, 7, body, number % 2, "2024-05-06 07:08:09.123456", "[1]") for number, body in enumerate(BODIES)
        ]
        connection.executemany(
            "INSERT INTO notes (id, notebook_id, body, pinned, written_at, tags) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
        connection.commit()
    return source


async def test_the_application_moves_with_its_own_scripts(notes_db: Path, database: Database, cli: Cli) -> None:
    """Its tables, keys and rows are there afterwards, by its own migrations, and verify says so; no line knows it."""
    said = json.loads(application("notes", "list", source=notes_db))
    flags = ("--source", notes_db, "--alembic-config", INI, *quick_flags())
    ended = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    rows = await database.fetch(
        "SELECT name, body, tags, length FROM notes JOIN notebooks ON notebooks.id = notebook_id ORDER BY notes.id"
    )
    assert [(row["name"], row["body"], json.loads(row["tags"]), row["length"]) for row in rows] == [
        (note["notebook"], note["body"], note["tags"], note["length"]) for note in said
    ]
    assert cli("verify", "--source", notes_db, MIGRATOR_TARGET_URL=database.url).code == 0
    [(revision,)] = await database.fetch("SELECT version_num FROM alembic_version")
    assert revision == "0003"
    await database.execute("INSERT INTO notebooks (name) VALUES ('stones')")  # the sequence goes on after the rows


async def test_its_migration_of_data_runs_on_the_rows(old_notes_db: Path, database: Database, cli: Cli) -> None:
    """The tables are made at the source's revision 0002, filled, verified, and then brought to 0003, which counts."""
    ended = cli(
        *("run", "--source", old_notes_db, "--alembic-config", INI, *quick_flags()), MIGRATOR_TARGET_URL=database.url
    )
    assert ended.code == 0, ended.stderr
    rows = await database.fetch("SELECT body, length FROM notes ORDER BY id")
    assert [(row["body"], row["length"]) for row in rows] == [(body, len(body)) for body in BODIES]
    stages = [event["stage"] for event in ended.events if event["event"] == "stage.finished"]
    assert stages.index("verify") < stages.index("upgrade")


def test_the_dockerfile_knows_the_applications_path() -> None:
    """The image's arguments in the README are those of the Dockerfile, and the path is the application's."""
    combined = (ROOT / "examples" / "Dockerfile.with-application").read_text(encoding="utf-8")
    own = (NOTES / "Dockerfile").read_text(encoding="utf-8")
    readme = (NOTES / "README.md").read_text(encoding="utf-8")
    arguments = set(re.findall(r"^ARG (\w+)", combined, re.MULTILINE))
    assert set(re.findall(r"--build-arg (\w+)=", readme)) <= arguments
    [path] = set(re.findall(r"--build-arg APPLICATION_PATH=(\S+)", readme))
    assert f"WORKDIR {path}\n" in own
    component = ROOT / "docs" / "deployment" / "kubernetes" / "components" / "own-alembic" / "kustomization.yaml"
    assert f"{path}/." in component.read_text(encoding="utf-8")
