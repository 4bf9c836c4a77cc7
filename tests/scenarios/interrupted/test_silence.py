"""A server that falls silent, or a connection that is cut, at a moment of one's choice: nothing waits without end."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fix_job import Ended
from fix_kinds import FLAGS, TARGET, Undisturbed, differences, state_of
from fix_postgres import Database
from fix_proxy import Fault, Proxy
from fix_warm import Zygote
from sqlalchemy import make_url

pytestmark = pytest.mark.one_server
Command = Callable[..., Ended]


@pytest.fixture
def proxy(database: Database, proxies: list[Proxy]) -> Proxy:
    """Give a proxy in front of the server; it is closed with the test."""
    port = make_url(database.url).port
    assert port is not None
    proxies.append(Proxy(port))
    return proxies[0]


@pytest.fixture
def command(database: Database, kinds_file: Path, warm: Zygote, proxy: Proxy) -> Command:
    """Give a function that runs a command through the proxy, with little patience; it fails if that takes too long."""
    url = make_url(database.url).set(host="127.0.0.1", port=proxy.port, query={"connect_timeout": "1"})
    through = url.render_as_string(hide_password=False)
    retry_policy = ("--stall-timeout-seconds", 1, "--retry-attempts", 6, "--retry-max-pause-seconds", 0.2)

    def run(name: str, *more: object) -> Ended:
        source = ("--source", kinds_file, "--schema", "existing") if name in {"run", "check", "verify"} else ()
        return warm(name, *source, *more, *retry_policy, MIGRATOR_TARGET_URL=through)

    return run


MOMENTS = {
    "a login": "AS settled",
    "the look for a pooler": "SELECT pg_backend_pid()",
    "the lock": "pg_try_advisory_lock",
    "whether it is complete": "migrator.state",
    "the ledger is made": "CREATE TABLE migrator.runs",
    "the run is written down": "INSERT INTO migrator.runs",
    "the run takes over": "INSERT INTO migrator.state",
    "a stage begins": "INSERT INTO migrator.stages",
    "the target is described": "pg_enum",
    "it is complete": "completed",
    "the run's end is written": "UPDATE migrator.runs",
}


IN_THE_LEDGER = ("the ledger is made", "the run is written down", "the run's end is written")
_OTHERS: tuple[Fault, ...] = ("reset", "black hole")
CASES: list[tuple[str, Fault]] = [
    *((moment, "deaf") for moment in MOMENTS),  # the server has done it, and does not get to say so
    *((moment, fault) for moment in IN_THE_LEDGER for fault in _OTHERS),
]


@pytest.mark.parametrize(("moment", "fault"), CASES, ids=[f"{moment}, {fault}" for moment, fault in CASES])
async def test_a_run(
    moment: str, fault: Fault, database: Database, undisturbed: Undisturbed, command: Command, proxy: Proxy
) -> None:
    """Whatever the run is about to ask, it notices, tries again, and all is there in the end."""
    await database.execute(TARGET)
    proxy.will(fault, words=MOMENTS[moment])
    ended = command("run", *FLAGS[2:])
    assert proxy.happened
    assert ended.code == 0, ended.stderr
    assert any(event["event"] == "retry.scheduled" for event in ended.events), ended.stderr
    assert not differences(undisturbed.state, await state_of(database)), ended.stderr


def test_tables_are_made(command: Command, proxy: Proxy) -> None:
    """Several tables are one message of the driver, which SQLAlchemy knows nothing of; it is watched all the same."""
    proxy.will("deaf", words='CREATE TABLE "public".')
    ended = command("run", "--schema", "create")
    assert proxy.happened
    assert ended.code == 0, ended.stderr
    assert any(event["event"] == "retry.scheduled" for event in ended.events), ended.stderr
