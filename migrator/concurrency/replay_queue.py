"""From stage to stage, table by table: what one stage is through with, the next takes up while others are at work."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """
    Things that have come, in the order in which they came, and whether more will.

    Whoever iterates gets all of them, from the first on, and waits for those to come; so a stage that is tried again
    finds everything. What is added twice, by a stage that was tried again, comes once.
    """

    def __init__(self) -> None:
        self._come: dict[T, None] = {}
        self._all_there = False
        self._news = asyncio.Condition()

    @classmethod
    def of(cls, things: Iterable[T]) -> "Handover[T]":
        """Return a handover that is complete from the beginning."""
        complete = cls()
        complete._come = dict.fromkeys(things)
        complete._all_there = True
        return complete

    async def add(self, thing: T) -> None:
        """Hand one on."""
        async with self._news:
            self._come.setdefault(thing)
            self._news.notify_all()

    async def close(self) -> None:
        """Say that no more will come."""
        async with self._news:
            self._all_there = True
            self._news.notify_all()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield all that has come and, as it comes, all that will."""
        async for group in self.groups():
            for thing in group:
                yield thing

    async def groups(self) -> AsyncIterator[list[T]]:
        """Yield the same in groups: what has come since whoever asks was last here."""
        taken = 0
        while come := await self._beyond(taken):
            taken += len(come)
            yield come

    async def _beyond(self, taken: int) -> list[T]:
        """Return what has come after so many things, when there is something; nothing if no more will."""
        async with self._news:
            await self._news.wait_for(lambda: self._all_there or len(self._come) > taken)
            return list(self._come)[taken:]
