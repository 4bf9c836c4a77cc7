"""
Several at a time, each with a connection of its own: how stages that go from table to table share out the work.

A connection costs a handshake, a hundred of which are a second. So it is opened once a hand, not once a table.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

C = TypeVar("C")
T = TypeVar("T")
R = TypeVar("R")


async def share_out(
    tasks: Iterable[T],
    hands: int,
    connect: Callable[[], AbstractAsyncContextManager[C]],
    work: Callable[[C, T], Awaitable[R]],
) -> list[R]:
    """
    Do ``work`` on every task, ``hands`` at a time and in order, and return the results in that order.

    A hand opens its connection when it takes its first task. After the first error no further task is begun, those
    under way are cancelled, and it is raised in an ExceptionGroup.
    """
    waiting = list(enumerate(tasks))
    results: dict[int, R] = {}
    upcoming = iter(waiting)

    async def hand() -> None:
        if (first := next(upcoming, None)) is None:
            return
        async with connect() as connection:
            place, task = first
            results[place] = await work(connection, task)
            for place, task in upcoming:
                results[place] = await work(connection, task)

    async with asyncio.TaskGroup() as group:
        for _ in range(max(1, min(hands, len(waiting)))):
            group.create_task(hand())
    return [results[place] for place in range(len(waiting))]
