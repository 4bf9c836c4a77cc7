"""Stage wait: it lasts until the server lets us in and answers, and no longer, and not at all for a refusal."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from fix_postgres import Database
from msgspec.structs import replace
from pydantic import SecretStr
from structlog.testing import capture_logs
from tenacity import AsyncRetrying

from migrator.config.settings import Settings
from migrator.demo.server import EmbeddedServer
from migrator.errors import ConfigurationError, GaveUp, MigratorError, TargetRefused
from migrator.runtime.retry import RetryLimits, retry_policy
from migrator.sessions.address import TargetAddress, Tls
from migrator.sessions.url import from_url
from migrator.stages.wait import ServerFacts, wait


class Pauses:
    """Sleeping without waiting: counts, and does what is to happen during each pause."""

    def __init__(self, *happenings: Callable[[], Awaitable[object] | object]) -> None:
        """``happenings``: one for each pause; later pauses pass quietly."""
        self.count = 0
        self._happenings = list(happenings)

    async def sleep(self, _seconds: float) -> None:
        """Let the next thing happen."""
        self.count += 1
        if self._happenings:
            done = self._happenings.pop(0)()
            if isinstance(done, Awaitable):
                await done

    def policy(self, attempts: int = 5) -> AsyncRetrying:
        """Give a policy that sleeps this way."""
        return retry_policy("wait", RetryLimits(seconds=3600, attempts=attempts), sleep=self.sleep)


@pytest.mark.one_server
async def test_a_server_that_is_ready(database: Database) -> None:
    """It is asked once, with the configured credentials, and says what it is."""
    pauses = Pauses()
    with capture_logs() as events:
        facts = await wait(from_url(database.url, {}), pauses.policy())
    [version] = await database.fetch("SELECT current_setting('server_version') AS v")
    assert facts == ServerFacts(
        version["v"], int(version["v"].split(".")[0]), database.name, database.role, writable=True
    )
    assert [event["event"] for event in events] == ["server.ready"]
    assert pauses.count == 0


@pytest.mark.one_server
async def test_no_connection_stays_open(database: Database) -> None:
    """A server with few connections would miss it."""
    await wait(from_url(database.url, {}), Pauses().policy())
    asked = "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'migrator' AND datname = $1"

    async def left() -> int:
        return int((await database.fetch(asked, database.name, as_admin=True))[0]["n"])

    async with asyncio.timeout(120):
        while await left():
            pass  # asking takes its time; the server notices by itself


async def test_a_server_that_is_down_and_comes_up(own_server: EmbeddedServer) -> None:
    """A refused connection is waited for, and each try is an event."""
    own_server.stop()
    pauses = Pauses(lambda: None, lambda: asyncio.to_thread(own_server.start))
    with capture_logs() as events:
        await wait(from_url(own_server.url("postgres"), {}), pauses.policy())
    assert [event["event"] for event in events] == [
        "server.waiting",
        "retry.scheduled",
        "retry.scheduled",
        "server.ready",
    ]
    assert "refused" in events[1]["error"].lower() or "connect call failed" in events[1]["error"].lower()


async def test_a_server_that_lets_nobody_in_yet(own_server: EmbeddedServer) -> None:
    """The port is open and the answer is 57P03: here it shuts down smartly, and comes back."""
    address = from_url(own_server.url("postgres"), {})
    guest = await asyncpg.connect(**address.asyncpg_arguments())
    pid = int((own_server.data_directory / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGTERM)  # a smart shutdown waits for guests, and refuses new ones
    await _until_refused(address)

    async def come_back() -> None:
        await guest.close()
        await asyncio.to_thread(own_server.stop)
        await asyncio.to_thread(own_server.start)

    pauses = Pauses(come_back)
    with capture_logs() as events:
        await wait(address, pauses.policy())
    assert events[1]["error"] == "the database system is shutting down"
    assert pauses.count == 1


async def _until_refused(address: TargetAddress) -> None:
    async with asyncio.timeout(120):
        while True:
            try:
                await (await asyncpg.connect(**address.asyncpg_arguments())).close()
            except asyncpg.CannotConnectNowError:
                return


async def test_a_full_server(database: Database) -> None:
    """Others hold all connections; one of them will go."""

    async def limit(connections: int) -> None:
        await database.execute(f"ALTER ROLE {database.role} CONNECTION LIMIT {connections}", as_admin=True)

    await limit(0)
    pauses = Pauses(lambda: limit(-1))
    with capture_logs() as events:
        await wait(from_url(database.url, {}), pauses.policy())
    assert "too many connections" in events[1]["error"]


async def test_a_port_that_closes_every_connection() -> None:
    """So does the proxy of a container engine whose container isn't up: it is waited for."""

    async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    pauses = Pauses()
    async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(GaveUp, match="wait: gave up after 3 tries"):
            await wait(TargetAddress(("127.0.0.1",), (port,), "d", "u"), pauses.policy(3))
    assert pauses.count == 2


async def test_a_port_that_says_nothing() -> None:
    """A black hole is noticed by the timeout of each try, not by the end of all patience."""
    pauses = Pauses()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()  # and nobody accepts
        port = held.getsockname()[1]
        address = TargetAddress(("127.0.0.1",), (port,), "d", "u", connect_timeout_seconds=0.05)
        with pytest.raises(GaveUp, match="no answer in time"):
            await wait(address, pauses.policy(2))
    assert pauses.count == 1


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ({"target_url": "postgresql://u@postgres.invalid:5433/d"}, "MIGRATOR_TARGET_URL"),
        ({"postgres_host": "postgres.invalid", "postgres_port": "5433"}, "POSTGRES_HOST and POSTGRES_PORT"),
        (
            {"target_url": "postgresql:///d", "postgres_host": "postgres.invalid", "postgres_port": "5433"},
            "MIGRATOR_TARGET_URL with POSTGRES_HOST and POSTGRES_PORT",
        ),
    ],
    ids=["url", "parts", "both"],
)
async def test_a_name_that_does_not_resolve(given: dict[str, str], setting: str) -> None:
    """
    In a compose network a name appears with its container. ``.invalid`` never resolves (RFC 2606).

    At the first try the log says where, by which setting, and how long; and the end says where again.
    """
    pauses = Pauses()
    address = Settings.load(given).target
    with capture_logs() as events, pytest.raises(GaveUp) as caught:
        await wait(address, pauses.policy(3), seconds=60)
    assert pauses.count == 2
    assert [event["event"] for event in events] == ["server.waiting", "retry.scheduled", "retry.scheduled"]
    assert events[0]["server"] == "postgres.invalid:5433"
    assert (events[0]["setting"], events[0]["seconds"]) == (setting, 60)
    assert f"the server is postgres.invalid:5433, by {setting}" in str(caught.value)
    assert setting in caught.value.next_step


async def test_a_socket_that_is_not_there_yet(tmp_path: Path) -> None:
    """The server makes its Unix socket when it starts."""
    pauses = Pauses()
    with pytest.raises(GaveUp):
        await wait(TargetAddress((str(tmp_path),), (5432,), "d", "u"), pauses.policy(2))
    assert pauses.count == 1


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        ({"password": SecretStr("wr0ng")}, ConfigurationError, "refused the login"),
        ({"user": "nobody_here"}, ConfigurationError, "refused the login"),
        ({"database": "nowhere"}, ConfigurationError, "the database is not there"),
        ({"tls": Tls("require")}, ConfigurationError, "no agreement on TLS"),
        ({"tls": Tls("verify-full", "/no/such/file")}, ConfigurationError, "a TLS file can't be used"),
    ],
    ids=["password", "user", "database", "tls", "tls file"],
)
@pytest.mark.one_server
async def test_a_refusal_ends_it_at_once(
    database: Database, wrong: dict[str, object], kind: type[MigratorError], words: str
) -> None:
    """No pause: the same question would get the same answer. The code is that of a wrong configuration."""
    pauses = Pauses()
    address = replace(from_url(database.url, {}), **wrong)
    with pytest.raises(kind, match=words) as caught:
        await wait(address, pauses.policy())
    assert pauses.count == 0
    assert caught.value.next_step
    assert "wr0ng" not in str(caught.value)
    assert f"the server is {address.server()}, by MIGRATOR_TARGET_URL" in str(caught.value)


async def test_a_replica_takes_no_writes(own_server: EmbeddedServer) -> None:
    """Loading it would fail at the first write; looking at it is all right."""
    own_server.stop()
    (own_server.data_directory / "standby.signal").touch()
    own_server.start()
    address = from_url(own_server.url("postgres"), {})
    with pytest.raises(TargetRefused, match="replica") as caught:
        await wait(address, Pauses().policy())
    assert "primary" in caught.value.next_step
    assert not (await wait(address, Pauses().policy(), to_write=False)).writable


async def test_nothing_answers_on_a_free_port() -> None:
    """With one try allowed that is the end: exit code 5, and the message says why."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = TargetAddress(("127.0.0.1",), (held.getsockname()[1],), "d", "u")
        with pytest.raises(GaveUp, match="1 try") as caught:
            await wait(address, Pauses().policy(1))
    assert caught.value.exit_code == 5


@pytest.mark.one_server
async def test_a_guarantee_that_one_driver_can_not_give_is_said(database: Database) -> None:
    """Managed servers hand out URLs with channel_binding=require; dropping it silently would be a lie."""
    with capture_logs() as events:
        await wait(from_url(database.url + "?channel_binding=require", {}), Pauses().policy())
    assert [event.get("variable") for event in events] == ["channel_binding", None]
