"""
Holds one moment of PostgreSQL, which all sessions of a rollback see, and begins anew if it is lost.

The moment is a snapshot, which lasts as long as the session that has exported it (PostgreSQL, "Snapshot Synchronization
Functions"). Another session that is lost can be opened again. If this one is lost, what was read so far is of no use:
nobody could read the rest as it was at that moment.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import GaveUp
from migrator.runtime.retry import short_message
from migrator.runtime.stage_runner import StageRunner
from migrator.sessions.address import TargetAddress
from migrator.target.database import Target

T = TypeVar("T")


class _Lost(GaveUp):
    """The moment is gone, so that to try a stage again is of no use."""


class Moment(Struct, frozen=True):
    """The address of the target whose sessions see the moment, and the session that holds it."""

    address: TargetAddress
    _holder: AsyncConnection

    async def during(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of ``work``; raises its error, or one that is not tried again if the moment is lost."""
        try:
            return await work()
        except Exception as error:
            if await self._is_held():
                raise
            raise _Lost(
                f"the connection that held PostgreSQL's snapshot was lost ({short_message(error)})",
                next_step="Run the rollback again when the cause is gone.",
            ) from error

    async def _is_held(self) -> bool:
        try:
            async with asyncio.timeout(self.address.stall_timeout_seconds):
                await self._holder.execute(text("SELECT 1"))
        except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return False
        return True


async def at_one_moment(target: Target, runner: StageRunner, work: Callable[[Moment], Awaitable[T]]) -> T:
    """
    Return the result of ``work``, which is given a moment; it begins anew with a later one if the moment is lost.

    Tries as often as the runner's stages. Raises GaveUp after the last try, and the errors of ``work``.
    """

    async def attempt() -> T:
        try:
            async with _held(target) as moment:
                return await work(moment)
        except _Lost as error:
            raise ConnectionResetError(f"{error}, so it begins anew with a new one") from error

    return await runner.retry("rollback", attempt)


@asynccontextmanager
async def _held(target: Target) -> AsyncIterator[Moment]:
    async with target.connect() as opened:
        connection = await opened.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        name = str(await connection.scalar(text("SELECT pg_export_snapshot()")))
        yield Moment(replace(target.address, snapshot=name), connection)
