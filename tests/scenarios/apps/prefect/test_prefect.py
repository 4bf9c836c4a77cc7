"""Prefect: runs, states, deployments and encrypted blocks go over, and its server goes on with them."""

import pytest
from fix_application import Crossing, move, move_as_told


@pytest.mark.one_server
def test_prefect_moves_in_one_run(crossing: Crossing) -> None:
    """One run: the interface gives the same, unique keys and cascades hold, and an encrypted block can be read."""
    crossing.begin("create")
    crossing.move(move)
    crossing.go_on()


@pytest.mark.one_server
def test_prefect_moves_after_a_start_on_postgres(crossing: Crossing) -> None:
    """The types of blocks that a start registers have other ids there: they give way with the flag that is printed."""
    crossing.begin("start")
    crossing.move(move_as_told)
    crossing.go_on()
