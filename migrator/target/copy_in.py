"""Sends rows by COPY, in the transaction of a SQLAlchemy connection, through the asyncpg connection inside it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import asyncpg
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import TableName
from migrator.sessions.connections import driver_of
from migrator.target.schema import CopyFormat


class CopyTarget(Struct, frozen=True):
    """The table and columns that COPY fills, and the format of the rows."""

    table: TableName
    columns: Sequence[str]
    format: CopyFormat
    freeze: bool = False
    """Whether rows are written frozen. Requires the table's TRUNCATE in the same transaction (PostgreSQL, "COPY")."""


async def copy_in(
    connection: AsyncConnection, target: CopyTarget, data: AsyncIterator[bytes], *, stall_seconds: float
) -> int:
    """
    Send COPY ``data`` into the target table and return the number of rows written, as PostgreSQL counted them.

    ``connection`` must be in a transaction that a statement has begun. ``data`` may be cut anywhere. Raises what
    ``data`` and asyncpg raise, and TimeoutError if the server needs longer than ``stall_seconds`` to accept a part of
    the data, or to answer at the end. After an error the session is closed and its transaction lost, unless the server
    has refused the rows.
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
        # While asyncpg waits for a full buffer to be sent, it doesn't notice that the connection is closed.
        with suppress(RuntimeError):  # the timeout's block may have ended already
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
        # asyncpg has asked the server to cancel the COPY. Before the next statement, even a ROLLBACK, asyncpg waits for
        # the server's answer. If the server has already refused the rows, nothing is cancelled and no answer comes.
        driver.terminate()
        raise
    finally:
        driver.remove_termination_listener(lost)
    return int(status.rpartition(" ")[2])
