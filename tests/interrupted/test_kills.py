"""``kill -9`` at any instant: the next run finishes, and nothing shows of the kill."""

import asyncio
import os
import random
from pathlib import Path

import pytest
from fix_kinds import FLAGS, TARGET, Undisturbed, differences, state_of
from fix_postgres import Database
from fix_warm import Zygote

# The long version is scripts/torture.sh.
KILLS = int(os.environ.get("MIGRATOR_TEST_KILLS", "100"))
STAGES = ("schema", "preflight", "park", "copy", "park", "copy", "restore", "copy", "restore", "sequences", "verify")
"""Where every other kill is aimed at; those that change the most, the most often."""


@pytest.mark.one_server
@pytest.mark.parametrize("seed", range(KILLS))
async def test_killed_at_a_random_instant(
    seed: int, database: Database, kinds_file: Path, undisturbed: Undisturbed, warm: Zygote
) -> None:
    """Whatever was going on when it vanished: the next run ends with 0, schema, rows and sequences are right."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    await database.execute(TARGET)
    job = warm.start("run", "--source", kinds_file, *FLAGS, MIGRATOR_TARGET_URL=database.url)
    if seed % 2:
        stage = STAGES[seed // 2 % len(STAGES)]
        job.until(lambda event: event["event"] == "stage.started" and event["stage"] == stage)
        await asyncio.sleep(chance.uniform(0, 1.2) * undisturbed.stages[stage][1])
    else:
        await asyncio.sleep((seed + chance.random()) / KILLS * undisturbed.seconds)
    job.kill()
    killed = job.ended()
    ended = warm("run", "--source", kinds_file, *FLAGS, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, (killed.stderr, ended.stderr)
    assert not differences(undisturbed.state, await state_of(database)), (killed.stderr, ended.stderr)
