"""From a blocking iterator to an async one. Here memory is bounded: one item is ready while another is being used."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_END = object()


async def prefetch(items: Iterator[T]) -> AsyncGenerator[T, None]:
    """
    Yield the items of a blocking iterator, which runs in a thread of its own, one item ahead and no more.

    More than one ahead was tried and gained nothing: reading and sending take turns on the same two cores. However the
    loop over it ends, the iterator is closed in its thread before this returns, so that what it holds open is released.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="bridge") as thread:
        upcoming = loop.run_in_executor(thread, next, items, _END)
        try:
            while (item := await upcoming) is not _END:
                upcoming = loop.run_in_executor(thread, next, items, _END)
                yield item  # type: ignore[misc]
        finally:
            await asyncio.wait([upcoming])
            if not upcoming.cancelled():
                upcoming.exception()  # of an item that nobody waits for any more
            if close := getattr(items, "close", None):
                await loop.run_in_executor(thread, close)
