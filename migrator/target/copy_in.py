"""COPY into a table: through the asyncpg connection beneath SQLAlchemy's, in the same transaction, with an end."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import TableName
from migrator.sessions.connections import driver_of
from migrator.target.schema import CopyForm


async def copy_in(  # noqa: PLR0913 - what COPY needs to be told
    connection: AsyncConnection,
    table: TableName,
    columns: Sequence[str],
    chunks: AsyncIterator[bytes],
    *,
    form: CopyForm,
    freeze: bool,
    stall_seconds: float,
) -> int:
    """
    Send ``chunks`` of COPY data into ``table`` and return the rows written, as PostgreSQL counted them.

    Runs in the connection's transaction, which a statement has begun. ``freeze`` needs the table's TRUNCATE in that
    same transaction (PostgreSQL, "COPY": FREEZE). Raises what ``chunks`` and asyncpg raise, and TimeoutError if the
    server takes longer than ``stall_seconds`` for a chunk, or for its answer at the end. Unless it was the server that
    refused, the session is lost with the transaction.
    """
    driver = await driver_of(connection)
    loop = asyncio.get_running_loop()

    async def taken() -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if driver.is_closed():
                raise ConnectionResetError("the connection was lost")
            limit.reschedule(loop.time() + stall_seconds)
            yield chunk
            limit.reschedule(None)  # what comes now is the source's time
        limit.reschedule(loop.time() + stall_seconds)

    def lost(_driver: object) -> None:
        # asyncpg waits for a full buffer to drain, and doesn't notice there that nobody drains it any more.
        with suppress(RuntimeError):  # all may be over by now
            limit.reschedule(loop.time())

    try:
        async with asyncio.timeout(None) as limit:
            driver.add_termination_listener(lost)
            status: str = await driver.copy_to_table(
                table.name,
                schema_name=table.schema,
                columns=list(columns),
                source=taken(),
                format=form.value,
                freeze=freeze,
            )
    except TimeoutError as error:
        if driver.is_closed():
            raise ConnectionResetError("the connection was lost while rows were sent") from error
        driver.terminate()
        raise TimeoutError(f"the server took no rows for {stall_seconds:g} s") from error
    except asyncpg.PostgresError:
        raise  # the server has said its last word about this COPY
    except BaseException:
        # asyncpg has asked the server to cancel and waits for its answer before the session does anything else, a
        # ROLLBACK too; where the server had refused the rows already there is nothing to cancel, and none comes.
        driver.terminate()
        raise
    finally:
        driver.remove_termination_listener(lost)
    return int(status.rpartition(" ")[2])
