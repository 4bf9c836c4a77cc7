"""``kill -9`` at any instant of a refresh, told by what it has sent: the next finishes, as if nothing had happened."""

import os
import random
import signal
import threading

import pytest
from fix_proxy import Proxy
from fix_warm import WarmJob, Zygote
from refresh.oracle import state_of
from refresh.stale import Stale, through

pytestmark = pytest.mark.one_server

# The long version is scripts/torture.sh.
KILLS = int(os.environ.get("MIGRATOR_TEST_REFRESH_KILLS", "60"))
IN_ONE = 3
"""Kills one after the other on one target: also runs that go on after a kill are killed."""
FACTS = "SELECT name FROM migrator.state WHERE name IN ('completed', 'ready') ORDER BY 1"


def killed(stale: Stale, warm: Zygote, proxy: Proxy, url: str, packets: int) -> int:
    """Start a refresh and kill it before its packet of this number has left; return how it ended."""
    started = threading.Event()
    jobs: list[WarmJob] = []

    def kill() -> None:
        started.wait()
        jobs[0].kill()

    proxy.when(packets, kill)
    jobs.append(warm.start(*stale.flags(), watched=False, MIGRATOR_TARGET_URL=url))
    started.set()
    return jobs[0].ended().code


@pytest.mark.parametrize("chain", range(KILLS // IN_ONE))
async def test_killed_at_a_random_packet(
    chain: int, stale: Stale, undisturbed_packets: int, warm: Zygote, proxy: Proxy
) -> None:
    """After three kills, the next run ends with 0, and rows, schema and sequences are those of a fresh run."""
    chance = random.Random(chain)  # noqa: S311 - no secret
    part = (chain + chance.random()) / (KILLS // IN_ONE)
    parts = (part, chance.random() * 0.6, chance.random() * 0.3)  # less is left to do for those that go on
    with stale.copy() as database:
        codes = []
        for share in parts:
            packets = 1 + int(share * undisturbed_packets)
            codes.append(killed(stale, warm, proxy, through(proxy, database), packets))
            state = await state_of(database)
            facts = [row[0] for row in await database.fetch(FACTS)]
            whole = state.rows in (stale.before.rows, stale.expected.rows)
            assert whole or "ready" not in facts, (parts, codes, state.differences(stale.before))
        ended = warm(*stale.flags(), MIGRATOR_TARGET_URL=database.url)
        assert ended.code == 0, (parts, codes, ended.stderr)
        assert set(codes) <= {0, -signal.SIGKILL}, (parts, codes)
        assert -signal.SIGKILL in codes, (parts, codes)  # the number of packets differs a little from run to run
        differences = (await state_of(database)).differences(stale.expected)
        assert not differences, (parts, codes, differences)
        assert [row[0] for row in await database.fetch(FACTS)] == ["completed", "ready"]
