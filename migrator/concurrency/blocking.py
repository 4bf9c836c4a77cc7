"""Wraps connections of blocking drivers: one thread at a time uses a connection, and closing waits for no thread."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from typing import Concatenate, Generic, ParamSpec, TypeVar

from migrator.concurrency.pool import WorkerPool

C = TypeVar("C")

P = ParamSpec("P")

R = TypeVar("R")


class BlockingConnection(Generic[C]):
    """
    Holds one connection, which is opened at its first use.

    After a task is cancelled, its thread may still use the connection. Then ``close`` returns at once, and the thread
    closes the connection when it is done.
    """

    def __init__(
        self, connect: Callable[[], AbstractContextManager[C]], interrupt: Callable[[], None] | None = None
    ) -> None:
        """``connect`` opens the connection. ``interrupt``, called from another thread, makes work on it fail soon."""
        self._connect = connect
        self._interrupt = interrupt
        self._opened = ExitStack()
        self._connections: list[C] = []
        self._in_use = threading.Lock()
        self._closing = False

    def call(self, work: Callable[Concatenate[C, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        """Call ``work`` with the connection and return its result. Blocks while another thread uses the connection."""
        with self.borrow() as connection:
            return work(connection, *arguments, **named)

    @contextmanager
    def borrow(self) -> Iterator[C]:
        """Yield the connection for the block. Blocks while another thread uses the connection."""
        try:
            with self._in_use:
                if not self._connections:
                    self._connections.append(self._opened.enter_context(self._connect()))
                yield self._connections[0]
        finally:
            if self._closing:  # read after the lock is released: so either this thread or `close` gets the lock
                self._close_if_idle()

    def close(self) -> None:
        """Close the connection. If it is in use, interrupt the work; then the thread that uses it closes it."""
        self._closing = True
        if not self._close_if_idle() and self._interrupt:
            self._interrupt()

    def _close_if_idle(self) -> bool:
        if idle := self._in_use.acquire(blocking=False):
            try:
                self._opened.close()
            finally:
                self._in_use.release()
        return idle


def blocking_pool(
    slots: int | asyncio.Semaphore, make: Callable[[], BlockingConnection[C]]
) -> WorkerPool[BlockingConnection[C]]:
    """Return a worker pool with blocking connections. ``make`` makes a connection; ``slots`` as for WorkerPool."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[BlockingConnection[C]]:
        connection = make()
        try:
            yield connection
        finally:
            connection.close()

    return WorkerPool(slots, opened)


async def call_in_worker(
    pool: WorkerPool[BlockingConnection[C]], work: Callable[Concatenate[C, P], R], *arguments: P.args, **named: P.kwargs
) -> R:
    """Wait for a free worker, call ``work`` with its connection in a thread, and return the result."""
    async with pool.worker() as connection:
        return await asyncio.to_thread(lambda: connection.call(work, *arguments, **named))
