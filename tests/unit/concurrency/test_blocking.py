"""Connections that block are opened late, used by one thread at a time, and closed without waiting."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from migrator.concurrency.blocking import BlockingConnection, blocking_pool, call_in_worker


class Door:
    """A connection that says whether it is open."""

    opened = 0
    open = 0

    @contextmanager
    def connect(self) -> Iterator["Door"]:
        """Open it."""
        self.opened += 1
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1


def test_it_is_opened_when_it_is_needed_and_kept() -> None:
    """Two pieces of work have one connection; who needs none opens none."""
    door = Door()
    connection = BlockingConnection(door.connect)
    assert door.opened == 0
    assert [connection.call(lambda given, n: (given.open, n), n) for n in (1, 2)] == [(1, 1), (1, 2)]
    connection.close()
    assert (door.opened, door.open) == (1, 0)


async def test_who_closes_it_does_not_wait_for_the_work() -> None:
    """It is closed by the thread that uses it, when that is through, and not under its hands."""
    door = Door()
    connection = BlockingConnection(door.connect)
    begun, may_end = threading.Event(), threading.Event()

    def work(_given: Door) -> None:
        begun.set()
        may_end.wait(60)

    working = asyncio.create_task(asyncio.to_thread(connection.call, work))
    await asyncio.to_thread(begun.wait, 60)
    connection.close()
    assert door.open == 1
    may_end.set()
    await working
    assert door.open == 0


async def test_work_that_nobody_waits_for_is_cut() -> None:
    """Where the connection can be; one that is idle is only closed."""
    door = Door()
    interrupt = threading.Event()
    connection = BlockingConnection(door.connect, interrupt=interrupt.set)
    begun = threading.Event()

    def work(_given: Door) -> bool:
        begun.set()
        return interrupt.wait(60)

    working = asyncio.create_task(asyncio.to_thread(connection.call, work))
    await asyncio.to_thread(begun.wait, 60)
    connection.close()
    assert await working
    assert door.open == 0
    interrupt.clear()
    idle = BlockingConnection(door.connect, interrupt=interrupt.set)
    idle.call(lambda _given: None)
    idle.close()
    assert not interrupt.is_set()


async def test_a_crew_has_as_many_as_it_has_hands() -> None:
    """More work than hands takes turns; at the end all connections are closed."""
    door = Door()
    both = threading.Barrier(2, timeout=60)

    def work(_given: Door, n: int) -> int:
        both.wait()  # passes only if two are at work at once
        return n

    async with blocking_pool(2, partial(BlockingConnection, door.connect)) as crew, asyncio.TaskGroup() as group:
        tasks = [group.create_task(call_in_worker(crew, work, n)) for n in range(6)]
    assert [task.result() for task in tasks] == list(range(6))
    assert (door.opened, door.open) == (2, 0)


async def test_an_error_of_the_work_comes_through() -> None:
    """And the connection under which it happened is not used again."""
    door = Door()

    def fail(_given: Door) -> None:
        raise LookupError

    async with blocking_pool(1, partial(BlockingConnection, door.connect)) as crew:
        with pytest.raises(LookupError):
            await call_in_worker(crew, fail)
        assert door.open == 0
        assert await call_in_worker(crew, lambda given: given.open) == 1
    assert (door.opened, door.open) == (2, 0)
