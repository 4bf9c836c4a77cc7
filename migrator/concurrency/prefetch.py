"""
Turns a blocking iterator into an async iterator, and reads one item ahead.

This bounds the memory of a copy: one item is ready while another item is being sent.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_END = object()


async def prefetch(items: Iterator[T]) -> AsyncGenerator[T, None]:
    """
    Yield the items of a blocking iterator, which runs in its own thread and reads one item ahead.

    Reading further ahead was measured and gained nothing: reading and sending take turns on the same two cores. However
    the caller's loop ends, the iterator is closed in its thread before this returns, so that its resources are freed.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as thread:
        upcoming = loop.run_in_executor(thread, next, items, _END)
        try:
            while (item := await upcoming) is not _END:
                upcoming = loop.run_in_executor(thread, next, items, _END)
                yield item  # type: ignore[misc]
        finally:
            await asyncio.wait([upcoming])
            if not upcoming.cancelled():
                upcoming.exception()  # nobody awaits this item: reading its error avoids asyncio's warning
            if close := getattr(items, "close", None):
                await loop.run_in_executor(thread, close)
