"""
Synapse fills SQLite, and goes on with PostgreSQL.

Its schema seeds tables of one row. It takes numbers from sequences that no column owns, and doesn't start if one of
them is behind where it knows that its stream has come.
"""

import pytest
from fix_application import Crossing, move, move_as_told
from fix_job import ROOT

RULES = f"--rules={ROOT / 'examples' / 'applications' / 'synapse.toml'}"


@pytest.mark.one_server
@pytest.mark.parametrize("started", [False, True], ids=["migrated", "started"])
def test_a_homeserver_goes_on_with_postgres(crossing: Crossing, started: bool) -> None:  # noqa: FBT001
    """
    The API gives the same rooms, events, keys and settings, searches find the same, and streams follow on.

    The first run refuses the rows that are there and prints the flag, with which the second passes, and no sequence is
    left to a guess.
    """
    crossing.begin("create", *(["start"] if started else []))
    ended = crossing.move(move_as_told, RULES)
    assert "sequences.unknown" not in ended.stderr
    crossing.begin("index")
    crossing.go_on()
    crossing.move(move, RULES)
