"""The bridge: one item ahead, closed in its own thread however the loop over it ends."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from migrator.concurrency.prefetch import prefetch


class Items:
    """A blocking iterator that notes how far it was asked, where it ran, and when it was closed."""

    def __init__(self, count: int, *, fail_at: int = -1) -> None:
        """``fail_at``: the item instead of which an error comes."""
        self.given = 0
        self.threads: set[int] = set()
        self.closed = threading.Event()
        self._count, self._fail_at = count, fail_at

    def __iter__(self) -> Iterator[int]:
        """Return itself."""
        return self

    def __next__(self) -> int:
        """Give the next number."""
        self.threads.add(threading.get_ident())
        if self.given == self._fail_at:
            raise OSError("the disk is gone")
        if self.given == self._count:
            raise StopIteration
        self.given += 1
        return self.given - 1

    def close(self) -> None:
        """Note it."""
        self.threads.add(threading.get_ident())
        self.closed.set()


async def test_all_items_in_order() -> None:
    """None twice and none left out, from one thread that isn't the loop's; afterwards the iterator is closed."""
    items = Items(1000)
    assert [item async for item in prefetch(items)] == list(range(1000))
    assert items.closed.is_set()
    assert len(items.threads) == 1
    assert threading.get_ident() not in items.threads


async def test_one_ahead_and_no_more() -> None:
    """This is where memory is bounded: while an item is used, one more is made."""
    items = Items(100)
    async for item in prefetch(items):
        await asyncio.sleep(0)
        assert items.given <= item + 2


async def test_an_error_comes_out_where_the_item_would_have() -> None:
    """The items before it are not lost, and what the iterator holds open is released."""
    items = Items(10, fail_at=3)
    seen = []
    with pytest.raises(OSError, match="the disk is gone"):  # noqa: PT012 - so is what it has seen until then
        async for item in prefetch(items):
            seen.append(item)  # noqa: PERF401 - the loop is what is tested
    assert seen == [0, 1, 2]
    assert items.closed.is_set()


async def test_leaving_the_loop_early() -> None:
    """The iterator is closed, also when the item ahead was an error, which then is nobody's."""
    for items in (Items(10), Items(10, fail_at=1)):
        async with aclosing(prefetch(items)) as bridged:
            async for _ in bridged:
                break
        assert items.closed.is_set()


async def test_cancelled_while_it_waits() -> None:
    """The iterator is closed when the task is gone, not sooner than its thread has come back from it."""
    started, proceed = threading.Event(), threading.Event()
    order: list[str] = []

    def slow() -> Iterator[int]:
        try:
            started.set()
            proceed.wait(10)
            order.append("came back")
            yield 1
        finally:
            order.append("closed")

    async def consume() -> None:
        async with aclosing(prefetch(slow())) as bridged:
            async for _ in bridged:
                pass

    task = asyncio.create_task(consume())
    await asyncio.to_thread(started.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    proceed.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert order == ["came back", "closed"]
