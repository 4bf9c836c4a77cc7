"""Superset: dashboards, charts, queries, users and roles go over, and Superset goes on with them."""

import pytest
from fix_application import Crossing, move_as_told


@pytest.mark.one_server
def test_superset_moves_with_the_flag_that_is_printed(crossing: Crossing) -> None:
    """The permissions that its migrations seed give way; values, ids and cascades are the same."""
    crossing.begin("create")
    crossing.move(move_as_told)
    crossing.go_on()


@pytest.mark.one_server
def test_superset_moves_after_a_start_on_postgres(crossing: Crossing) -> None:
    """So do the permissions and roles that ``superset init`` writes, whose ids are others each time."""
    crossing.begin("start")
    crossing.move(move_as_told)
    crossing.go_on()
