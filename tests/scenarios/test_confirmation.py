"""``reset`` and ``forget`` list what they remove, and ask at a terminal; elsewhere they want ``--yes``."""

import os
import pty
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fix_job import Cli, clean_environment, contents, quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite

pytestmark = pytest.mark.one_server

SOURCE = """
CREATE TABLE roles (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE posts (id INTEGER PRIMARY KEY, body TEXT);
INSERT INTO roles VALUES (1, 'admin');
INSERT INTO posts VALUES (1, 'a'), (2, 'b');
"""
TARGET = """
CREATE TABLE roles (id bigint PRIMARY KEY, name text);
CREATE TABLE posts (id bigint PRIMARY KEY, body text);
INSERT INTO roles VALUES (1, 'administrator'), (7, 'guest');
"""


async def moved(cli: Cli, make_sqlite: MakeSqlite, database: Database) -> Path:
    """Move the source into tables of which one had rows, which are kept."""
    source = make_sqlite(SOURCE)
    await database.execute(TARGET)
    given = ("--source", source, "--schema", "existing", "--on-existing-rows", "replace", *quick_flags())
    done = cli("run", *given, MIGRATOR_TARGET_URL=database.url)
    assert done.code == 0, done.stderr
    return source


class Asked:
    """A command whose stdin and stderr are a terminal."""

    def __init__(self, database: Database, *arguments: str) -> None:
        """Start it and read up to its question."""
        self._leader, follower = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "migrator", *arguments, *quick_flags()],
            env=clean_environment() | {"MIGRATOR_TARGET_URL": database.url, "NO_COLOR": "1"},
            stdin=follower,
            stderr=follower,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(follower)
        self.told = ""
        while "[y/N] " not in self.told:
            self.told += os.read(self._leader, 4096).decode()

    def type(self, line: str) -> int:
        """Answer, and return the exit code."""
        os.write(self._leader, line.encode())
        return self._end()

    def interrupt(self) -> int:
        """Send SIGINT in place of an answer, and return the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._end()

    def _end(self) -> int:
        self._process.communicate(timeout=60)
        while True:
            try:
                self.told += os.read(self._leader, 4096).decode()
            except OSError:  # the terminal's other end is closed
                break
        os.close(self._leader)
        return self._process.returncode


@pytest.mark.parametrize(
    ("command", "counts", "leaving"),
    [
        ("reset", "3 rows of 2 tables", {"public.roles": 1, "public.posts": 2}),
        ("forget", "2 rows of 1 table", {"public.roles": 2}),
    ],
)
async def test_without_a_terminal_yes_has_to_be_given(
    cli: Cli, make_sqlite: MakeSqlite, database: Database, command: str, counts: str, leaving: dict[str, int]
) -> None:
    """The tables are listed, nothing is removed, and the command that is printed does it when it is pasted."""
    await moved(cli, make_sqlite, database)
    refused = cli(command, "--jobs=2" if command == "reset" else "--examples=3", MIGRATOR_TARGET_URL=database.url)
    assert refused.code == 2
    assert refused.message == f"{command} would remove {counts}, and there is no terminal to ask at"
    listed = {event["table"]: event["rows"] for event in refused.events if event["event"] == "rows.leave"}
    assert listed == leaving
    assert await contents(database, "posts") == ["(1,a)", "(2,b)"]
    kept = "SELECT coalesce(sum(rows), 0) AS n FROM migrator.kept"
    assert (await database.fetch(kept))[0]["n"] == 2
    _, *words = shlex.split(refused.failure["next_step"].partition("`")[2].partition("`")[0])
    assert words[-1] == "--yes"
    done = cli(*words, MIGRATOR_TARGET_URL=database.url)
    assert done.code == 0, done.stderr
    assert await contents(database, "posts") == ([] if command == "reset" else ["(1,a)", "(2,b)"])
    assert (await database.fetch(kept))[0]["n"] == (2 if command == "reset" else 0)
    assert cli(command, MIGRATOR_TARGET_URL=database.url).code == 0, "with nothing to remove there is no question"


async def test_at_a_terminal_it_lists_and_asks(cli: Cli, make_sqlite: MakeSqlite, database: Database) -> None:
    """No, nothing and Ctrl-C remove nothing; yes does. What somebody wrote since is told where force removes it."""
    await moved(cli, make_sqlite, database)
    for answer in ("n\n", "\n", "\x04", "nyes\n"):
        asked = Asked(database, "reset")
        assert asked.type(answer) == 2
        assert "reset has removed nothing" in asked.told
    asked = Asked(database, "reset")
    assert asked.interrupt() == 130
    assert await contents(database, "posts") == ["(1,a)", "(2,b)"]
    await database.execute("INSERT INTO posts VALUES (3, 'c')")
    asked = Asked(database, "reset", "--force", "-q")
    posts, roles = (line.split(maxsplit=3) for line in asked.told.splitlines()[-3:-1])
    assert posts == ["public.posts", "2", "rows", "1 new or changed, 0 changed or removed"]
    assert roles == ["public.roles", "1", "rows"]
    assert "3 rows of 2 tables. Empty these tables? [y/N] " in asked.told
    assert asked.type("y\n") == 0
    assert await contents(database, "posts") == []
    asked = Asked(database, "forget")
    assert "Drop these kept rows? [y/N] " in asked.told
    assert asked.type("yes\n") == 0
    assert await database.fetch("SELECT 1 FROM migrator.kept") == []
