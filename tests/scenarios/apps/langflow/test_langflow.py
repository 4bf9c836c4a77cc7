"""Langflow: flows, messages, traces, variables and keys go over, and its services go on with them."""

import pytest
from fix_application import Crossing, move_as_told


@pytest.mark.one_server
def test_langflow_moves_with_the_flag_that_is_printed(crossing: Crossing) -> None:
    """What its migrations seed gives way; values, secrets and unique keys are the same."""
    crossing.begin("create")
    crossing.move(move_as_told)
    crossing.go_on()


@pytest.mark.one_server
def test_langflow_moves_after_a_start_on_postgres(crossing: Crossing) -> None:
    """So do the superuser and the projects that a start writes, whose ids are others each time."""
    crossing.begin("start")
    crossing.move(move_as_told)
    crossing.go_on()
