"""Where the source lies: whatever its path is made of, that file is read, and none is made."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import Cli, contents, quick_flags
from fix_postgres import Database

from migrator.errors import SourceUnreadable
from migrator.source.database import Source
from migrator.source.file import beside, check_file, has_journal
from migrator.source.snapshot import snapshot_of

NAMES = [
    b"my #1 folder",
    b"what?now",
    b"d%41",
    b"a&mode=rwc",
    b"x?mode=rwc&y=1",
    b"new\nline",
    b"semi;colon 'and' \"quotes\"",
    b"not utf-8 \xff\xfe",
    "Ünï☃".encode(),
    b"file:x",
    b"back\\slash",
    b"~",
]


def _filled(path: Path, *, wal: bool = False) -> None:
    """Make a database of two rows; with ``wal`` one whose log a later connection would find."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            f"PRAGMA journal_mode = {'wal' if wal else 'delete'}; CREATE TABLE t (id INTEGER); "
            "INSERT INTO t VALUES (1), (2);"
        )


def _all_beneath(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.fixture
def odd_folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder that the tests go to, so that relative paths are short."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@pytest.mark.parametrize("name", NAMES, ids=repr)
async def test_every_way_to_read_opens_that_file(name: bytes, odd_folder: Path) -> None:
    """Description, fingerprint, watch, scan and copy see its rows, by a whole path and by a relative one."""
    folder = odd_folder / os.fsdecode(name)
    folder.mkdir()
    _filled(folder / "app.db")
    before = _all_beneath(odd_folder)
    for path in (folder / "app.db", Path(os.fsdecode(name)) / "app.db", Path(f"/{folder}/app.db")):
        check_file(path)
        source = Source(path)
        async with source.pinned() as watch:
            await watch.check()
            assert [table.name for table in (await source.describe()).tables] == ["t"]
            assert (await source.fingerprint()).size_bytes == path.stat().st_size
        with source.session() as session:
            assert session.ask("SELECT count(*) AS n FROM t") == [{"n": 2}]
        await source.close()
        async with snapshot_of(path) as copy:
            with copy.session() as session:
                assert session.ask("SELECT count(*) AS n FROM t") == [{"n": 2}]
    assert _all_beneath(odd_folder) == before


@pytest.mark.one_server
@pytest.mark.parametrize("name", [b"my #1", b"what?now", b"d%41", b"not utf-8 \xff"], ids=repr)
async def test_the_whole_job(name: bytes, tmp_path: Path, database: Database, cli: Cli) -> None:
    """It moves the rows of that file, tells its name, and leaves nothing beside it."""
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    _filled(folder / "app.db")
    before = _all_beneath(tmp_path)
    await database.execute("CREATE TABLE t (id int)")
    flags = ("--source", folder / "other.db", "--schema", "existing", *quick_flags())
    missing = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert missing.code == 3
    assert _all_beneath(tmp_path) == before
    flags = ("--source", folder / "app.db", "--schema", "existing", *quick_flags())
    ended = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert await contents(database, "t") == ["(1)", "(2)"]
    assert _all_beneath(tmp_path) == before


async def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    """A file that goes away between the first look and the opening isn't made anew."""
    path = tmp_path / "gone #1.db"
    source = Source(path)
    with pytest.raises(SourceUnreadable):
        await source.describe()
    with pytest.raises(SourceUnreadable), source.session() as session:
        session.ask("SELECT 1")
    await source.close()
    assert _all_beneath(tmp_path) == []


async def test_a_link_leads_to_the_log_of_its_file(tmp_path: Path) -> None:
    """SQLite keeps its helpers beside the file itself: a commit that is only in the log shows in the fingerprint."""
    (tmp_path / "real").mkdir()
    path, link = tmp_path / "real" / "app.db", tmp_path / "link.db"
    _filled(path, wal=True)
    link.symlink_to(path)
    source = Source(link)
    first = await source.fingerprint()
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("INSERT INTO t VALUES (3)")
        writer.commit()
        assert beside(link, "-wal") == beside(path, "-wal")
        assert any("wal" in line for line in first.differences(await source.fingerprint()))
    await source.close()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Nor is a device read: a source is a regular file, or a link to one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(SourceUnreadable, match="no regular file"):
            check_file(path)


def test_a_journal_that_is_over_is_none(tmp_path: Path) -> None:
    """One of no length, or with its header zeroed, as journal_mode PERSIST and TRUNCATE leave them."""
    for mode in ("persist", "truncate", "delete"):
        path = tmp_path / f"{mode}.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(f"PRAGMA journal_mode = {mode}; CREATE TABLE t (id); INSERT INTO t VALUES (1);")
        assert beside(path, "-journal").exists() == (mode != "delete")
        assert not has_journal(path)
