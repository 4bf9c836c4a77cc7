"""What one stage is through with reaches the next in order, once, whenever it asks."""

import asyncio

import pytest

from migrator.concurrency.replay_queue import ReplayQueue


async def test_what_comes_is_taken_up_as_it_comes() -> None:
    """Whoever waits gets the first thing before the second is there, and ends when no more will come."""
    handover: ReplayQueue[str] = ReplayQueue()
    taken: list[str] = []
    news = asyncio.Event()

    async def take() -> None:
        async for thing in handover:
            taken.append(thing)
            news.set()

    taking = asyncio.create_task(take())
    for thing in "ab":
        news.clear()
        await handover.add(thing)
        await news.wait()
        assert taken[-1] == thing
    assert not taking.done()
    await handover.close()
    await taking
    assert taken == ["a", "b"]


async def test_who_begins_again_gets_everything_again() -> None:
    """A stage that is tried anew finds what came before; what its source hands on twice comes once."""
    handover: ReplayQueue[int] = ReplayQueue()
    for thing in (3, 1, 3, 2, 1):
        await handover.add(thing)
    await handover.close()
    assert [thing async for thing in handover] == [3, 1, 2]
    assert [thing async for thing in handover] == [3, 1, 2]


@pytest.mark.parametrize("things", [(), (1, 2)])
async def test_one_that_is_complete_from_the_beginning(things: tuple[int, ...]) -> None:
    """It gives what it was made of, and ends."""
    assert [thing async for thing in ReplayQueue.of(things)] == list(things)
