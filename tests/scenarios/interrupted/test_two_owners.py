"""Two jobs that both believe they hold the lock: one does everything, the other can't commit anything any more."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest
from fix_kinds import FLAGS, TARGET, Undisturbed, differences, state_of
from fix_postgres import Database
from fix_warm import Zygote

STAGES = ("schema", "park", "copy", "restore", "verify")


@pytest.mark.one_server
@pytest.mark.parametrize("stage", STAGES)
async def test_paused_without_its_lock_while_another_takes_over(
    stage: str, database: Database, kinds_file: Path, undisturbed: Undisturbed, warm: Zygote
) -> None:
    """
    Somewhere in a stage a job is paused, and its lock dies; a second one begins, and then the first goes on.

    The second ends with 0, the first with 5, saying who has taken over; schema, rows and sequences are right. Only
    where the second has to wait for something that the first had begun to commit may the first come to its good end.
    """
    await database.execute(TARGET)
    first = warm.start("run", "--source", kinds_file, *FLAGS, MIGRATOR_TARGET_URL=database.url)
    first.until(lambda event: event["event"] == "stage.started" and event["stage"] == stage)
    # Early in it: the machine may be quicker now than when the stage was timed, and the job must not have ended.
    await asyncio.sleep(random.Random(stage).uniform(0, 0.2) * undisturbed.stages[stage][1])  # noqa: S311 - no secret
    os.kill(first.number, signal.SIGSTOP)
    known, done = await _owner(database), await _fact(database, "completed")
    assert await database.fetch(_CUT_THE_LOCK, database.name, as_admin=True)
    second = warm.start("run", "--source", kinds_file, *FLAGS, MIGRATOR_TARGET_URL=database.url)
    async with asyncio.timeout(60):
        while not (overtaken := await _owner(database) != known) and not done and not await _waits(database):
            pass
    os.kill(first.number, signal.SIGCONT)
    beaten, winner = first.ended(), second.ended()
    assert winner.code == 0, (winner.stderr, beaten.stderr)
    if overtaken or beaten.code:
        assert beaten.code == 5, beaten.stderr
        assert beaten.message.startswith(f"another run has taken over: {await _owner(database)}"), beaten.stderr
    assert not differences(undisturbed.state, await state_of(database)), (beaten.stderr, winner.stderr)


async def _owner(database: Database) -> str | None:
    return await _fact(database, "owner")


async def _fact(database: Database, name: str) -> str | None:
    there = "SELECT to_regclass('migrator.state') IS NOT NULL AS there"
    if not (await database.fetch(there))[0]["there"]:
        return None
    found = await database.fetch("SELECT value #>> '{}' AS id FROM migrator.state WHERE name = $1", name)
    return found[0]["id"] if found else None


async def _waits(database: Database) -> bool:
    """Return whether somebody waits at the owner's line, which a transaction of the first holds until it ends."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock' AND query LIKE '%state%'"
    return bool(await database.fetch(waiting, database.name, as_admin=True))


# Only the connection that holds the lock; what else the job has open lives on.
_CUT_THE_LOCK = """
SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND l.granted AND d.datname = $1
"""
