"""From stage to stage, table by table: what one stage is through with, the next takes up while others are at work."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class ReplayQueue(Generic[T]):
    """
    Things that have come, in the order in which they came, and whether more will.

    Whoever iterates gets all of them, from the first on, and waits for those to come; so a stage that is tried again
    finds everything. What is added twice, by a stage that was tried again, comes once.
    """

    def __init__(self) -> None:
        self._items: dict[T, None] = {}
        self._closed = False
        self._news = asyncio.Condition()

    @classmethod
    def of(cls, things: Iterable[T]) -> "ReplayQueue[T]":
        """Return a handover that is complete from the beginning."""
        complete = cls()
        complete._items = dict.fromkeys(things)
        complete._closed = True
        return complete

    async def add(self, thing: T) -> None:
        """Hand one on."""
        async with self._news:
            self._items.setdefault(thing)
            self._news.notify_all()

    async def close(self) -> None:
        """Say that no more will come."""
        async with self._news:
            self._closed = True
            self._news.notify_all()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield all that has come and, as it comes, all that will."""
        async for group in self.batches():
            for thing in group:
                yield thing

    async def batches(self) -> AsyncIterator[list[T]]:
        """Yield the same in groups: what has come since whoever asks was last here."""
        taken = 0
        while come := await self._beyond(taken):
            taken += len(come)
            yield come

    async def _beyond(self, taken: int) -> list[T]:
        """Return what has come after so many things, when there is something; nothing if no more will."""
        async with self._news:
            await self._news.wait_for(lambda: self._closed or len(self._items) > taken)
            return list(self._items)[taken:]
