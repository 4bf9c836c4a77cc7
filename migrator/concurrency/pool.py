"""
A pool of workers, each with its own connection. Stages use it to process several tables at once.

A connection costs a handshake, and a hundred handshakes take a second. So a connection belongs to a worker, not to a
table: it is opened for the worker's first task and closed after the last.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Generic, Self, TypeVar

C = TypeVar("C")

T = TypeVar("T")

R = TypeVar("R")


class WorkerPool(Generic[C]):
    """Provides workers during an ``async with`` block, and closes their connections at its end."""

    def __init__(
        self,
        slots: int | asyncio.Semaphore,
        connect: Callable[[], AbstractAsyncContextManager[C]],
        is_alive: Callable[[C], bool] = lambda _connection: True,
    ) -> None:
        """
        ``slots`` is the number of workers, or a semaphore that limits the workers of several pools together.

        ``connect`` opens a connection. If ``is_alive`` is false for a connection, the pool replaces it.
        """
        self._is_alive = is_alive
        self._free = asyncio.Semaphore(max(1, slots)) if isinstance(slots, int) else slots
        self._connect = connect
        self._idle: list[tuple[C, AsyncExitStack]] = []

    async def __aenter__(self) -> Self:
        """Return the pool. Connections are opened later."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections of all workers. No worker may be in use."""
        async with AsyncExitStack() as closing:
            for _, opened in self._idle:
                closing.push_async_callback(opened.aclose)
        self._idle.clear()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[C]:
        """
        Wait for a free worker and yield its connection for the block. Waiting tasks get workers in their order.

        If the block fails, its connection is closed, since its state is unknown.
        """
        async with self._free:
            await asyncio.sleep(0)  # if an error has freed the worker, this task is about to be cancelled
            connection, opened = await self._reuse() or await self._open()
            try:
                yield connection
            except BaseException as error:
                await opened.__aexit__(type(error), error, error.__traceback__)
                raise
            self._idle.append((connection, opened))

    async def _open(self) -> tuple[C, AsyncExitStack]:
        opened = AsyncExitStack()
        return await opened.enter_async_context(self._connect()), opened

    async def _reuse(self) -> tuple[C, AsyncExitStack] | None:
        """Return an idle connection that is alive, with the stack that closes it, or None."""
        while self._idle:
            connection, opened = self._idle.pop()
            if self._is_alive(connection):
                return connection, opened
            await opened.aclose()
        return None


async def gather_or_cancel(work: Iterable[Coroutine[object, object, R]]) -> list[R]:
    """
    Run all coroutines at once and return their results in the same order.

    The first error cancels the others and is raised in an ExceptionGroup.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in work]
    return [task.result() for task in tasks]
