"""A rollback journal beside the source: the application was interrupted in a transaction."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import Cli, contents, quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.errors import SourceUnreadable
from migrator.source.file import beside, has_journal
from migrator.source.snapshot import snapshot_of

SOURCE_ONLY = ("--source-only",)
ROWS = [(1, "a"), (2, "b"), (3, "c")]


def _interrupt(path: Path, folder: Path, *, attach: Path | None = None) -> Path:
    """Copy a database to ``folder`` as a killed application leaves it: half a transaction in the file, its journal."""
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("UPDATE t SET v = 'CHANGED'")
        connection.executemany("INSERT INTO t (v) VALUES (?)", [("x" * 2000,)] * 200)
        for file in (path, beside(path, "-journal")):
            shutil.copy(file, folder / file.name)
        connection.execute("ROLLBACK")
    if attach is not None:
        _name_super_journal(folder / f"{path.name}-journal", attach)
    return folder / path.name


def _name_super_journal(journal: Path, name: Path) -> None:
    """Write the end that a journal of a transaction over several files has (SQLite, pager.c, writeSuperJournal)."""
    told = os.fsencode(name)
    magic = journal.read_bytes()[:8]
    page = (0x40000000 // 4096 + 1).to_bytes(4, "big")
    tail = page + told + len(told).to_bytes(4, "big") + (sum(told) % 2**32).to_bytes(4, "big") + magic
    with journal.open("ab") as file:
        file.write(tail)


@pytest.mark.one_server
async def test_an_interrupted_transaction(
    make_sqlite: MakeSqlite, database: Database, cli: Cli, tmp_path: Path
) -> None:
    """It is said to be one, with advice that works: the snapshot has what was committed, the source stays as it is."""
    path = _interrupt(make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", {"t": ROWS}), tmp_path / "left #1")
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    flags = ("--source", path, "--schema", "existing", *quick_flags())
    refused = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert refused.code == 3
    assert "rollback journal 'source.db-journal'" in refused.message
    assert "--snapshot" in str(refused.failure["next_step"])
    assert "WAL" not in refused.stderr
    ended = cli("run", *flags, "--snapshot", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert await contents(database, "t") == ["(1,a)", "(2,b)", "(3,c)"]
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


@pytest.mark.one_server
async def test_check_of_the_source_alone_reads_a_snapshot_too(
    make_sqlite: MakeSqlite, cli: Cli, tmp_path: Path
) -> None:
    """The advice holds for it as well."""
    path = _interrupt(make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", {"t": ROWS}), tmp_path / "left")
    refused = cli("check", "--source", path, *SOURCE_ONLY)
    assert refused.code == 3
    assert "rollback journal" in refused.message
    ended = cli("check", "--source", path, "--snapshot", *SOURCE_ONLY)
    assert ended.code == 0, ended.stderr
    assert "1 tables, 3 rows" in ended.stdout


async def test_a_transaction_over_several_files(make_sqlite: MakeSqlite, tmp_path: Path) -> None:
    """While the file that joins them is there it is rolled back; without it nobody knows, and nothing is guessed."""
    joint = tmp_path / "app.db-mj0A1B2C3"
    joint.write_bytes(b"\0")
    made = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", {"t": ROWS})
    path = _interrupt(made, tmp_path / "left", attach=joint)
    assert has_journal(path)
    async with snapshot_of(path) as copy:
        with copy.session() as session:
            assert session.ask("SELECT count(*) AS n, max(v) AS v FROM t") == [{"n": 3, "v": "c"}]
    joint.unlink()  # which SQLite hasn't removed on the way
    with pytest.raises(SourceUnreadable, match="over several files"):
        async with snapshot_of(path):
            pass


async def test_a_journal_that_is_over(make_sqlite: MakeSqlite) -> None:
    """What journal_mode PERSIST leaves beside the file is in nobody's way."""
    script = "PRAGMA journal_mode = persist; CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)"
    path = make_sqlite(script, {"t": ROWS})
    assert beside(path, "-journal").exists()
    async with snapshot_of(path) as copy:
        assert len((await copy.describe()).tables) == 1
