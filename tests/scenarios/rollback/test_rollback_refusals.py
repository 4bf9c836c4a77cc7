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


def test_what_is_wrong_with_the_files_is_said_at_once(tmp_path: Path, cli: Cli) -> None:
    """No server is waited for: the old file isn't there, it is the new one, or the new one's folder isn't there."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"

    def said(like: Path, to: Path) -> tuple[int, str]:
        ended = cli(
            "rollback", "--like", f"sqlite:///{like}", "--to", to, MIGRATOR_TARGET_URL="postgresql://127.0.0.1:9/x"
        )
        return ended.code, ended.message

    assert said(old, new) == (3, f"source '{old}' does not exist")
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    before = old.read_bytes()
    assert said(old, old) == (2, f"'{old}' exists already, and is not overwritten")
    nowhere = tmp_path / "no" / "new.db"
    assert said(old, nowhere) == (2, f"'{nowhere}' can't be written: No such file or directory")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("old.db", before)]


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


@pytest.mark.parametrize(
    ("change", "code"),
    [("INSERT INTO t VALUES (9, 'new', 1)", 4), ("UPDATE t SET small = 8 WHERE id = 1", 1)],
    ids=["a key that a left behind row has", "a row that would be left behind"],
)
async def test_rows_beside_those_left_behind(
    tmp_path: Path, database: Database, cli: Cli, change: str, code: int
) -> None:
    """Where PostgreSQL's rows can't be beside rows that ``where`` has left behind, the rollback without it goes."""
    old, rules, none = tmp_path / "old.db", tmp_path / "rules.toml", tmp_path / "none.toml"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, small INT, up INT REFERENCES t (id));"
            "INSERT INTO t VALUES (1, 'a', 1, NULL), (9, 'left', 9, 5);"
        )
    rules.write_text('[tables.t]\nwhere = "small < 5"\n')
    none.write_text("")
    flags = ("--source", old, "--schema", "create", "--rules", rules)
    assert cli("run", *flags, MIGRATOR_TARGET_URL=database.url).code == 0
    ended = back(cli, database, old, "--rules", rules)
    assert ended.code == 0, ended.stderr
    assert "1 row of t refers to rows that don't exist, as in the old file" in ended.stdout
    old.with_name("new.db").unlink()
    await database.execute(change)
    ended = back(cli, database, old, "--rules", rules)
    assert ended.code == code, ended.stderr
    assert "Take the rules where and orphans of t out of the rules file" in ended.failure["next_step"]
    assert ("id = 9" in ended.message) is (code == 4)
    ended = back(cli, database, old, "--rules", none)
    assert ended.code == 0, ended.stderr
    rows = await database.fetch("SELECT id, name, small, up FROM t ORDER BY id")
    with closing(sqlite3.connect(old.with_name("new.db"))) as connection:
        assert connection.execute("SELECT * FROM t ORDER BY id").fetchall() == [tuple(row) for row in rows]


async def test_a_sequence_that_must_not_be_read(tmp_path: Path, database: Database, cli: Cli) -> None:
    """Without the right to read where a sequence stands, ids would be given again: that is refused."""
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)")
    assert cli("run", "--source", old, "--schema", "create", MIGRATOR_TARGET_URL=database.url).code == 0
    [[sequence]] = await database.fetch("SELECT pg_get_serial_sequence('t', 'id')")
    await database.execute(f"INSERT INTO t (name) VALUES ('a'); REVOKE ALL ON SEQUENCE {sequence} FROM CURRENT_USER")
    ended = back(cli, database, old)
    assert ended.code == 4, ended.stderr
    assert "permission denied for sequence" in ended.message
    await database.execute(f"GRANT SELECT ON SEQUENCE {sequence} TO CURRENT_USER")
    assert back(cli, database, old).code == 0
    with closing(sqlite3.connect(old.with_name("new.db"))) as connection:
        assert connection.execute("SELECT seq FROM sqlite_sequence").fetchall() == [(1,)]
