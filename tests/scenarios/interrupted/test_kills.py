"""``kill -9`` at any instant, also of a run that goes on after one: the next finishes, and nothing shows of it."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fix_kinds import FLAGS, TARGET, Undisturbed, differences, state_of
from fix_postgres import Database
from fix_warm import Zygote

# The long version is scripts/torture.sh.
KILLS = int(os.environ.get("MIGRATOR_TEST_KILLS", "100"))
STAGES = ("schema", "preflight", "park", "copy", "park", "copy", "restore", "copy", "restore", "sequences", "verify")
"""Where every other kill is aimed at; those that change the most, the most often."""


def _begins(stage: str) -> Callable[[dict[str, Any]], bool]:
    """Return a condition that the stage's first event fulfils."""
    return lambda event: event["event"] == "stage.started" and event["stage"] == stage


@pytest.mark.one_server
@pytest.mark.parametrize("seed", range(0, KILLS, 2))
async def test_killed_at_a_random_instant(
    seed: int, database: Database, kinds_file: Path, undisturbed: Undisturbed, warm: Zygote
) -> None:
    """Whatever was going on when two runs vanished: the next ends with 0, schema, rows and sequences are right."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    await database.execute(TARGET)
    said = []
    for kill in (seed, seed + 1):
        job = warm.start("run", "--source", kinds_file, *FLAGS, MIGRATOR_TARGET_URL=database.url)
        if kill % 4 in {1, 2}:  # in half of the tests the first, in the others the one that goes on
            stage = STAGES[kill // 2 % len(STAGES)]
            job.until(_begins(stage))
            await asyncio.sleep(chance.uniform(0, 1.2) * undisturbed.stages[stage][1])
        else:
            late = kill if kill == seed else KILLS - kill  # what has got far has little left to be killed in
            await asyncio.sleep((late + chance.random()) / KILLS * undisturbed.seconds)
        job.kill()
        said.append(job.ended())
    ended = warm("run", "--source", kinds_file, *FLAGS, MIGRATOR_TARGET_URL=database.url)
    told = [one.stderr for one in (*said, ended)]
    assert {one.code for one in said} <= {0, -signal.SIGKILL}, told
    assert ended.code == 0, told
    assert not differences(undisturbed.state, await state_of(database)), told
