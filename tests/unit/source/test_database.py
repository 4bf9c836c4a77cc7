"""The SQLite end: what it says of a file, and that it neither writes nor takes another's error for its own."""

import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from migrator.errors import GaveUp, SourceChanged, SourceUnreadable
from migrator.job import run
from migrator.monitoring.tracker import Tracker
from migrator.sessions.url import from_url
from migrator.source.database import Source
from migrator.target.database import Target


@pytest.mark.one_server
async def test_an_error_of_the_target_stays_one(make_sqlite: MakeSqlite, database: Database) -> None:
    """The target's failure inside a block of the source's is not said to be a damaged file."""
    source, target = Source(make_sqlite("CREATE TABLE t (id)")), Target(from_url(database.url, {}))
    with pytest.raises(DBAPIError) as caught:
        async with source.pinned(), target.connect() as connection:
            await connection.execute(text("SELECT 1 / 0"))
    assert caught.value.orig is not None
    assert isinstance(caught.value.orig.__cause__, asyncpg.DivisionByZeroError)
    await source.close()


@pytest.mark.one_server
async def test_a_busy_file_is_tried_again(make_sqlite: MakeSqlite, database: Database) -> None:
    """Somebody holds the file exclusively: that may pass, so the job retries, and gives up with 5."""
    path = make_sqlite("CREATE TABLE t (id INTEGER)")
    await database.execute("CREATE TABLE t (id int)")
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises((GaveUp, DBAPIError), match="locked"):
            await run.run(settings_of(path, database, retry_attempts=1), Tracker())


async def test_an_index_of_the_log_that_is_made_anew_is_no_commit(make_sqlite: MakeSqlite) -> None:
    """Readers make it, too; a commit after that is noticed all the same."""
    path = make_sqlite("PRAGMA journal_mode = wal; CREATE TABLE t (id)")
    source = Source(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("INSERT INTO t VALUES (0)")
        other.commit()
        async with source.pinned() as watch:
            await watch.check()
            with path.with_name(f"{path.name}-shm").open("r+b") as index:
                index.write(bytes(136))  # both copies of its header (SQLite, "WAL-mode File Format", 2.1)
            other.execute("SELECT * FROM t").fetchall()
            await watch.check()
            other.execute("INSERT INTO t VALUES (1)")
            other.commit()
            with pytest.raises(SourceChanged, match="somebody writes"):
                await watch.check()
    await source.close()


async def test_the_watch_sees_every_commit(make_sqlite: MakeSqlite) -> None:
    """In WAL mode as well, where neither the file nor its header changes; reading is no change."""
    path = make_sqlite("PRAGMA journal_mode = wal; CREATE TABLE t (id)")
    source = Source(path)
    async with source.pinned() as watch:
        with closing(sqlite3.connect(path)) as other:
            other.execute("SELECT * FROM t").fetchall()
            await watch.check()
            other.execute("INSERT INTO t VALUES (1)")
            other.commit()
            with pytest.raises(SourceChanged, match="somebody writes"):
                await watch.check()
    await source.close()


async def test_the_fingerprint_tells_files_apart(make_sqlite: MakeSqlite) -> None:
    """The same file has the same; a row more, another schema, or a row in the write-ahead log has another."""
    path = make_sqlite("CREATE TABLE t (id)")
    source = Source(path)
    first = await source.fingerprint()
    assert (await source.fingerprint()).differences(first) == []
    with closing(sqlite3.connect(path)) as other:
        other.execute("INSERT INTO t VALUES (1)")
        other.commit()
    second = await source.fingerprint()
    assert any("change counter" in line for line in first.differences(second))
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = wal")
        other.execute("CREATE TABLE u (id)")
        other.commit()
        third = await source.fingerprint()
        assert any("wal bytes" in line for line in second.differences(third))
        assert any("schema digest" in line for line in second.differences(third))
    await source.close()


async def test_rows_that_are_only_in_the_log_are_read(make_sqlite: MakeSqlite) -> None:
    """A write-ahead log that was not checkpointed belongs to the database."""
    path = make_sqlite("PRAGMA journal_mode = wal; CREATE TABLE t (id)")
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_autocheckpoint = 0")
        other.execute("INSERT INTO t VALUES (7)")
        other.commit()
        with Source(path).session() as session:
            assert session.ask("SELECT id FROM t") == [{"id": 7}]


async def test_nothing_can_be_written(make_sqlite: MakeSqlite) -> None:
    """Neither of the two libraries has more than the right to read."""
    source = Source(make_sqlite("CREATE TABLE t (id)"))
    with pytest.raises(SourceUnreadable, match="readonly"):
        async with source.connect() as connection:
            await connection.execute(text("INSERT INTO t VALUES (1)"))
    with source.session() as session, pytest.raises(SourceUnreadable, match="readonly"):
        session.ask("INSERT INTO t VALUES (1) RETURNING id")
    await source.close()


async def test_no_thread_outlives_its_source(tmp_path: Path) -> None:
    """
    A file that can't be opened, fifty times: the driver's thread reports to the loop, and after close there is none.

    A thread that comes later finds the loop closed, and prints a traceback to the operator.
    """
    (tmp_path / "a directory.db").mkdir()
    for _ in range(50):
        source = Source(tmp_path / "a directory.db")
        with pytest.raises(SourceUnreadable):
            await source.fingerprint()
        await source.close()
        assert not [thread for thread in threading.enumerate() if "_connection_worker" in thread.name]


async def test_threads_share_one_descriptor(make_sqlite: MakeSqlite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that read the file's pages for the first time get one descriptor: to close another would lose locks."""
    source, barrier, opened = Source(make_sqlite("CREATE TABLE t (id)")), threading.Barrier(4, timeout=10), os.open

    def slowly(*arguments: Any, **named: Any) -> int:  # noqa: ANN401 - passed on
        threading.Event().wait(0.05)  # so that the others come meanwhile
        return opened(*arguments, **named)

    def descriptor(_: int) -> int:
        barrier.wait()
        return source.descriptor()

    monkeypatch.setattr(os, "open", slowly)
    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(descriptor, range(4)))) == 1
    await source.close()
