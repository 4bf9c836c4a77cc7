"""A queue between stages that replays all items to every reader, so that a retried stage sees finished tables again."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class ReplayQueue(Generic[T]):
    """
    Holds items in the order in which they were added.

    Every reader gets all items from the first on, and waits for more until the queue is closed. An item that is added
    twice, by a stage that was retried, is yielded once.
    """

    def __init__(self) -> None:
        self._items: dict[T, None] = {}
        self._closed = False
        self._changed = asyncio.Condition()

    @classmethod
    def of(cls, items: Iterable[T]) -> "ReplayQueue[T]":
        """Return a closed queue that holds ``items``."""
        complete = cls()
        complete._items = dict.fromkeys(items)
        complete._closed = True
        return complete

    async def add(self, item: T) -> None:
        """Add an item."""
        async with self._changed:
            self._items.setdefault(item)
            self._changed.notify_all()

    async def close(self) -> None:
        """Declare that no more items will be added."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield all items: those already added, then each new one."""
        async for batch in self.batches():
            for item in batch:
                yield item

    async def batches(self) -> AsyncIterator[list[T]]:
        """Yield the same items in lists. Each list holds the items that were added after the previous list."""
        position = 0
        while added := await self._added_after(position):
            position += len(added)
            yield added

    async def _added_after(self, position: int) -> list[T]:
        """Wait for items from ``position`` on and return them; return nothing if the queue is closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or len(self._items) > position)
            return list(self._items)[position:]
