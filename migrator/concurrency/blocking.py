"""Connections of drivers that block: used in threads, one after the other, and closed without waiting for any."""

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
    One connection, opened when it is first needed.

    Whoever closes it need not know whether a thread that nobody waits for any more is still at work: then it is that
    thread which closes the connection, when it is through.
    """

    def __init__(
        self, connect: Callable[[], AbstractContextManager[C]], interrupt: Callable[[], None] | None = None
    ) -> None:
        """``interrupt`` makes a thread at work end soon, with an error; it is called from another thread."""
        self._connect = connect
        self._cut = interrupt
        self._opened = ExitStack()
        self._connections: list[C] = []
        self._in_use = threading.Lock()
        self._closing = False

    def call(self, work: Callable[Concatenate[C, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        """Call ``work`` with the connection, and return what it returns. Blocks; one thread at a time."""
        with self.borrow() as connection:
            return work(connection, *arguments, **named)

    @contextmanager
    def borrow(self) -> Iterator[C]:
        """Give the connection while the block runs. Blocks; one thread at a time."""
        try:
            with self._in_use:
                if not self._connections:
                    self._connections.append(self._opened.enter_context(self._connect()))
                yield self._connections[0]
        finally:
            if self._closing:  # looked at when the lock is free: one of the two who close finds it so
                self._close_if_idle()

    def close(self) -> None:
        """Close the connection, or cut it if it is in use, and have it closed as soon as it no longer is."""
        self._closing = True
        if not self._close_if_idle() and self._cut:
            self._cut()

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
    """Return a crew of which each hand has a connection that blocks."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[BlockingConnection[C]]:
        connection = make()
        try:
            yield connection
        finally:
            connection.close()

    return WorkerPool(slots, opened)


async def call_in_worker(
    crew: WorkerPool[BlockingConnection[C]], work: Callable[Concatenate[C, P], R], *arguments: P.args, **named: P.kwargs
) -> R:
    """Wait for a free hand, call ``work`` with its connection in a thread, and return what it returns."""
    async with crew.worker() as connection:
        return await asyncio.to_thread(lambda: connection.call(work, *arguments, **named))
