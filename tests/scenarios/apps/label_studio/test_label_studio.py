"""
Label Studio fills SQLite, and goes on with PostgreSQL.

Its migrations make a full-text column that only PostgreSQL has, and rows of a table about migrations that ran in the
background: those have ids and times of their own on each side.
"""

import pytest
from fix_application import Crossing, move, move_as_told


@pytest.mark.one_server
def test_label_studio_moves_with_the_flag_that_is_printed(crossing: Crossing) -> None:
    """What its migrations noted gives way; models, API and exports give the same, ids follow on, cascades hold."""
    crossing.begin("create")
    crossing.move(move_as_told)
    crossing.go_on()
    crossing.move(move)


@pytest.mark.one_server
def test_label_studio_moves_after_a_start_on_postgres(crossing: Crossing) -> None:
    """So do the user that signed up there, with an organization, a token and a project of its own."""
    crossing.begin("create", "start")
    crossing.move(move_as_told)
    crossing.go_on()
