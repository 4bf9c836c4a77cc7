"""``migrator backup``: a copy of one moment, checked, with its digest beside it."""

import hashlib
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import Cli

pytestmark = pytest.mark.one_server


def made(path: Path, journal: str = "wal") -> Path:
    """Write a database of two tables that always have the same sum."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            f"PRAGMA journal_mode = {journal}; CREATE TABLE a (n INT); CREATE TABLE b (n INT);"
            "INSERT INTO a VALUES (0); INSERT INTO b VALUES (0); CREATE TABLE filler (t TEXT);"
        )
        connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 4000,) for _ in range(2000)])
        connection.commit()
    return path


def test_a_file_that_is_written_to(cli: Cli, tmp_path: Path) -> None:
    """A transaction is in the copy as a whole or not at all, and sha256sum would find the copy right."""
    source, copy = made(tmp_path / "app.db"), tmp_path / "copy.db"
    done = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(source)) as connection:
            while not done.is_set():
                connection.executescript("BEGIN; UPDATE a SET n = n + 1; UPDATE b SET n = n + 1; COMMIT")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        ended = cli("backup", "--source", source, "--to", copy)
    finally:
        done.set()
        writer.join()
    assert ended.code == 0, ended.stderr
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    assert copy.with_name("copy.db.sha256").read_text() == f"{digest}  copy.db\n"
    assert digest in ended.stdout
    with closing(sqlite3.connect(copy)) as connection:
        [row] = connection.execute("SELECT a.n = b.n, (SELECT count(*) FROM filler) FROM a, b").fetchall()
    assert row == (1, 2000)


def test_a_damaged_file(cli: Cli, tmp_path: Path) -> None:
    """A damaged source has no backup, and exit code 3 says why."""
    source = made(tmp_path / "app.db", "delete")
    with source.open("r+b") as file:
        file.seek(4096 * 40)
        file.write(b"\xff" * 4096 * 20)
    ended = cli("backup", "--source", source, "--to", tmp_path / "copy.db")
    assert ended.code == 3, ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.db"]


def test_what_it_needs_and_what_it_refuses(cli: Cli, tmp_path: Path) -> None:
    """Without --to, without a source, and over a file that exists."""
    source, copy = made(tmp_path / "app.db"), tmp_path / "copy.db"
    assert "--to" in cli("backup", "--source", source).failure["next_step"]
    assert cli("backup", "--to", copy).code == 2
    assert cli("backup", "--source", tmp_path / "no.db", "--to", copy).code == 3
    assert not copy.exists()
    copy.write_text("mine")
    assert (cli("backup", "--source", source, "--to", copy).code, copy.read_text()) == (2, "mine")


def test_a_limit_of_a_file_s_size(cli: Cli, tmp_path: Path) -> None:
    """Of a copy that the system doesn't let grow, the copy and its folder are named, and not the source."""
    source, copy = made(tmp_path / "app.db"), tmp_path / "copy.db"
    ended = cli("backup", "--source", source, "--to", copy, prefix=("prlimit", "--fsize=50000"))
    assert ended.code == 2, ended.stderr
    assert f"no room for '{copy}'" in ended.message
    assert f"free in '{tmp_path}'" in ended.message
    assert "ulimit -f" in ended.failure["next_step"]
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == []
