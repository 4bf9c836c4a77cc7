"""A source that its application has left in the middle of something, or still writes to."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fix_job import contents, quick_flags, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_warm import Zygote

from migrator.concurrency.replay_queue import ReplayQueue
from migrator.errors import SourceChanged
from migrator.job import migrate, recorder, run
from migrator.monitoring.tracker import Tracker
from migrator.names import TableName
from migrator.stages.verify import verify
from migrator.target.database import Target

# Writes so much that pages of an open transaction reach the file, says so, and waits to be killed.
WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 1")
connection.execute("UPDATE t SET t = 'half done'")
connection.executemany("INSERT INTO t VALUES (?, 'new')", ((n,) for n in range(10_000, 30_000)))
print("in the middle", flush=True)
sys.stdin.read()
"""


def _leave_in_the_middle(source: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "in the middle\n"
        writer.send_signal(signal.SIGKILL)
    assert Path(f"{source}-journal").stat().st_size


@pytest.mark.one_server
async def test_a_hot_journal(make_sqlite: MakeSqlite, database: Database, warm: Zygote) -> None:
    """
    The application was killed in a transaction: what it had not committed is not carried over.

    Who may only read can't roll the journal back, so the job refuses until the application has opened the file again.
    """
    source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, t TEXT)", {"t": [(n, "old") for n in range(2000)]})
    _leave_in_the_middle(source)
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, t text)")
    flags = ("--source", source, "--schema", "existing", *quick_flags())
    ended = warm("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 3, ended.stderr
    assert "journal" in f"{ended.message} {ended.failure['next_step']}"
    assert await contents(database, "t") == []
    with closing(sqlite3.connect(source)) as connection:  # as the application does when it is started and stopped
        connection.execute("SELECT count(*) FROM t").fetchone()
    again = warm("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert again.code == 0, again.stderr
    assert [tuple(row) for row in await database.fetch("SELECT t, count(*) FROM t GROUP BY 1")] == [("old", 2000)]


@pytest.mark.one_server
async def test_a_writer_is_noticed_in_the_middle_of_a_stage(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In WAL mode nobody keeps a writer out: a stage that would go on for hours is ended with 3 when one has come."""
    source = make_sqlite("PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (id int)")
    monkeypatch.setattr(recorder, "_PULSE_SECONDS", 0.01)

    async def endless(*_arguments: object, **_options: object) -> None:
        await asyncio.Event().wait()

    async def written_to(_target: Target, standing: ReplayQueue[TableName], *_more: object) -> None:
        assert [table async for table in standing]  # all: the stages before are over
        with closing(sqlite3.connect(source)) as connection:
            connection.execute("INSERT INTO t VALUES (2)")
            connection.commit()
        await asyncio.Event().wait()

    # Nothing else notices the row: the stages before look at their ends, and the comparison would see one too many.
    monkeypatch.setattr(migrate, "verify", endless)
    monkeypatch.setattr(migrate, "analyze", written_to)
    async with asyncio.timeout(60):  # without the look the run would go on for ever
        with pytest.raises(SourceChanged, match="somebody writes to the source") as caught:
            await run.run(settings_of(source, database), Tracker())
    assert "run again with --refresh" in caught.value.next_step
    monkeypatch.undo()
    await run.run(settings_of(source, database, refresh=True), Tracker())
    assert await database.fetch("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


@pytest.mark.one_server
async def test_a_file_that_is_replaced_while_it_is_read(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No connection to the old file sees it, only the look at the end does: 3, and nothing is called complete."""
    script = "CREATE TABLE t (id INTEGER)"
    source = make_sqlite(script, {"t": [(1,)]})
    other = make_sqlite(script, {"t": [(2,)]}, file=tmp_path / "other.db")
    await database.execute("CREATE TABLE t (id int)")

    async def then_replaced(*arguments: Any, **options: Any) -> object:  # noqa: ANN401 - passed on
        verdicts = await verify(*arguments, **options)
        other.replace(source)
        return verdicts

    monkeypatch.setattr(migrate, "verify", then_replaced)
    with pytest.raises(SourceChanged, match="while it was copied: file was"):
        await run.run(settings_of(source, database), Tracker())
    assert await database.fetch("SELECT 1 FROM migrator.state WHERE name IN ('completed', 'ready')") == []
    monkeypatch.undo()
    await run.run(settings_of(source, database, refresh=True), Tracker())
    assert await database.fetch("SELECT id FROM t") == [(2,)]
