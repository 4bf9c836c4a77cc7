"""
Looks at tables without keeping their locks: a transaction locks every table and index that it reads, until its end.

A rollback to a savepoint frees the locks that were taken after it (PostgreSQL, "Explicit Locking").
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.ext.asyncio import AsyncConnection


@asynccontextmanager
async def glance(connection: AsyncConnection) -> AsyncIterator[None]:
    """Free at its end what the block locks, and take back what it writes. Blocks can't be nested."""
    await connection.exec_driver_sql("SAVEPOINT glance")
    try:
        yield
    except BaseException:
        with suppress(Exception):  # the error of the block is the one to raise
            await _free(connection)
        raise
    await _free(connection)


async def _free(connection: AsyncConnection) -> None:
    await connection.exec_driver_sql("ROLLBACK TO SAVEPOINT glance")
    # Otherwise the following writes belong to a subtransaction, which has a number of its own.
    await connection.exec_driver_sql("RELEASE SAVEPOINT glance")
