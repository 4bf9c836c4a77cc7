"""Phoenix: traces, datasets, agents and secrets go over, and its models go on with them."""

import pytest
from fix_application import Crossing, move_as_told


@pytest.mark.one_server
def test_phoenix_moves_with_the_flag_that_is_printed(crossing: Crossing) -> None:
    """The project that its migrations seed gives way; values, generated columns, ids and cascades are the same."""
    crossing.begin("create")
    crossing.move(move_as_told)
    crossing.go_on()


@pytest.mark.one_server
def test_phoenix_moves_after_a_start_on_postgres(crossing: Crossing) -> None:
    """So do the models, prices, evaluators, roles and users that a start writes."""
    crossing.begin("start")
    crossing.move(move_as_told)
    crossing.go_on()
