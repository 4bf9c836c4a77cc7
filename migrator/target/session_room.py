"""
Chooses how many sessions a run works with, from what both ends have.

What reads and sends rows takes CPU of the job, so the job's CPUs limit it. Keys, indexes and statistics take CPU of the
server alone, and PostgreSQL tells nobody how many CPUs it has. More sessions than CPUs cost memory and nothing else
there, so a run asks for a few, and for fewer if the server's settings or its free connections say that it is small.
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_SERVER_SESSIONS: Final = 4
"""How many keys and indexes are made at the same time by default. Each may have parallel workers of the server too."""

_SPARE: Final = 2
"""Connections that the job leaves free for others: an operator who looks, and the application's health checks."""


class Offer(Struct, frozen=True):
    """What the server says that it has for this job."""

    free: int
    """The sessions that the role may still open now."""
    workers: int
    """The background processes that the server's settings allow for queries and indexes: few on a small server."""


class Sessions(Struct, frozen=True):
    """How many sessions a run has at the same time, and why."""

    rows: int
    """The sessions in which rows are sent or read: copy and verify share this number, and each may have it idle."""
    keys: int
    """The sessions that make keys and indexes, and as many that analyze."""
    reason: str

    def at_most(self, number: int, reason: str) -> "Sessions":
        """Return the same with at most ``number`` of each kind; ``reason`` says why if that is less."""
        if number >= max(self.rows, self.keys):
            return self
        return replace(
            self, rows=min(self.rows, number), keys=min(self.keys, number), reason=f"{self.reason}; {reason}"
        )


async def offer(connection: AsyncConnection) -> Offer:
    """Return what the server has for this job, by settings and views that every role may read."""
    row = (await connection.execute(text(_OFFER))).one()
    return Offer(row.free, row.workers)


def choose_sessions(jobs: int, server: Offer, *, is_chosen: bool) -> Sessions:
    """
    Return how many sessions a run has. ``jobs`` is the setting, and ``is_chosen`` says that the operator has set it.

    A number that the operator has set holds for both kinds. All sessions together leave some connections free.
    """
    if is_chosen:
        sessions = Sessions(jobs, jobs, f"--jobs {jobs}")
    else:
        keys = max(jobs, min(_SERVER_SESSIONS, server.workers))
        reason = f"rows by the job's CPUs, keys by the server's {server.workers} worker processes"
        sessions = Sessions(jobs, keys, reason)
    # Copy and verify, restore and analyze: each keeps its sessions until it ends.
    free = max(2, server.free - _SPARE)
    if 2 * (sessions.rows + sessions.keys) <= free:
        return sessions
    keys = min(sessions.keys, max(1, free // 2 - sessions.rows))
    few = replace(sessions, keys=keys, reason=f"{sessions.reason}; {server.free} more sessions are allowed")
    return few if 2 * (few.rows + few.keys) <= free else replace(few, rows=max(1, free // 2 - 1))


# pg_stat_database counts the sessions of all roles, also for a role that may not see them one by one.
_OFFER = """
SELECT least(
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0)
        - (SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database),
    (SELECT d.datconnlimit - s.numbackends FROM pg_database d JOIN pg_stat_database s ON s.datid = d.oid
     WHERE d.datname = current_database() AND d.datconnlimit >= 0),
    (SELECT r.rolconnlimit - (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid)
     FROM pg_roles r WHERE r.rolname = session_user AND r.rolconnlimit >= 0)
)::int AS free,
least(current_setting('max_worker_processes')::int, current_setting('max_parallel_workers')::int) AS workers
"""
