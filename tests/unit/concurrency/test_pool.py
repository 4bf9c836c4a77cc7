"""Work is shared out in order, over a few connections, and an error ends it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

from migrator.concurrency.pool import WorkerPool, gather_or_cancel

R = TypeVar("R")


class Doors:
    """Counts connections: how many were opened in all, and how many are open."""

    opened = 0
    open = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[int]:
        """Open one, which is known by its number."""
        self.opened += 1
        self.open += 1
        try:
            yield self.opened
        finally:
            self.open -= 1


async def process(tasks: Iterable[int], slots: int, doors: Doors, work: Callable[[int, int], Awaitable[R]]) -> list[R]:
    """Give every task to a worker of a pool, as a stage does."""
    async with WorkerPool(slots, doors.connect) as pool:

        async def process_task(task: int) -> R:
            async with pool.worker() as connection:
                return await work(connection, task)

        return await gather_or_cancel(process_task(task) for task in tasks)


async def test_results_come_in_the_order_of_the_tasks() -> None:
    """Whichever is done first; each hand has one connection for all that it does."""
    doors = Doors()
    used: set[int] = set()

    async def work(connection: int, task: int) -> int:
        used.add(connection)
        for _ in range(10 - task):
            await asyncio.sleep(0)
        return task * task

    assert await process(range(10), 3, doors, work) == [task * task for task in range(10)]
    assert used == {1, 2, 3}
    assert (doors.opened, doors.open) == (3, 0)


@pytest.mark.parametrize(("tasks", "opened"), [(0, 0), (1, 1), (2, 2)])
async def test_no_more_connections_than_tasks(tasks: int, opened: int) -> None:
    """Nothing to do opens nothing."""
    doors = Doors()

    async def work(_connection: int, task: int) -> int:
        await asyncio.sleep(0)
        return task

    assert await process(range(tasks), 5, doors, work) == list(range(tasks))
    assert doors.opened == opened


async def test_a_hand_does_any_number_of_tasks() -> None:
    """Thousands of tables go through one connection, and lending it leaves nothing behind."""
    doors = Doors()

    async def work(_connection: int, task: int) -> int:
        await asyncio.sleep(0)
        return task

    assert await process(range(3000), 1, doors, work) == list(range(3000))
    assert (doors.opened, doors.open) == (1, 0)


async def test_a_connection_that_has_died_is_not_used_again() -> None:
    """Nor does it stand for anything else: the hand opens another, and both are closed in the end."""
    doors = Doors()
    dead: set[int] = set()
    async with WorkerPool(1, doors.connect, lambda connection: connection not in dead) as pool:
        used = []
        for died in (None, None, 1):
            dead.add(died or 0)
            async with pool.worker() as connection:
                used.append(connection)
        assert used == [1, 1, 2]
        assert doors.open == 1
    assert (doors.opened, doors.open) == (2, 0)


async def test_an_error_ends_it() -> None:
    """No further task is begun, every connection is closed, and the error is raised."""
    doors = Doors()
    begun: list[int] = []

    async def work(_connection: int, task: int) -> None:
        begun.append(task)
        await asyncio.sleep(0)
        if task == 1:
            raise LookupError
        await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await process(range(10), 2, doors, work)
    assert raised.group_contains(LookupError)
    assert begun == [0, 1]
    assert doors.open == 0
