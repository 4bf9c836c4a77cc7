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
    """Lends workers while the ``async with`` block lasts, and closes their connections at its end."""

    def __init__(
        self,
        slots: int | asyncio.Semaphore,
        connect: Callable[[], AbstractAsyncContextManager[C]],
        is_alive: Callable[[C], bool] = lambda _connection: True,
    ) -> None:
        """
        ``slots`` is the number of workers, or a semaphore that several pools share: it limits the workers of them all.

        A connection for which ``is_alive`` is false is not used again: the pool closes it and opens another.
        """
        self._is_alive = is_alive
        self._free = asyncio.Semaphore(max(1, slots)) if isinstance(slots, int) else slots
        self._connect = connect
        self._idle: list[tuple[C, AsyncExitStack]] = []

    async def __aenter__(self) -> Self:
        """Open nothing yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections of all workers; none may be lent any more."""
        async with AsyncExitStack() as closing:
            for _, opened in self._idle:
                closing.push_async_callback(opened.aclose)
        self._idle.clear()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[C]:
        """
        Wait for a free worker, first come first served, and lend its connection while the block runs.

        If the block fails, its connection is closed, since its state is unknown.
        """
        async with self._free:
            await asyncio.sleep(0)  # if an error has freed the worker, the task that waits is about to be cancelled
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
        """Return an idle connection that is alive, and what closes it; None if there is none."""
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
