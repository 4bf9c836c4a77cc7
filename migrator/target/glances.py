"""
Reads tables inside a transaction without keeping their locks.

A transaction keeps the lock of every table and index that it reads until it ends. But a rollback to a savepoint frees
the locks that were taken after the savepoint (PostgreSQL, "Explicit Locking").
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.ext.asyncio import AsyncConnection


@asynccontextmanager
async def glance(connection: AsyncConnection) -> AsyncIterator[None]:
    """Free the block's locks and undo its writes when the block ends. Blocks can't be nested."""
    await connection.exec_driver_sql("SAVEPOINT glance")
    try:
        yield
    except BaseException:
        with suppress(Exception):  # the block's own error is raised, and no second error may hide it
            await _free(connection)
        raise
    await _free(connection)


async def _free(connection: AsyncConnection) -> None:
    await connection.exec_driver_sql("ROLLBACK TO SAVEPOINT glance")
    # Without the RELEASE, the following writes would belong to a subtransaction, which has its own number.
    await connection.exec_driver_sql("RELEASE SAVEPOINT glance")
