"""Sends rows by COPY through the asyncpg connection beneath SQLAlchemy's, in its transaction and with a time limit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import TableName
from migrator.sessions.connections import driver_of
from migrator.target.schema import CopyFormat


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """Where COPY writes, and how."""

    table: TableName
    columns: Sequence[str]
    format: CopyFormat
    freeze: bool = False
    """Whether rows are written frozen; needs the table's TRUNCATE in the same transaction (PostgreSQL, "COPY")."""


async def copy_in(
    connection: AsyncConnection, target: CopyTarget, data: AsyncIterator[bytes], *, stall_seconds: float
) -> int:
    """
    Send COPY ``data`` into the target table and return the number of rows written, as PostgreSQL counted them.

    ``connection`` must be in a transaction that a statement has begun. ``data`` may be cut anywhere. Raises what
    ``data`` and asyncpg raise, and TimeoutError if the server needs longer than ``stall_seconds`` to accept a part of
    the data, or to answer at the end. The session is lost with the transaction, except where the server refused rows.
    """
    driver = await driver_of(connection)
    loop = asyncio.get_running_loop()

    async def timed() -> AsyncIterator[bytes]:
        async for part in data:
            if driver.is_closed():
                raise ConnectionResetError("the connection was lost")
            limit.reschedule(loop.time() + stall_seconds)
            yield part
            limit.reschedule(None)  # the source may take as long as it needs
        limit.reschedule(loop.time() + stall_seconds)

    def lost(_driver: object) -> None:
        # asyncpg waits for a full buffer to drain, and doesn't notice there that the connection is closed.
        with suppress(RuntimeError):  # the timeout may be over by now
            limit.reschedule(loop.time())

    try:
        async with asyncio.timeout(None) as limit:
            driver.add_termination_listener(lost)
            status: str = await driver.copy_to_table(
                target.table.name,
                schema_name=target.table.schema,
                columns=list(target.columns),
                source=timed(),
                format=target.format.value,
                freeze=target.freeze,
            )
    except TimeoutError as error:
        if driver.is_closed():
            raise ConnectionResetError("the connection was lost while rows were sent") from error
        driver.terminate()
        raise TimeoutError(f"the server took no rows for {stall_seconds:g} s") from error
    except asyncpg.PostgresError:
        raise  # the server has ended this COPY, and the session is usable
    except BaseException:
        # asyncpg has asked the server to cancel and waits for its answer before the session does anything else, a
        # ROLLBACK too; where the server had refused the rows already there is nothing to cancel, and none comes.
        driver.terminate()
        raise
    finally:
        driver.remove_termination_listener(lost)
    return int(status.rpartition(" ")[2])
