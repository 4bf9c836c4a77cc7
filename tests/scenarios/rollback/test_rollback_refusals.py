"""What ``migrator rollback`` refuses, each with a next step that leads out."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import Cli, Ended
from fix_postgres import Database

pytestmark = pytest.mark.one_server


@pytest.fixture
def old(tmp_path: Path, database: Database, cli: Cli) -> Path:
    """Give a small file that was moved."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, small INT CHECK (small < 10));"
            "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2);"
        )
    ended = cli("run", "--source", path, "--schema", "create", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    return path


def back(cli: Cli, database: Database, old: Path, *more: object) -> Ended:
    """Roll back to ``new.db`` beside the old file."""
    new = old.with_name("new.db")
    return cli("rollback", "--like", old, "--to", new, *more, MIGRATOR_TARGET_URL=database.url)


def test_what_is_missing_is_asked_for(database: Database, cli: Cli) -> None:
    """Both flags are named at once, with an example."""
    ended = cli("rollback", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 2
    assert "--like and --to" in ended.message
    assert "migrator rollback --like OLD.db --to NEW.db" in ended.failure["next_step"]


def test_a_file_is_never_overwritten(old: Path, database: Database, cli: Cli) -> None:
    """An existing file stays as it is, also one that came while the new one was made; following the advice works."""
    new = old.with_name("new.db")
    new.write_text("mine")
    ended = back(cli, database, old)
    assert (ended.code, new.read_text()) == (2, "mine")
    assert "exists already" in ended.message
    new.rename(old.with_name("away.db"))
    assert back(cli, database, old).code == 0


def test_a_log_that_another_file_has_left(old: Path, database: Database, cli: Cli) -> None:
    """SQLite would take it for the new file's: it is refused by name."""
    old.with_name("new.db-wal").write_bytes(b"of another file")
    ended = back(cli, database, old)
    assert ended.code == 2
    assert "new.db-wal" in ended.message


def test_the_old_file_is_not_the_new_one(old: Path, database: Database, cli: Cli) -> None:
    """To name one file for both is refused, and the file is as it was."""
    before = old.read_bytes()
    ended = cli("rollback", "--like", old, "--to", old, MIGRATOR_TARGET_URL=database.url)
    assert (ended.code, old.read_bytes()) == (2, before)


def test_an_old_file_that_is_not_there(tmp_path: Path, database: Database, cli: Cli) -> None:
    """It is said, and no file comes into being."""
    ended = cli("rollback", "--like", tmp_path / "no.db", "--to", tmp_path / "new.db", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 3
    assert not list(tmp_path.glob("*.db*"))


def test_a_folder_that_is_not_there(old: Path, database: Database, cli: Cli) -> None:
    """It is said before PostgreSQL is read."""
    ended = cli("rollback", "--like", old, "--to", old.parent / "no" / "new.db", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 2
    assert "can't be written" in ended.message


async def test_what_only_postgresql_has(old: Path, database: Database, cli: Cli) -> None:
    """Tables and columns with values and no place in the old file are named; the flag that is printed settles it."""
    await database.execute(
        "ALTER TABLE t ADD extra text, ADD empty text; UPDATE t SET extra = 'x' WHERE id = 1;"
        "CREATE TABLE later (id int); INSERT INTO later VALUES (1); CREATE TABLE never (id int)"
    )
    ended = back(cli, database, old)
    assert ended.code == 4
    assert ended.failure["only_in_target"] == ["later", "t.extra"]
    flags = ended.failure["next_step"].split("--exclude '")[1].split("'")[0]
    assert back(cli, database, old, "--exclude", flags).code == 0


async def test_a_row_that_the_old_schema_refuses(old: Path, database: Database, cli: Cli) -> None:
    """The table and SQLite's reason are named, and there is no new file."""
    await database.execute("ALTER TABLE t DROP CONSTRAINT t_small_check; INSERT INTO t VALUES (3, 'c', 99)")
    ended = back(cli, database, old)
    assert ended.code == 4
    assert ended.failure["table"] == "t"
    assert "CHECK" in ended.message
    assert not list(old.parent.glob("new.db*"))


async def test_other_versions_of_the_schema(old: Path, database: Database, cli: Cli) -> None:
    """Where migrations have gone on, both versions are named; a copy that was brought there is taken."""
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);"
            "INSERT INTO alembic_version VALUES ('aaa111')"
        )
    await database.execute(
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);"
        "INSERT INTO alembic_version VALUES ('bbb222'); ALTER TABLE t ADD extra text; UPDATE t SET extra = 'x'"
    )
    ended = back(cli, database, old)
    assert ended.code == 4
    assert "aaa111" in ended.message
    assert "bbb222" in ended.message
    with closing(sqlite3.connect(old)) as connection:  # what the application's migrations would do to a copy
        connection.executescript("ALTER TABLE t ADD extra TEXT; UPDATE alembic_version SET version_num = 'bbb222'")
    ended = back(cli, database, old)
    assert ended.code == 0, ended.stderr
    with closing(sqlite3.connect(old.with_name("new.db"))) as connection:
        assert connection.execute("SELECT extra FROM t").fetchall() == [("x",), ("x",)]


async def test_keys_that_change_places(old: Path, database: Database, cli: Cli) -> None:
    """Rows that exchange values of a unique key come back, although SQLite checks the key at each row."""
    await database.execute(
        "UPDATE t SET name = 'x' WHERE id = 1; UPDATE t SET name = 'a' WHERE id = 2;"
        "UPDATE t SET name = 'b' WHERE id = 1"
    )
    ended = back(cli, database, old, "--format", "json")
    assert ended.code == 0, ended.stderr
    assert json.loads(ended.stdout)["tables"][0]["changed"] == 2
    with closing(sqlite3.connect(old.with_name("new.db"))) as connection:
        assert connection.execute("SELECT name FROM t ORDER BY id").fetchall() == [("b",), ("a",)]
