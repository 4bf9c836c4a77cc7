"""Logs in to the target, and opens sessions that don't depend on the settings of the role and the database."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import asyncpg

from migrator.errors import ConfigurationError
from migrator.sessions.address import TargetAddress
from migrator.sessions.settings import GIVEN, RELEASE, as_json, settle


async def login(address: TargetAddress, **more: object) -> Any:  # noqa: ANN401 - asyncpg's connection, which has no types
    """
    Open a session of asyncpg and settle its settings. ``more`` are further arguments of ``asyncpg.connect``.

    Raises what asyncpg raises, ConfigurationError if a pooler doesn't keep sessions apart, and TimeoutError if the
    server doesn't answer. asyncpg limits the time of the login, but not the time of the statements after it.
    """
    async with asyncio.timeout(address.login_seconds):
        return await _settled(address, more)


async def _settled(address: TargetAddress, arguments: Mapping[str, object]) -> Any:  # noqa: ANN401 - as above
    try:
        connection = await asyncpg.connect(**address.asyncpg_arguments(), **arguments)
    except asyncpg.ProtocolViolationError as error:
        if not refuses_startup_parameter(error):
            raise
        raise behind_a_pooler(f"it says: {error}") from error
    try:
        await _without_timeouts(connection)
        await _apply_options(connection, address)
        connection.backend = await connection.fetchval(settle())
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError) as error:
        connection.terminate()
        raise behind_a_pooler(f"it says: {error}") from error
    except BaseException:
        connection.terminate()
        raise
    return connection


async def release(connection: Any, address: TargetAddress) -> None:  # noqa: ANN401 - as above
    """Restore the settings of role, database and address, for a script of the operator or the application."""
    await connection.execute(RELEASE)
    await _apply_options(connection, address)


async def _apply_options(connection: Any, address: TargetAddress) -> None:  # noqa: ANN401 - as above
    if settings := address.settings():
        await connection.execute(GIVEN, as_json(settings))


async def _without_timeouts(connection: Any) -> None:  # noqa: ANN401 - as above
    """Remove the role's time limits before a statement exceeds them. PostgreSQL 17 has a second limit."""
    names = ["statement_timeout"]
    if connection.get_server_version() >= _WITH_TRANSACTION_TIMEOUT:
        names.append("transaction_timeout")
    for name in names:
        for _ in range(_TRIES):
            with suppress(asyncpg.QueryCanceledError):
                await connection.execute(f"SET {name} = 0")
                break


_WITH_TRANSACTION_TIMEOUT = (17,)

_TRIES = 10
"""The attempts to remove a limit: a limit of a millisecond may pass while the server's process waits for the CPU."""


def refuses_startup_parameter(error: Exception) -> bool:
    """
    Return whether a pooler has refused a login because of a start-up parameter.

    Only the message's words can decide (PgBouncer: "unsupported startup parameter"). PgBouncer uses SQLSTATE 08P01 for
    every refusal of a login, and libpq, inside the ADBC driver, keeps no SQLSTATE of a failed login.
    """
    return "startup parameter" in str(error)


def behind_a_pooler(reason: str) -> ConfigurationError:
    """Return the ConfigurationError for a pooler that doesn't keep sessions apart; ``reason`` goes into its message."""
    return ConfigurationError(
        f"the target is behind a connection pooler that doesn't keep sessions apart: {reason}",
        next_step="Point the job at the PostgreSQL server itself, by its own host and port, "
        "or have the pooler keep a session for each client (PgBouncer: pool_mode = session).",
    )
