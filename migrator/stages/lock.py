"""
Stage ``lock`` lets one job at a time work on a migration.

The lock is an advisory lock of the session (PostgreSQL, "Advisory Locks"). It ends with its connection, so a killed job
leaves nothing that a person would have to remove.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger.migration import LOCK_KEY, Migration
from migrator.sessions.login import behind_a_pooler, login
from migrator.target.advisory import Key, acquire
from migrator.target.database import Target

_ROUNDS = 3


class Lock:
    """The lock of one migration. It is held from ``take`` until ``release``, or until its connection is lost."""

    def __init__(self, target: Target, migration: Migration, timeout_seconds: float) -> None:
        self._target = target
        self._migration = migration
        self._timeout_seconds = timeout_seconds
        self._session = AsyncExitStack()
        self._connection: AsyncConnection | None = None

    async def take(self) -> None:
        """
        Take the lock, again if its connection was lost; do nothing while the lock is held.

        Waits at most ``timeout_seconds`` for another job; raises GaveUp, which names the lock's holder.
        """
        if await self.is_held():
            return
        await self.release()
        await self._target.terminate_abandoned()  # a session that this job has lost may still hold the lock
        connection = await self._session.enter_async_context(self._target.autocommit())
        await _acquire(connection, self._migration, self._timeout_seconds)
        self._connection = connection

    async def change_to(self, migration: Migration) -> None:
        """Release the lock, and take the lock of another migration; waits and raises as ``take`` does."""
        await self.release()
        self._migration = migration
        await self.take()

    async def is_held(self) -> bool:
        """Return whether the connection that holds the lock is alive."""
        if self._connection is None:
            return False
        try:
            async with asyncio.timeout(self._target.address.connect_timeout_seconds):
                await self._connection.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError):
            self._connection = None
            return False
        return True

    async def release(self) -> None:
        """Close the connection, which releases the lock. An explicit unlock could fail and hide another error."""
        self._connection = None
        with suppress(SQLAlchemyError, OSError):
            await self._session.aclose()


@asynccontextmanager
async def lock(target: Target, migration: Migration, timeout_seconds: float) -> AsyncIterator[Lock]:
    """
    Hold the migration's lock while the block runs; waits and raises as ``Lock.take`` does.

    Call ``refuse_pooler`` first: a session's lock means nothing behind a pooler that mixes sessions.
    """
    held = Lock(target, migration, timeout_seconds)
    try:
        await held.take()
        yield held
    finally:
        await held.release()


async def refuse_pooler(target: Target) -> None:
    """
    Raise ConfigurationError if a pooler runs each transaction in any free session.

    A session's lock and settings mean nothing behind such a pooler. Two clients that are open at the same time then use
    the same session, or one client uses several. That never happens with a direct connection, or with a pooler that
    keeps sessions apart.
    """
    try:
        async with AsyncExitStack() as stack:
            clients = [await _client(target, stack) for _ in range(2)]
            sessions = [{await _session(client) for _ in range(_ROUNDS)} for client in clients]
            sessions[0].add(await _session(clients[0]))
    except asyncpg.InvalidSQLStatementNameError as error:
        raise behind_a_pooler(f"it says: {error}") from error
    except (asyncpg.ProtocolViolationError, asyncpg.ConnectionDoesNotExistError) as error:
        if _STATEMENT_MODE not in str(error):
            raise
        raise behind_a_pooler(f"it says: {error}") from error
    if sessions[0] & sessions[1] or len(sessions[0] | sessions[1]) > len(clients):
        raise behind_a_pooler("transactions of one client run in several sessions, or two clients share one")


_STATEMENT_MODE = "statement pooling"


async def _client(target: Target, stack: AsyncExitStack) -> asyncpg.Connection:
    client = await login(target.address, statement_cache_size=0)
    stack.callback(client.terminate)
    # Cancelling a statement would wait for the server, too; terminating the connection ends the statement.
    timer = asyncio.get_running_loop().call_later(target.address.stall_timeout_seconds, client.terminate)
    stack.callback(timer.cancel)
    return client


async def _session(client: asyncpg.Connection) -> int:
    async with client.transaction():
        return int(await client.fetchval("SELECT pg_backend_pid()"))


async def _acquire(connection: AsyncConnection, migration: Migration, timeout_seconds: float) -> None:
    await acquire(connection, Key(LOCK_KEY, "database", shared=True), timeout_seconds)
    await acquire(connection, Key(migration.lock_key, f"migration {migration.name!r}"), timeout_seconds)
