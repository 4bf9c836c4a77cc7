"""
Opens sessions of the target, lends them, keeps them for the next caller, and ends those that are lost.

Statements go through SQLAlchemy. COPY and scripts go through the asyncpg connection beneath it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from migrator.concurrency.heartbeat import run_with_heartbeat
from migrator.sessions.address import GOODBYE_SECONDS, TargetAddress
from migrator.sessions.liveness import PendingStatements, terminate_sessions
from migrator.sessions.login import login, release

T = TypeVar("T")

_LONGEST_BEAT_SECONDS = 5
"""The longest time between two looks at pending answers; each look costs next to nothing."""


class Connections:
    """The ways into a PostgreSQL database."""

    def __init__(self, address: TargetAddress) -> None:
        self.address = address
        self.driver_arguments = address.asyncpg_arguments()
        # No pool of SQLAlchemy's: it would keep sessions beyond a change of search_path by the init SQL.
        self._engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=lambda: login(address), poolclass=NullPool
        )
        self._pending = PendingStatements(self._engine)
        self._kept: list[_Session] | None = None
        """Sessions that wait for their next use; None unless they are to be kept."""
        self._given_up: set[int] = set()
        """Server processes of sessions that ended here with an error; the server may not have heard of it."""

    async def close(self) -> None:
        """Close what is open."""
        await self._engine.dispose()

    async def check_answers(self, stall_seconds: float) -> None:
        """Raise TimeoutError if a session waits for an answer that no longer comes: see ``PendingStatements.check``."""
        await self._pending.check(self.driver_arguments, stall_seconds)

    async def watched(self, work: Callable[[], Awaitable[T]]) -> T:
        """
        Return what ``work`` returns and raise what it raises, or TimeoutError if an answer of the server is overdue.

        What sessions that were given up have left behind on the server is ended first: it could hold locks.
        """
        await self.terminate_abandoned()
        stall_seconds = self.address.stall_timeout_seconds
        every_seconds = min(_LONGEST_BEAT_SECONDS, stall_seconds / 2)
        return await run_with_heartbeat(work(), lambda: self.check_answers(stall_seconds), every_seconds)

    async def terminate_abandoned(self) -> None:
        """
        Let the server end the sessions that were given up here, if it can be reached; to be called before a new try.

        It need not have noticed that they are over: where the network swallows everything it waits on, and what they
        have locked would stand in the way.
        """
        numbers = set(self._given_up)
        if numbers and await terminate_sessions(self.driver_arguments, numbers, self.address.stall_timeout_seconds):
            self._given_up -= numbers

    @asynccontextmanager
    async def pooled(self) -> AsyncIterator[None]:
        """
        Keep sessions while the block lasts: one that ``connect`` got back whole serves its next caller.

        To log in costs the server a process, and both ends several round trips; a run asks dozens of short questions.
        """
        self._kept = []
        whole = False
        try:
            yield
            whole = True
        finally:
            kept, self._kept = self._kept, None
            if not whole:  # nobody waits for a goodbye that may not get through
                for session in kept:
                    session.cut()
            await _close_all(kept)

    async def discard_pooled(self) -> None:
        """Have new sessions opened from now on: what a role or a database is set to holds from the next login."""
        if self._kept:
            kept, self._kept = self._kept, []
            await _close_all(kept)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection that begins a transaction with its first statement and rolls it back at the end."""
        async with self._checkout(await self._kept_session() or await self._session(), keep=True) as connection:
            yield connection

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection on which every statement is its own transaction."""
        async with self._checkout(await self._session()) as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection in one transaction, committed at the end, rolled back by an error."""
        async with self.connect() as connection, in_transaction(connection):
            yield connection

    @asynccontextmanager
    async def script(self) -> AsyncIterator[Any]:
        """
        Open a plain asyncpg connection for a script of the operator's, with the settings of role and database.

        It waits for the server as long as the block lasts: nothing else may take time there.
        """
        async with self._checkout(await self._session()) as connection:
            driver = await driver_of(connection)
            with self._pending.waiting(driver):
                await release(driver, self.address)
                yield driver

    @asynccontextmanager
    async def script_transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection in one transaction for the application's migrations, with what role and database set."""
        async with self._checkout(await self._session()) as connection:
            driver = await driver_of(connection)
            with self._pending.waiting(driver):
                await release(driver, self.address)
            async with in_transaction(connection):
                yield connection

    @asynccontextmanager
    async def _checkout(self, session: "_Session", *, keep: bool = False) -> AsyncIterator[AsyncConnection]:
        """Give the session's connection, and keep or close it at the end; what became of it is not forgotten."""
        try:
            yield session.connection
        except BaseException:
            self._given_up.add(session.number)
            with self._cut_late(session):
                await _undisturbed(session.connection.close())
            raise
        with self._cut_late(session):
            await _undisturbed(self._take_back(session, keep=keep))

    @contextmanager
    def _cut_late(self, session: "_Session") -> Iterator[None]:
        """Cut the session if the block takes too long: a ROLLBACK waits for the server without a limit of its own."""
        late = asyncio.get_running_loop().call_later(self.address.stall_timeout_seconds, session.cut)
        try:
            yield
        finally:
            late.cancel()

    async def _take_back(self, session: "_Session", *, keep: bool) -> None:
        if keep and self._kept is not None and is_open(session.connection):
            with suppress(Exception):  # then it is none to keep
                await session.connection.rollback()
                self._kept.append(session)
                return
        if not is_open(session.connection):
            self._given_up.add(session.number)
        await session.connection.close()
        if session.driver.unheard:
            self._given_up.add(session.number)

    async def _session(self) -> "_Session":
        # SQLAlchemy asks for more after the login (how JSON is to be read), and nothing limits that.
        async with asyncio.timeout(2 * self.address.login_seconds):
            connection = await self._engine.connect()
            driver = await driver_of(connection)
            return _Session(connection, driver, driver.get_server_pid())

    async def _kept_session(self) -> "_Session | None":
        """Return a session that was kept and answers, if there is one."""
        while self._kept:
            session = self._kept.pop()
            try:
                if await session.answers(self.address.connect_timeout_seconds):
                    return session
            except BaseException:
                await self._give_up(session)
                raise
            await self._give_up(session)
        return None

    async def _give_up(self, session: "_Session") -> None:
        self._given_up.add(session.number)
        session.cut()
        await _close_all([session])


@dataclass(frozen=True, slots=True)
class _Session:
    connection: AsyncConnection
    driver: Any
    """asyncpg's connection, which has no types."""
    number: int
    """Of the server process."""

    async def answers(self, seconds: float) -> bool:
        """Return whether it can be used: whether it answers in so many seconds."""
        if not is_open(self.connection):
            return False
        try:
            async with asyncio.timeout(seconds):
                await self.driver.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            return False
        return True

    def cut(self) -> None:
        """End it without a word."""
        self.driver.terminate()


async def _close_all(sessions: Iterable[_Session]) -> None:
    """Close sessions that nobody uses; one that doesn't take leave in time is cut."""

    async def close(session: _Session) -> None:
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await session.connection.close()
        except Exception:  # noqa: BLE001 - nothing was under way in it that could be lost
            session.cut()

    await _undisturbed(asyncio.gather(*map(close, sessions)))


async def _undisturbed(work: Awaitable[object]) -> None:
    """Wait for work that is done also if whoever waits is cancelled."""
    await asyncio.shield(asyncio.ensure_future(work))


@asynccontextmanager
async def in_transaction(connection: AsyncConnection) -> AsyncIterator[None]:
    """
    Run the block in one transaction of the connection, committed at its end, rolled back if it raises.

    What the block raised is what comes out, also if the ROLLBACK fails: on a session that was lost, or left in the
    middle of a statement, it always does, and would hide why.
    """
    transaction = await connection.begin()
    try:
        yield
    except BaseException:
        with suppress(Exception):
            await transaction.rollback()
        raise
    await transaction.commit()


async def driver_of(connection: AsyncConnection) -> Any:  # noqa: ANN401 - asyncpg's connection, which has no types
    """Return the asyncpg connection beneath."""
    return (await connection.get_raw_connection()).driver_connection


def is_open(connection: AsyncConnection) -> bool:
    """Return whether a connection still is one, as far as this end has been told."""
    if connection.closed or connection.invalidated or connection.sync_connection is None:
        return False
    driver: Any = connection.sync_connection.connection.driver_connection
    return driver is not None and not driver.is_closed()
