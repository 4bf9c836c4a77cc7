"""
Stage ``lock``: one job at a time on a target.

An advisory lock of the session (PostgreSQL, "Advisory Locks"): it dies with its connection, so a killed job leaves
nothing that a person would have to clear.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import GaveUp
from migrator.target import Target

LOCK_KEY = int.from_bytes(b"migrator", "big", signed=True)
"""The same for every version of this program; advisory locks are per database already."""

_LOCK_NOT_AVAILABLE = "55P03"


@asynccontextmanager
async def lock(target: Target, timeout_seconds: float) -> AsyncIterator[None]:
    """
    Hold the target's lock while the block runs.

    Waits at most ``timeout_seconds`` for another job; raises GaveUp naming who holds it.
    """
    async with target.autocommit() as connection:
        await _acquire(connection, timeout_seconds)
        yield
        # Closing the connection releases it, also after an error; there is no unlock that could fail and hide one.


async def _acquire(connection: AsyncConnection, timeout_seconds: float) -> None:
    limit = f"{max(1, round(timeout_seconds * 1000))}ms"
    await connection.execute(text("SELECT set_config('lock_timeout', :limit, false)"), {"limit": limit})
    try:
        await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        holder = await connection.scalar(text(_HOLDER), {"key": LOCK_KEY})
        raise GaveUp(
            f"another job holds the target's lock: {holder or 'it has just gone'}",
            next_step="wait for it to end and run again; `migrator status` shows how far it is",
            holder=holder,
        ) from error
    await connection.execute(text("SELECT set_config('lock_timeout', '0', false)"))


# A bigint key shows in pg_locks as two halves (PostgreSQL, "pg_locks").
_HOLDER = """
SELECT format('%s from %s since %s (server process %s)', coalesce(nullif(a.application_name, ''), 'unnamed'),
              coalesce(host(a.client_addr), 'the server itself'), a.backend_start, a.pid)
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND (l.classid::bigint << 32 | l.objid::bigint) = :key
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
