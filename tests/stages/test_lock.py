"""Stage lock: one job at a time on a target, and a dead job blocks nobody."""

import asyncio

import asyncpg
import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator import job
from migrator.errors import GaveUp
from migrator.progress import Silent
from migrator.stages.lock import LOCK_KEY, lock
from migrator.target import Target
from migrator.target_url import from_url


async def test_the_second_gives_up_and_names_the_holder(database: Database) -> None:
    """It waits as long as allowed; its exit code is that of something worth another try."""
    target = Target(from_url(database.url, {}))
    async with lock(target, 5):
        with pytest.raises(GaveUp, match=r"migrator from .* \(server process \d+\)") as caught:
            async with lock(target, 0.1):
                pytest.fail("two hold the lock")
    assert caught.value.exit_code == 5
    async with lock(target, 0.1):
        pass


async def test_the_second_gets_it_when_the_first_is_done(database: Database) -> None:
    """Waiting ends with the holder's block, not with the time that was allowed."""
    target = Target(from_url(database.url, {}))
    order: list[str] = []

    async def second() -> None:
        async with lock(target, 60):
            order.append("second")

    async with lock(target, 5):
        waiting = asyncio.create_task(second())
        while not await database.fetch("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            pass
        order.append("first")
    await waiting
    assert order == ["first", "second"]


async def test_a_dead_holder_blocks_nobody(database: Database) -> None:
    """The lock is the session's: when its connection dies, the next has it at once."""
    holder = await asyncpg.connect(database.url)
    await holder.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
    holder.terminate()
    async with lock(Target(from_url(database.url, {})), 30):
        pass


@pytest.mark.parametrize("jobs", [2, 5])
async def test_several_jobs_started_at_once(jobs: int, make_sqlite: MakeSqlite, database: Database) -> None:
    """One copies; the others wait, find it done, and end well. No row comes twice."""
    source = make_sqlite("CREATE TABLE t (id INTEGER, t TEXT)", {"t": [(n, "x") for n in range(500)]})
    await database.execute("CREATE TABLE t (id int, t text)")
    settings = settings_of(source, database)
    reports = await asyncio.gather(*(job.run(settings, Silent()) for _ in range(jobs)))
    assert sorted(report.headline.split(":")[0] for report in reports) == [
        *(["already migrated and verified"] * (jobs - 1)),
        "migrated",
    ]
    assert (await database.fetch("SELECT count(*) AS n FROM t"))[0]["n"] == 500
