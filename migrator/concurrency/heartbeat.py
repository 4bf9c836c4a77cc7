"""Calls a function at intervals while a long task runs, and cancels the task when the function raises."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def run_with_heartbeat(work: Awaitable[T], on_beat: Callable[[], Awaitable[None]], every_seconds: float) -> T:
    """
    Run ``work`` and call ``on_beat`` every ``every_seconds`` seconds until the work has ended.

    Returns the result of the work, or raises its error. If ``on_beat`` raises an error, the work is cancelled and the
    error is raised here. Beats go on while the cancelled work ends. A beat that is under way is never cancelled,
    because it may use a connection that is needed later.
    """
    over = asyncio.Event()
    working = asyncio.ensure_future(work)
    beating = asyncio.create_task(_beat(on_beat, every_seconds, over))
    try:
        await asyncio.wait([working, beating], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await beating
        return await working
    finally:
        over.set()
        working.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        while not working.done():
            await asyncio.wait([working], timeout=every_seconds)
            if not working.done():  # a ROLLBACK may wait for a server that is gone
                with suppress(Exception):  # the first error is raised, later errors are ignored
                    await on_beat()
        await asyncio.gather(working, return_exceptions=True)


async def _beat(on_beat: Callable[[], Awaitable[None]], every_seconds: float, over: asyncio.Event) -> None:
    while not over.is_set():
        try:
            async with asyncio.timeout(every_seconds):
                await over.wait()
        except TimeoutError:
            await on_beat()
