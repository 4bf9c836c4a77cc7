"""Pulse: long work is looked after, and a beat that finds something wrong ends it."""

import asyncio

import pytest

from migrator.concurrency.heartbeat import run_with_heartbeat


async def test_a_beat_ends_the_work() -> None:
    """What it raises is raised, and the work was cancelled before that."""
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def on_beat() -> None:
        raise TimeoutError("nothing moves")

    with pytest.raises(TimeoutError, match="nothing moves"):
        await run_with_heartbeat(work(), on_beat, 0.001)
    assert cancelled.is_set()


async def test_the_work_decides_how_it_ends() -> None:
    """It beats meanwhile; the result, or the error, is the work's own."""
    beats = asyncio.Semaphore(0)

    async def on_beat() -> None:
        beats.release()

    async def work(error: Exception | None) -> int:
        await beats.acquire()
        await beats.acquire()
        if error:
            raise error
        return 7

    assert await run_with_heartbeat(work(None), on_beat, 0.001) == 7
    with pytest.raises(ValueError, match="its own"):
        await run_with_heartbeat(work(ValueError("its own")), on_beat, 0.001)


async def test_a_beat_under_way_is_not_cut_off() -> None:
    """It may be using a connection that is needed later: the end of the work waits for the end of the beat."""
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def on_beat() -> None:
        begun.set()
        await may_end.wait()
        ended.set()

    async def work() -> None:
        await begun.wait()
        asyncio.get_running_loop().call_soon(may_end.set)

    await run_with_heartbeat(work(), on_beat, 0.001)
    assert ended.is_set()


async def test_a_signal_reaches_the_work() -> None:
    """Cancelled from outside, it cancels the work, waits for its end, and the reason stays what it was."""
    begun, gone = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    async def on_beat() -> None:
        return

    task = asyncio.create_task(run_with_heartbeat(work(), on_beat, 10))
    await begun.wait()
    task.cancel("SIGTERM")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert gone.is_set()
    assert caught.value.args == ("SIGTERM",)


async def test_it_beats_on_while_the_work_winds_down() -> None:
    """What is cancelled may wait for something that only a beat can end; what such a beat raises is not the reason."""
    ended = asyncio.Event()
    beats = 0

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await ended.wait()

    async def on_beat() -> None:
        nonlocal beats
        beats += 1
        if beats > 1:
            ended.set()
        raise ValueError(beats)

    async with asyncio.timeout(60):
        with pytest.raises(ValueError, match=r"^1$"):
            await run_with_heartbeat(work(), on_beat, 0.01)
