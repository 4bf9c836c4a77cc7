"""
Looks at many tables, some at a time: a transaction locks every table and index that it looks at, until its end.

A server has room for about ``max_locks_per_transaction`` times ``max_connections`` locks of all its sessions together
(PostgreSQL, "Lock Management"): with its default settings for a few thousand tables. What a savepoint has locked is
free again when that is rolled back (PostgreSQL, "Explicit Locking").
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")

AT_ONCE = 50
"""Tables, sequences or keys in a transaction, or in a part of one."""


def some(things: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the things, so many at a time as may be locked at once."""
    return (things[start : start + AT_ONCE] for start in range(0, len(things), AT_ONCE))


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
