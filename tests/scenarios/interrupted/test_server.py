"""The server goes away in the middle, or throws the job out: the same run gets there, or the next one does."""

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from fix_kinds import FLAGS, TARGET, Undisturbed, differences, state_of
from fix_postgres import Database, Server, database_on, quick_server
from fix_warm import WarmJob, Zygote

from migrator.demo.server import EmbeddedServer

# The long version is scripts/torture.sh.
STOPS = int(os.environ.get("MIGRATOR_TEST_STOPS", "30"))
TERMINATIONS = int(os.environ.get("MIGRATOR_TEST_TERMINATIONS", "30"))
PATIENT = ("--retry-attempts", 10, "--retry-max-pause-seconds", 0.1)


@pytest.fixture(scope="session")
def stoppable() -> Iterator[EmbeddedServer]:
    """Give a server that tests may stop, if they start it again."""
    # What a client was told is committed has to be there after the crash; the disk's part in it is not tested.
    with quick_server(synchronous_commit="on") as embedded:
        yield embedded


@pytest.mark.one_server
@pytest.mark.parametrize("seed", range(STOPS))
async def test_stopped_at_a_random_instant(
    seed: int, stoppable: EmbeddedServer, kinds_file: Path, undisturbed: Undisturbed, warm: Zygote
) -> None:
    """The server stops as in a crash and comes back: what the job takes for done is there, nothing is there twice."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    with database_on(Server("stoppable", stoppable.url("postgres"))) as database:
        await database.execute(TARGET)
        job = warm.start("run", "--source", kinds_file, *FLAGS, *PATIENT, MIGRATOR_TARGET_URL=database.url)
        await asyncio.sleep((seed + chance.random()) / STOPS * undisturbed.seconds)
        await asyncio.to_thread(stoppable.stop, "immediate")
        await asyncio.to_thread(stoppable.start)
        await _gets_there(job, warm, kinds_file, database, undisturbed)


@pytest.mark.one_server
@pytest.mark.parametrize("seed", range(TERMINATIONS))
async def test_terminated_at_random_instants(
    seed: int, database: Database, kinds_file: Path, undisturbed: Undisturbed, warm: Zygote
) -> None:
    """An administrator ends all of the job's connections, three times over: it connects again and finishes."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    await database.execute(TARGET)
    administrator = await asyncpg.connect(database.server.url("postgres"))
    job = warm.start("run", "--source", kinds_file, *FLAGS, *PATIENT, MIGRATOR_TARGET_URL=database.url)
    try:
        for _ in range(3):
            await asyncio.sleep(chance.random() * undisturbed.seconds / 2)
            await administrator.execute(_TERMINATE, database.name)
    finally:
        await administrator.close()
    await _gets_there(job, warm, kinds_file, database, undisturbed)


_TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'migrator'
"""


async def _gets_there(job: WarmJob, warm: Zygote, source: Path, database: Database, undisturbed: Undisturbed) -> None:
    first = job.ended()
    assert first.code in {0, 5}, first.stderr
    if first.code:
        second = warm("run", "--source", source, *FLAGS, MIGRATOR_TARGET_URL=database.url)
        assert second.code == 0, (first.stderr, second.stderr)
    assert not differences(undisturbed.state, await state_of(database)), first.stderr
