"""What a run is doing gets into the ledger every few seconds, and nothing that goes wrong there reaches the run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest
from fix_job import MIGRATION, begin_ledger
from fix_postgres import Database
from structlog.testing import capture_logs

from migrator.ledger.run_ledger import RunLedger
from migrator.ledger.schema import create
from migrator.monitoring.snapshot import Pause
from migrator.monitoring.tracker import Tracker
from migrator.sessions.url import from_url
from migrator.status.progress import RunProgress, forget_progress, progress_of
from migrator.status.progress_writer import ProgressWriter, work_of
from migrator.target.database import Target

pytestmark = pytest.mark.one_server
UNANSWERED = "postgresql://nobody@127.0.0.1:1/none"


async def read(run: RunLedger) -> RunProgress | None:
    """Return what the ledger has about the run."""
    async with run.target.connect() as connection:
        return await progress_of(connection, MIGRATION, run.run_id)


@asynccontextmanager
async def writing(writer: ProgressWriter) -> AsyncIterator["asyncio.Task[None]"]:
    """Let the writer write during the block."""
    task = asyncio.create_task(writer.keep_writing())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_what_is_written_is_what_the_tracker_says(database: Database) -> None:
    """A line a stage and table in work, overwritten, cleaned of secrets; gone when the run has ended."""
    target = Target(from_url(database.url, {}))
    run = await begin_ledger(target)
    tracker = Tracker()
    writer = ProgressWriter(run, tracker, lambda text: text.replace("hunter2", "***"), seconds=0.01)
    with tracker.stage("copy"), tracker.stage("verify"), tracker.stage("plan", is_step=True):
        tracker.expect("copy", {"public.a": 10, "public.b": 20})
        tracker.begin_table("copy", "public.a")
        tracker.advance("copy", "public.a", 4, 40)
        tracker.pause(Pause("verify", "hunter2 refused the connection", 1, 2.0))
        async with writing(writer), asyncio.timeout(30):
            while not (found := await read(run)):
                pass
            assert [(work.stage, work.table, work.done, work.of, work.bytes) for work in found.work] == [
                ("copy", "", 4, 30, 40),
                ("copy", "public.a", 4, 10, 40),
                ("verify", "", 0, None, 0),
            ]
            assert found.waits()[0].startswith("*** refused the connection; try 2 in ")
            tracker.advance("copy", "public.a", 5, 50)
            while (found := await read(run)) is None or found.tables()[0].done == 4:
                pass
            assert [work.done for work in found.tables()] == [9]
    await writer.clear()
    assert await read(run) is None


async def test_it_gives_way_to_whoever_holds_the_table(database: Database) -> None:
    """It doesn't wait for a lock, and goes on when the lock is gone. What a killed run left, the next one forgets."""
    target = Target(from_url(database.url, {}))
    run = await begin_ledger(target)
    tracker = Tracker()
    holder = await asyncpg.connect(database.url)
    try:
        with tracker.stage("copy"), capture_logs() as events:
            async with writing(ProgressWriter(run, tracker, str, seconds=0.01)), asyncio.timeout(30):
                async with holder.transaction():
                    await holder.execute("LOCK TABLE migrator.progress IN ACCESS EXCLUSIVE MODE")
                    while not events:
                        await database.fetch("SELECT")
                assert "lock timeout" in events[0]["reason"]
                assert events[0]["log_level"] == "debug"
                while not await read(run):
                    pass
    finally:
        await holder.close()
    async with target.transaction() as connection:
        await forget_progress(connection, MIGRATION)
    assert await read(run) is None


async def test_nothing_comes_of_what_can_not_be_written(database: Database) -> None:
    """A server that is away, and a ledger without the table: a line in the debug log, and the writer goes on."""
    there = await begin_ledger(Target(from_url(database.url, {})))
    await database.execute("DROP TABLE migrator.progress")
    away = RunLedger(Target(from_url(UNANSWERED, {})), MIGRATION, there.run_id)
    tracker = Tracker()
    with tracker.stage("copy"):
        for run in (there, away):
            writer = ProgressWriter(run, tracker, str, seconds=0.01)
            with capture_logs() as events:
                async with writing(writer) as task, asyncio.timeout(30):
                    while len(events) < 2:
                        await database.fetch("SELECT")
                    assert not task.done()
            await writer.clear()
            assert {event["log_level"] for event in events} == {"debug"}
    assert await read(there) is None


async def test_a_ledger_of_an_earlier_version_gets_the_tables(database: Database) -> None:
    """Until then the run's progress and failures are unknown, which is no error."""
    target = Target(from_url(database.url, {}))
    run = await begin_ledger(target)
    await database.execute("DROP TABLE migrator.progress, migrator.failures")
    assert await read(run) is None
    async with target.transaction() as connection:
        await create(connection)
    names = await database.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'migrator'::regnamespace")
    assert {"progress", "failures"} <= {row[0] for row in names}


def test_no_more_than_the_largest_tables_are_written() -> None:
    """A schema of thousands of tables makes no more than some lines, those with the most left."""
    tracker = Tracker()
    with tracker.stage("copy"):
        tracker.expect("copy", {f"public.t{n}": n for n in range(1000)})
        for n in range(1000):
            tracker.begin_table("copy", f"public.t{n}")
        lines = [line for line in work_of(tracker.snapshot()) if line.table]
    assert len(lines) < 50
    assert lines[0].table == "public.t999"
