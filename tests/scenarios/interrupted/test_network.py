"""The network fails while much is sent, a COPY mostly: the job notices within its timeouts, and the rows are right."""

import os
import random
from pathlib import Path

import pytest
from fix_kinds import FLAGS, TARGET, Undisturbed, differences, state_of
from fix_postgres import Database
from fix_proxy import Fault, Proxy
from fix_warm import Zygote
from sqlalchemy import make_url

# The long version is scripts/torture.sh.
CUTS = int(os.environ.get("MIGRATOR_TEST_CUTS", "30"))
FAULTS: tuple[Fault, ...] = ("reset", "black hole", "slow drip", "reset", "deaf")


@pytest.mark.one_server
@pytest.mark.parametrize("seed", range(CUTS))
async def test_the_network_fails_while_rows_are_sent(
    seed: int, database: Database, kinds_file: Path, undisturbed: Undisturbed, warm: Zygote, proxies: list[Proxy]
) -> None:
    """A reset, a black hole, a drip, a server that falls silent: each is met and retried, and nothing shows of it."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    await database.execute(TARGET)
    url = make_url(database.url)
    assert url.port is not None
    proxy = Proxy(url.port)
    proxies.append(proxy)
    fault, after, times = FAULTS[seed % len(FAULTS)], chance.randrange(9_000, 60_000), chance.randint(1, 2)
    proxy.will(fault, after=after, times=times)
    through = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    ended = warm(
        *("run", "--source", kinds_file, *FLAGS, "--stall-timeout-seconds", 1, "--retry-attempts", 12),
        MIGRATOR_TARGET_URL=through,
    )
    assert proxy.happened
    assert ended.code == 0, ended.stderr
    assert any(event["event"] == "retry.scheduled" for event in ended.events), ended.stderr
    assert not differences(undisturbed.state, await state_of(database)), ended.stderr
