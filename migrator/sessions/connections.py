"""
Opens sessions of the target, keeps them for the next caller, and ends sessions that are lost.

Statements go through SQLAlchemy. COPY and scripts go through the asyncpg connection inside SQLAlchemy's connection.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

import asyncpg
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from migrator.concurrency.heartbeat import run_with_heartbeat
from migrator.sessions.address import GOODBYE_SECONDS, TargetAddress
from migrator.sessions.liveness import PendingStatements, pending_of, terminate_sessions
from migrator.sessions.login import login, release

T = TypeVar("T")

_LONGEST_BEAT_SECONDS = 5
"""The longest time between two checks for overdue answers. A check costs almost nothing."""


_FRESH_SECONDS = 1
"""How long after its last answer a kept session is used without a question whether it still answers."""


class Connections:
    """Opens, keeps and ends the sessions of one PostgreSQL database."""

    def __init__(self, address: TargetAddress) -> None:
        self.address = address
        self.driver_arguments = address.asyncpg_arguments()
        # SQLAlchemy's pool isn't used: it would keep old sessions after the init SQL has changed the search_path.
        self._engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=lambda: login(address), poolclass=NullPool
        )
        self._pending = PendingStatements(self._engine)
        self._kept: list[_Session] | None = None
        """Sessions that wait for their next use; None if sessions are not kept."""
        self._given_up: set[int] = set()
        """Server processes of sessions that ended here with an error. The server may not know that they have ended."""

    async def close(self) -> None:
        """Close the engine's open connections."""
        await self._engine.dispose()

    async def check_answers(self, stall_seconds: float) -> None:
        """Raise TimeoutError if a session waits for an answer that can't come: see ``PendingStatements.check``."""
        await self._pending.check(self.driver_arguments, stall_seconds)

    async def watched(self, work: Callable[[], Awaitable[T]]) -> T:
        """
        Return the result of ``work``, or raise its error. Raises TimeoutError if an answer of the server is lost.

        Before ``work`` starts, the server ends the sessions that were given up here, because they could hold locks.
        """
        await self.terminate_abandoned()
        stall_seconds = self.address.stall_timeout_seconds
        every_seconds = min(_LONGEST_BEAT_SECONDS, stall_seconds / 2)
        return await run_with_heartbeat(work(), lambda: self.check_answers(stall_seconds), every_seconds)

    async def terminate_abandoned(self) -> None:
        """
        Let the server end the sessions that were given up here, if it can be reached. Call this before a retry.

        The server may not have noticed that these sessions are over. If the network drops all packets, the server goes
        on waiting, and the locks of these sessions would block the retry.
        """
        numbers = set(self._given_up)
        if numbers and await terminate_sessions(self.driver_arguments, numbers, self.address.stall_timeout_seconds):
            self._given_up -= numbers

    @asynccontextmanager
    async def pooled(self) -> AsyncIterator[None]:
        """
        Keep sessions while the block runs: ``connect`` uses a session again if its last use ended without error.

        A login costs the server a process, and both sides several round trips. A run has dozens of short queries.
        """
        self._kept = []
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            kept, self._kept = self._kept, None
            if not succeeded:  # after an error, an orderly close may never arrive at the server
                for session in kept:
                    session.cut()
            await _close_all(kept)

    async def discard_pooled(self) -> None:
        """Close the kept sessions. New settings of a role or a database apply only to logins from now on."""
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
        """Open a connection on which every statement is a separate transaction."""
        async with self._checkout(await self._session()) as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection in one transaction, which is committed at the end, or rolled back after an error."""
        async with self.connect() as connection, in_transaction(connection):
            yield connection

    @asynccontextmanager
    async def script(self) -> AsyncIterator[Any]:
        """
        Open a plain asyncpg connection for a script of the operator, with the settings of role and database.

        The whole block counts as waiting for the server, so the block must do nothing else that takes time.
        """
        async with self._checkout(await self._session()) as connection:
            driver = await driver_of(connection)
            with self._pending.waiting(driver):
                await release(driver, self.address)
                yield driver

    @asynccontextmanager
    async def script_transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection in one transaction for the application's migrations, with the role's own settings."""
        async with self._checkout(await self._session()) as connection:
            driver = await driver_of(connection)
            with self._pending.waiting(driver):
                await release(driver, self.address)
            async with in_transaction(connection):
                yield connection

    @asynccontextmanager
    async def _checkout(self, session: "_Session", *, keep: bool = False) -> AsyncIterator[AsyncConnection]:
        """Yield the session's connection, and keep or close it at the end. After an error, note the server process."""
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
        """Cut the session if the block takes too long, because a ROLLBACK waits for the server without a time limit."""
        timer = asyncio.get_running_loop().call_later(self.address.stall_timeout_seconds, session.cut)
        try:
            yield
        finally:
            timer.cancel()

    async def _take_back(self, session: "_Session", *, keep: bool) -> None:
        if keep and self._kept is not None and is_open(session.connection):
            with suppress(Exception):  # after an error, the session is closed instead of kept
                await session.connection.rollback()
                self._kept.append(replace(session, answered_at=time.monotonic()))
                return
        if not is_open(session.connection):
            self._given_up.add(session.number)
        await session.connection.close()
        if session.driver.unheard:
            self._given_up.add(session.number)

    async def _session(self) -> "_Session":
        # After the login SQLAlchemy runs further statements (to set how JSON is read), which have no time limit.
        async with asyncio.timeout(2 * self.address.login_seconds):
            connection = await self._engine.connect()
            driver = await driver_of(connection)
            return _Session(connection, driver, driver.get_server_pid())

    async def _kept_session(self) -> "_Session | None":
        """Return a kept session that still answers; None if there is none."""
        while self._kept:
            session = self._kept.pop()
            try:
                await asyncio.sleep(0)  # the end of a session that the server has ended is noticed here
                if is_open(session.connection) and time.monotonic() - session.answered_at < _FRESH_SECONDS:
                    return session
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


class _Session(Struct, frozen=True):
    connection: AsyncConnection
    driver: Any
    """asyncpg's connection, which has no types."""
    number: int
    """The number of the server process."""
    answered_at: float = float("-inf")
    """When it answered last, before it was kept, by the monotonic clock."""

    async def answers(self, seconds: float) -> bool:
        """Return whether the session can be used: whether it is open, and answers within ``seconds``."""
        if not is_open(self.connection):
            return False
        try:
            async with asyncio.timeout(seconds):
                await self.driver.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            return False
        return True

    def cut(self) -> None:
        """End the session at once, without telling the server."""
        self.driver.terminate()


async def _close_all(sessions: Iterable[_Session]) -> None:
    """Close sessions that nobody uses. A session that doesn't close within GOODBYE_SECONDS is cut."""

    async def close(session: _Session) -> None:
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await session.connection.close()
        except Exception:  # noqa: BLE001 - the session is idle, so nothing can be lost
            session.cut()

    await _undisturbed(asyncio.gather(*map(close, sessions)))


async def _undisturbed(work: Awaitable[object]) -> None:
    """Wait for ``work``, which goes on to its end even if the waiting task is cancelled."""
    await asyncio.shield(asyncio.ensure_future(work))


@asynccontextmanager
async def in_transaction(connection: AsyncConnection) -> AsyncIterator[None]:
    """
    Run the block in one transaction of the connection, which is committed at the end, or rolled back after an error.

    The block's error is raised even if the ROLLBACK fails too. A ROLLBACK always fails on a session that was lost, or
    was left in the middle of a statement, and its error would hide the cause.
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
    """Return the asyncpg connection inside SQLAlchemy's connection."""
    return (await connection.get_raw_connection()).driver_connection


async def execute_together(connection: AsyncConnection, statements: Sequence[str]) -> None:
    """
    Execute statements without parameters by one message, which spares the round trips of each.

    ``connection`` must be in a transaction that a statement has begun. Raises asyncpg's errors.
    """
    driver = await driver_of(connection)
    with pending_of(connection).waiting(driver):
        await driver.execute(";\n".join(statements))


def is_open(connection: AsyncConnection) -> bool:
    """Return whether a connection is open, as far as this process knows."""
    if connection.closed or connection.invalidated or connection.sync_connection is None:
        return False
    driver: Any = connection.sync_connection.connection.driver_connection
    return driver is not None and not driver.is_closed()
