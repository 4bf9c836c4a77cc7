"""
Stage ``wait`` waits until the target is a server that accepts the login and answers.

An open port proves little: the postgres image listens on its socket while it initialises, and a recovering server
accepts connections and then refuses them. So this stage logs in with the configured credentials and runs a query.
"""

import asyncio
import time
from typing import Final

import asyncpg
import structlog
from msgspec import Struct
from tenacity import AsyncRetrying

from migrator.errors import GaveUp, MigratorError, TargetRefused
from migrator.events import Event
from migrator.runtime.error_mapping import to_migrator_error
from migrator.runtime.retry import is_transient
from migrator.sessions.address import TargetAddress

OLDEST_SERVER: Final = 13  # older versions are out of support, and not tested
log = structlog.get_logger()

_ASK = """
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::int AS number,
           current_database()::text AS database,
           session_user::text AS role,
           pg_is_in_recovery() AS recovering
"""


class ServerFacts(Struct, frozen=True):
    """What the server reports about itself: ``version`` as people write it, ``major`` as a number."""

    version: str
    major: int
    database: str
    role: str
    writable: bool


async def wait(
    address: TargetAddress, retry_policy: AsyncRetrying, *, to_write: bool = True, seconds: float | None = None
) -> ServerFacts:
    """
    Log in and run a query, again and again within ``retry_policy``, until the server answers; return its facts.

    ``seconds`` is the time limit of ``retry_policy``, for the log. The job waits while connections are refused, reset
    or unreachable, names don't resolve, or the server is starting up, full or silent. Raises ConfigurationError
    at once for a wrong password, an unknown database or no agreement on TLS, TargetRefused for a server that is too old
    or, with ``to_write``, for a replica, and GaveUp when the time is over. Each error of the connection names host,
    port and the settings that they come from. No connection stays open.
    """
    if address.channel_binding == "require":
        reason = "asyncpg knows no channel binding: it is required where libpq connects, and not elsewhere"
        log.warning(Event.WARNING_SETTING, variable="channel_binding", reason=reason)
    began = time.monotonic()
    warned = False

    async def ask() -> ServerFacts:
        nonlocal warned
        try:
            return await _ask(address)
        except Exception as error:
            if not warned and is_transient(error):
                warned = True
                limit = {} if seconds is None else {"seconds": seconds}
                log.warning(Event.SERVER_WAITING, server=address.server(), setting=address.origin, **limit)
            raise

    try:
        facts: ServerFacts = await retry_policy(ask)
    except Exception as error:
        known = to_migrator_error(error)
        if known is None:
            raise
        raise _placed(known, address) from error
    if to_write and not facts.writable:
        raise TargetRefused(
            "the server is a replica, which takes no writes", next_step="Point the job at the primary server."
        )
    log.info(Event.SERVER_READY, version=facts.version, seconds=round(time.monotonic() - began, 3))
    return facts


def _placed(error: MigratorError, address: TargetAddress) -> MigratorError:
    """Return the error with the server's address in its message: a mistyped host or port shows only there."""
    next_step = error.next_step
    if isinstance(error, GaveUp):
        next_step = (
            f"Check host and port in {address.origin}, and that the server runs and can be reached from here; "
            "then run the job again."
        )
    where = f"the server is {address.server()}, by {address.origin}"
    return type(error)(f"{error}; {where}", next_step=next_step, **error.facts)


async def _ask(address: TargetAddress) -> ServerFacts:
    # asyncpg's own timeout covers only the login, but a server may stop answering after it, too.
    async with asyncio.timeout(2 * address.connect_timeout_seconds):
        connection = await asyncpg.connect(**address.asyncpg_arguments())
        try:
            row = await connection.fetchrow(_ASK)
        finally:
            connection.terminate()
    major = row["number"] // 10_000
    if major < OLDEST_SERVER:
        raise TargetRefused(
            f"the server is PostgreSQL {row['version']}, and {OLDEST_SERVER} is the oldest that is supported",
            next_step="Upgrade the server first.",
        )
    return ServerFacts(row["version"], major, row["database"], row["role"], writable=not row["recovering"])
