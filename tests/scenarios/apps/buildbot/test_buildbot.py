"""
Buildbot's master does builds on SQLite, and goes on with PostgreSQL.

Its start writes itself, builders, their tags and the worker down, with ids in no certain order.
"""

import pytest
from fix_application import Crossing, move, move_as_told


@pytest.mark.one_server
@pytest.mark.parametrize("started", [False, True], ids=["migrated", "started"])
async def test_buildbot_goes_on_with_postgres(crossing: Crossing, started: bool) -> None:  # noqa: FBT001
    """
    The data API gives the same builds, steps, logs, changes and users, and the master goes on building.

    Where the application was started before, the first run refuses the rows that it wrote and prints the flag, with
    which the second passes. Another run after it has gone on changes nothing.
    """
    crossing.begin("create", *(["start"] if started else []))
    crossing.move(move_as_told if started else move)
    crossing.go_on()
    after = await crossing.database.fetch("SELECT id, number FROM builds ORDER BY id")
    crossing.move(move)
    assert await crossing.database.fetch("SELECT id, number FROM builds ORDER BY id") == after
