"""Takes advisory locks in the target, waits for them with a time limit, and names the session that holds one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import GaveUp
from migrator.events import Event
from migrator.target.database import Target

log = structlog.get_logger()

_LOCK_NOT_AVAILABLE = "55P03"


class Key(Struct, frozen=True):
    """An advisory lock: its number, what it protects, and whether several sessions may share it."""

    number: int
    of: str
    shared: bool = False


@asynccontextmanager
async def holding(target: Target, key: Key, timeout_seconds: float) -> AsyncIterator[None]:
    """Hold a lock in a separate session while the block runs. Waits and raises as ``acquire`` does."""
    async with target.autocommit() as connection:
        await acquire(connection, key, timeout_seconds)
        yield


async def acquire(connection: AsyncConnection, key: Key, timeout_seconds: float) -> None:
    """
    Take a lock. The session holds the lock until the session ends (PostgreSQL, "Advisory Locks").

    Waits at most ``timeout_seconds`` for another job. After that raises GaveUp, which names the session that holds the
    lock.
    """
    bound, mode = {"key": key.number}, "_shared" if key.shared else ""
    if await connection.scalar(text(f"SELECT pg_try_advisory_lock{mode}(:key)"), bound):
        return
    log.info(Event.LOCK_WAITING, holder=await connection.scalar(text(_HOLDER), bound), of=key.of)
    limit = f"{max(1, round(timeout_seconds * 1000))}ms"
    await connection.execute(text("SELECT set_config('lock_timeout', :limit, false)"), {"limit": limit})
    try:
        await connection.execute(text(f"SELECT pg_advisory_lock{mode}(:key)"), bound)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        holder = await connection.scalar(text(_HOLDER), bound)
        raise GaveUp(
            f"another job holds the lock of the {key.of}: {holder or 'it has just gone'}",
            next_step="Wait for it to end and run again; `migrator status` shows how far it is.",
            holder=holder,
        ) from error
    await connection.execute(text("SELECT set_config('lock_timeout', '0', false)"))


async def is_held(connection: AsyncConnection, number: int) -> bool:
    """Return whether a session holds the lock in exclusive mode. Every role may ask for this."""
    return bool(await connection.scalar(text(_IS_HELD), {"key": number}))


# pg_locks shows a bigint key as two halves (PostgreSQL, "pg_locks").
_HOLDER = """
SELECT format('%s from %s since %s (server process %s)', coalesce(nullif(a.application_name, ''), 'unnamed'),
              coalesce(host(a.client_addr), 'the server itself'), a.backend_start, a.pid)
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND (l.classid::bigint << 32 | l.objid::bigint) = :key
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

_IS_HELD = """
SELECT EXISTS (
    SELECT FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.mode = 'ExclusiveLock'
      AND (l.classid::bigint << 32 | l.objid::bigint) = :key
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
"""
