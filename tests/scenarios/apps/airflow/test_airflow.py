"""Airflow: runs of DAGs, connections, users and roles go over, and Airflow goes on with them."""

import pytest
from fix_application import Crossing, move_as_told


@pytest.mark.one_server
def test_airflow_moves_with_the_flag_that_is_printed(crossing: Crossing) -> None:
    """The templates of logs that its migrations seed give way; values, ids, unique keys and cascades are the same."""
    crossing.begin("create")
    crossing.move(move_as_told)
    crossing.go_on()


@pytest.mark.one_server
def test_airflow_moves_after_a_start_on_postgres(crossing: Crossing) -> None:
    """So do the permissions that a start writes, whose ids are others at each start."""
    crossing.begin("start")
    crossing.move(move_as_told)
    crossing.go_on()
