"""
Looks at tables and lets go of them: a transaction locks every table and index that it looks at, until its end.

What a savepoint has locked is free again when that is rolled back (PostgreSQL, "Explicit Locking").
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.ext.asyncio import AsyncConnection


@asynccontextmanager
async def glance(connection: AsyncConnection) -> AsyncIterator[None]:
    """Let go of what the block locks, at its end; what it writes is taken back. One can't be inside of another."""
    await connection.exec_driver_sql("SAVEPOINT glance")
    try:
        yield
    except BaseException:
        with suppress(Exception):  # what the block raised is what comes out
            await _let_go(connection)
        raise
    await _let_go(connection)


async def _let_go(connection: AsyncConnection) -> None:
    await connection.exec_driver_sql("ROLLBACK TO SAVEPOINT glance")
    # Or what comes next would be written by a part of the transaction, which has a number of its own.
    await connection.exec_driver_sql("RELEASE SAVEPOINT glance")
