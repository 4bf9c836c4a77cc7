"""The watchdog: a reading session that waits for what can't come any more is cut, one whose server works is not."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest
from fix_postgres import Database
from fix_proxy import Fault, Proxy
from msgspec.structs import replace
from sqlalchemy import make_url

from migrator.demo.server import EmbeddedServer
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.sessions.url import from_url

pytestmark = pytest.mark.one_server
LONG = "SELECT string_agg(repeat(i::text, 10), '') FROM generate_series(1, 20000) AS i"
STALL = 1.0


def through(proxy: Proxy, database: Database, stall: float = STALL) -> TargetAddress:
    """Return the address of the database behind the proxy, with little patience."""
    url = make_url(database.url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    return replace(from_url(url, {}), stall_timeout_seconds=stall, connect_timeout_seconds=stall)


@pytest.fixture
def proxy(database: Database, proxies: list[Proxy]) -> Proxy:
    """Give a proxy in front of the server; it is closed with the test."""
    port = make_url(database.url).port
    assert port is not None
    proxies.append(Proxy(port))
    return proxies[0]


async def until(database: Database, question: str, *arguments: object) -> None:
    """Wait until the question has an answer."""
    async with asyncio.timeout(60):
        while not await database.fetch(question, *arguments, as_admin=True):  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.02)


@asynccontextmanager
async def locked(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """Hold a lock on the table ``t`` against readers."""
    other = await asyncpg.connect(database.admin_url)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE t")
            yield other
    finally:
        await other.close()


def read(session: ReadOnlySession, statement: str) -> list[Exception]:
    """Read a statement's rows in batches; return what that raised."""
    try:
        with session.batches(statement, 1 << 20) as (_, batches):
            list(batches)
    except TimeoutError as error:
        return [error]
    return []


@pytest.mark.parametrize("fault", ["black hole", "deaf", "slow drip"])
async def test_an_answer_that_does_not_come(fault: Fault, database: Database, proxy: Proxy) -> None:
    """The server has finished, and what lies between keeps the connection open: it is cut, at both ends."""
    with ReadOnlySession(through(proxy, database)) as session:
        session.rows("SELECT 1")
        proxy.will(fault, after=0)
        raised = await asyncio.to_thread(read, session, LONG)
        assert ["overdue" if "did not come" in str(error) else error for error in raised] == ["overdue"]
    await until(database, "SELECT WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = $1)", database.role)


async def test_a_server_at_work_is_left_in_peace(database: Database, proxy: Proxy) -> None:
    """It may compute, or wait for a lock, far longer than an answer may be overdue."""
    await database.execute("CREATE TABLE t (i int)")
    stall = 2 * STALL  # on a busy machine an answer may take a moment from the server to the reader
    with ReadOnlySession(through(proxy, database, stall)) as session:
        assert read(session, f"SELECT pg_sleep({3 * stall})") == []
        async with locked(database):
            reading = asyncio.create_task(asyncio.to_thread(read, session, "SELECT * FROM t"))
            done, _ = await asyncio.wait([reading], timeout=3 * stall)
            assert not done
        assert await reading == []


async def test_time_that_is_our_own_does_not_count(database: Database, proxy: Proxy) -> None:
    """Between two batches the reader may take as long as it likes."""
    with (
        ReadOnlySession(through(proxy, database)) as session,
        session.batches("SELECT i FROM generate_series(1, 300000) AS i", 1 << 16) as (_, batches),
    ):
        rows = next(batches).num_rows
        await asyncio.sleep(3 * STALL)
        assert rows + sum(batch.num_rows for batch in batches) == 300_000


async def test_a_server_that_is_gone_altogether(database: Database, proxy: Proxy) -> None:
    """It neither sends nor takes a new connection: that is silence too, though nobody can be asked."""
    with ReadOnlySession(through(proxy, database)) as session:
        session.rows("SELECT 1")
        proxy.will("black hole", after=0, times=1000)
        [error] = await asyncio.to_thread(read, session, "SELECT pg_sleep(600)")
    assert "said nothing" in str(error)


async def test_a_session_that_is_not_let_in(database: Database, proxy: Proxy) -> None:
    """For the login libpq has a limit, not for what the driver asks right after it: that is watched as well."""
    address = through(proxy, database)
    bytes_of_a_login = 700
    proxy.will("black hole", after=bytes_of_a_login, times=1000)
    with pytest.raises(TimeoutError, match="not let us in"):
        await asyncio.to_thread(lambda: ReadOnlySession(address).__enter__())


async def test_a_process_that_is_gone(database: Database, proxy: Proxy) -> None:
    """What lies between doesn't pass on that the server has ended the session: a new connection shows that."""
    with ReadOnlySession(through(proxy, database)) as session:
        [[backend]] = session.rows("SELECT pg_backend_pid()")
        reading = asyncio.create_task(asyncio.to_thread(read, session, "SELECT pg_sleep(600)"))
        await until(database, "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'", backend)
        proxy.fall_silent()
        await database.fetch("SELECT pg_terminate_backend($1)", backend, as_admin=True)
        [error] = await reading
    assert "did not come" in str(error)


@pytest.fixture(scope="module")
def socket_url() -> Iterator[str]:
    """Give the URL of a server that listens on a Unix socket."""
    with TemporaryDirectory(prefix="migrator-") as folder:
        Path(folder).chmod(0o777)
        with EmbeddedServer(settings={"unix_socket_directories": folder}) as embedded:
            url = make_url(embedded.url("postgres"))
            yield (f"postgresql://{url.username}:{url.password}@/postgres?host={folder}&port={url.port}")


def test_a_unix_socket_is_cut_too(socket_url: str) -> None:
    """It has no mark, and is known by where it leads to."""
    session = ReadOnlySession(from_url(socket_url, {}))
    with session:
        session.rows("SELECT 1")
        reading = threading.Event()
        raised: list[Exception] = []

        def sleep() -> None:
            reading.set()
            raised.extend(read(session, "SELECT pg_sleep(600)"))

        thread = threading.Thread(target=sleep)
        thread.start()
        assert reading.wait(30)
        session.disconnect()
        thread.join(60)
    assert len(raised) == 1
