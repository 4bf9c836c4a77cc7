"""Commands in the documentation: a test runs them, or it is known why not and what holds them to the truth instead."""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from adbc_driver_postgresql import dbapi

from migrator.cli.arguments import Parser, add_settings
from migrator.cli.commands import COMMANDS
from migrator.demo.server import EmbeddedServer

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^(?P<indent> *)```(?P<kind>\w+)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
SHELL = ("sh", "bash")
TUTORIAL = ROOT / "docs" / "tutorial" / "first-migration.md"
README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "deployment" / "POSTGRESQL_MIGRATION.md"

RUN = {
    "README.md": "test_the_readme_leads_your_own_file_to_postgresql",
    "docs/tutorial/first-migration.md": "test_the_tutorial_does_what_it_shows",
    "docs/deployment/POSTGRESQL_MIGRATION.md": "test_every_command_of_the_guide_runs",
    "examples/notes/README.md": "test_the_application_moves_with_its_own_scripts",
}
"""Pages whose commands are run, by the test that does it."""

CLUSTER = "it needs a cluster: tests/containers/test_kubernetes.py"
NOT_RUN = {
    "docs/deployment/IMAGE.md": "it needs a container engine: tests/containers/test_image.py",
    "docs/deployment/ci.md": "it waits for a migration: tests/repository/test_ci.py runs the stage",
    "docs/deployment/kubernetes/README.md": CLUSTER,
    "docs/explanation/benchmarks.md": "it takes hours: tests/repository/test_benchmark.py tries it on little",
    "docs/explanation/performance.md": "it measures: tests/repository/test_benchmark.py tries it on little",
}
"""Pages whose commands are not run, with the reason."""


def pages() -> list[Path]:
    """Return every page that may hold commands."""
    return sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def blocks(page: Path, *kinds: str) -> list[str]:
    """Return the fenced blocks of these kinds, also those within a list."""
    found = (match for match in BLOCK.finditer(page.read_text(encoding="utf-8")) if match["kind"] in kinds)
    return [re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE) for match in found]


def uses() -> Iterator[tuple[Path, list[str]]]:
    """Yield every command line of the migrator on a page, as its words."""
    for page in pages():
        for text in blocks(page, *SHELL):
            for line in (
                re.sub(r"<<'(\w+)'\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
                .replace("\\\n", " ")
                .splitlines()
            ):
                words = re.split(r"\s(?:\|\|?|&&|>)\s", line)[0]
                words = re.sub(r"^(?:time|\w+=\S+)\s+", "", words)
                if re.match(r"(?:\.venv/bin/)?migrator ", words):
                    yield page, shlex.split(words, comments=True)[1:]


def test_every_page_with_commands_is_run_or_says_why_not() -> None:
    """A block of kind ``sh`` is run by the test that is named here; ``bash`` is for what needs another program."""
    with_commands = {str(page.relative_to(ROOT)) for page in pages() if blocks(page, "sh")}
    assert with_commands == {*RUN, *NOT_RUN}
    assert not RUN.keys() & NOT_RUN.keys()
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "repository").glob("test_*.py"))
    assert [name for name in RUN.values() if not re.search(rf"^(?:async )?def {name}\(", tests, re.MULTILINE)] == []


def test_flags_of_every_command_line_exist() -> None:
    """Also in blocks that no test runs, and within lists."""
    found = list(uses())
    assert len({page for page, _ in found}) > len(RUN)
    for page, words in found:
        parser = Parser(prog="migrator")
        parser.add_argument("--format")
        parser.add_argument("--version", action="store_true")
        if not words[0].startswith("-"):
            add_settings(parser, COMMANDS[words[0]].groups)
        _, strangers = parser.parse_known_args(words[not words[0].startswith("-") :])
        assert [word for word in strangers if word not in OWN_FLAGS] == [], (page, words)


OWN_FLAGS = {"--dry-run", "-v", "-q"}
"""Flags that the command line has beside the settings."""


def environment(**more: str) -> dict[str, str]:
    """Return an environment without settings of the job, in which `python3` is this one."""
    inherited = ("MIGRATOR_", "POSTGRES_", "PG", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(inherited)}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT)} | more


def run(script: str, folder: Path) -> str:
    """Run a script as somebody who pastes it, and return what it says; fail with that if a command fails."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Give a folder that is like a fresh clone: nothing is there but what the repository has."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("migrator", "scripts", ".env.example"):
        (folder / name).symlink_to(ROOT / name)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (programs / "migrator").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m migrator "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    return folder


def without_setup(script: str) -> str:
    """Return a script without the set-up, which the tests' own environment has behind it."""
    return "".join(f"{line}\n" for line in script.splitlines() if line != "./scripts/setup.sh")


def figures(text: str) -> str:
    """Return a text without what may differ from run to run: sizes, and runs of blanks."""
    return re.sub(r"[ \t]+", " ", re.sub(r"\d[\d.]* [kM]?B\b", "SIZE", text))


def test_the_tutorial_does_what_it_shows(clone: Path) -> None:
    """Its commands, one after the other in one shell, in a fresh clone; each line that it shows is printed."""
    script = without_setup("\n".join(blocks(TUTORIAL, "sh")))
    try:
        said = run(script, clone)
    finally:
        if (clone / "practice" / "pid").exists():
            run(".venv/bin/python scripts/practice.py stop", clone)
    assert "exit code 3" in said
    printed = {line.strip() for line in figures(said).splitlines()}
    shown = [line.strip() for text in blocks(TUTORIAL, "text") for line in figures(text).splitlines() if line.strip()]
    assert [line for line in shown if line not in printed and not re.fullmatch(r"[-+]+", line)] == []
    assert "5001" in said
    assert "already migrated and verified" in said
    assert not (clone / "practice").exists()


def runnable(block: str) -> str:
    """Return a block of the guide without what needs a container engine."""
    return "".join(f"{line}\n" for line in block.replace("\\\n", " ").splitlines() if "docker " not in line)


def test_every_command_of_the_guide_runs(clone: Path) -> None:
    """The guide's blocks, one after the other in one shell, move a Dryad from SQLite to PostgreSQL, twice."""
    steps = [f"echo '=== block {number}'\n{runnable(text)}" for number, text in enumerate(blocks(GUIDE, "sh"), 1)]
    last = "psql -Atc \"SELECT 'left', count(*), to_regnamespace('migrator') IS NULL FROM dryad.users\"\n"
    assert "practice.py stop" in steps[-1]
    try:
        said = run(without_setup("\n".join([*steps[:-1], last, steps[-1]])), clone)
    finally:
        if (clone / "practice" / "pid").exists():
            run(".venv/bin/python scripts/practice.py stop", clone)
    ends = [said.count(f"{done}: every value of every row is in the target") for done in ("migrated", "refreshed")]
    assert ends == [2, 1]  # the rehearsal and the one anew; the night
    assert said.count("rehearsed and verified: ") == 1
    assert "every value of every row is equal" in said
    with closing(sqlite3.connect(f"file:{clone}/data/dryad.db?mode=ro", uri=True)) as source:
        (users,) = source.execute("SELECT count(*) FROM users").fetchone()
    assert f"{users} users on 127.0.0.1" in said
    assert f"left|{users}|t" in said
    assert all(name in said for name in ("idx_users_email", "idx_messages_conversation_id"))


def test_nothing_makes_a_file_by_looking_at_it() -> None:
    """A database that is only looked at is opened in a mode that makes no file where none is."""
    opened = [
        (str(page.relative_to(ROOT)), line)
        for page in pages()
        for text in blocks(page, *SHELL)
        for line in text.splitlines()
        if re.search(r"\bsqlite3 (?!-)\S|sqlite3\.connect\((?![\"']file:[^\"']*\?mode=r[ow])", line)
    ]
    assert opened == []


def test_practice_says_what_it_did_not_do(clone: Path) -> None:
    """Stopped without a start, it ends with 2 and says where it looked."""
    done = subprocess.run(
        [sys.executable, "scripts/practice.py", "stop"],
        cwd=clone,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no server was started" in done.stderr


def test_the_readme_leads_your_own_file_to_postgresql(clone: Path, own_server: EmbeddedServer) -> None:
    """The shortest way of the README, with another path and address, carries a file of one table."""
    own_server.create_role("app", "secret")
    own_server.create_database("app", "app")
    source = clone / "app.db"
    with closing(sqlite3.connect(source)) as database, database:
        database.executescript("CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1)")
    (shortest,) = [text for text in blocks(README, "sh") if "--schema create" in text and "docker" not in text]
    url = "postgresql://app:secret@localhost/app"
    assert url in shortest
    assert "/srv/app/app.db" in shortest
    script = shortest.replace(url, own_server.url("app", "app", "secret")).replace("/srv/app/app.db", str(source))
    said = run(without_setup(script), clone)
    assert "every value of every row is in the target" in said
    with dbapi.connect(own_server.url("app")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM t")
        assert cursor.fetchall() == [(1,)]


def test_the_readme_is_one_page() -> None:
    """What it is, how to begin, and where to read on. It has the two commands that do everything, and they alone."""
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert "./scripts/demo.sh\n./scripts/test.sh\n" in blocks(README, "sh")
