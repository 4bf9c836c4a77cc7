"""
Several at a time, each with a connection of its own: how stages share out the work.

A connection costs a handshake, a hundred of which are a second. So it belongs to a hand, not to a table: it is opened
with the hand's first task and closed after the last.
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
    """Hands that can be borrowed while the ``async with`` block lasts; at its end their connections are closed."""

    def __init__(
        self,
        slots: int | asyncio.Semaphore,
        connect: Callable[[], AbstractAsyncContextManager[C]],
        is_alive: Callable[[C], bool] = lambda _connection: True,
    ) -> None:
        """
        ``slots`` is a number, or a semaphore that several crews have in common: so many work in all of them.

        A connection that isn't ``is_alive`` any more when it is to be used again is closed, and another opened.
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
        """Close the connections of all hands; none may be at work any more."""
        async with AsyncExitStack() as closing:
            for _, opened in self._idle:
                closing.push_async_callback(opened.aclose)
        self._idle.clear()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[C]:
        """
        Wait for a free hand, first come first served, and lend its connection while the block runs.

        A connection under which the block fails is closed: nobody knows what state it is in.
        """
        async with self._free:
            await asyncio.sleep(0)  # where the hand is free because of an error, whoever waits is about to be cancelled
            connection, opened = await self._kept() or await self._open()
            try:
                yield connection
            except BaseException as error:
                await opened.__aexit__(type(error), error, error.__traceback__)
                raise
            self._idle.append((connection, opened))

    async def _open(self) -> tuple[C, AsyncExitStack]:
        opened = AsyncExitStack()
        return await opened.enter_async_context(self._connect()), opened

    async def _kept(self) -> tuple[C, AsyncExitStack] | None:
        """Return a connection that was used before, and what closes it; None if there is none alive."""
        while self._idle:
            connection, opened = self._idle.pop()
            if self._is_alive(connection):
                return connection, opened
            await opened.aclose()
        return None


async def gather_or_cancel(work: Iterable[Coroutine[object, object, R]]) -> list[R]:
    """
    Do all of the work side by side and return the results in its order.

    The first error cancels what is under way, and is raised in an ExceptionGroup.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    return [task.result() for task in tasks]
