"""
JupyterHub fills SQLite through its REST API, and goes on with PostgreSQL.

Its start writes roles, a client, the users and services of its settings, with tokens and times of that start.
"""

import pytest
from fix_application import Crossing, move, move_as_told


@pytest.mark.one_server
@pytest.mark.parametrize("started", [False, True], ids=["migrated", "started"])
async def test_jupyterhub_goes_on_with_postgres(crossing: Crossing, started: bool) -> None:  # noqa: FBT001
    """
    The API gives the same users, groups, tokens and shares, its ORM the same rows, and both go on alike.

    Where the application was started before, the first run refuses the rows that it wrote and prints the flag, with
    which the second passes. Another run after it has gone on changes nothing.
    """
    crossing.begin("create", *(["start"] if started else []))
    crossing.move(move_as_told if started else move)
    crossing.go_on()
    after = await crossing.database.fetch("SELECT id, name FROM users ORDER BY id")
    crossing.move(move)
    assert await crossing.database.fetch("SELECT id, name FROM users ORDER BY id") == after
