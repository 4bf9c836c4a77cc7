"""
MLflow's tracking server, registry and gateway fill SQLite, and go on with PostgreSQL.

Its first start writes the default experiment, whose times are those of that start. Metrics are infinite or no number,
deleted experiments and runs are kept, and secrets are encrypted bytes.
"""

import pytest
from fix_application import Crossing, move, move_as_told


@pytest.mark.one_server
@pytest.mark.parametrize("started", [False, True], ids=["migrated", "started"])
async def test_mlflow_goes_on_with_postgres(crossing: Crossing, started: bool) -> None:  # noqa: FBT001
    """
    The client gives the same experiments, runs, models, traces and data sets to the last bit, and goes on alike.

    Where the application was started before, the first run refuses the rows that it wrote and prints the flag, with
    which the second passes. Another run after it has gone on changes nothing.
    """
    crossing.begin("create", *(["start"] if started else []))
    crossing.move(move_as_told if started else move)
    crossing.go_on()
    after = await crossing.database.fetch("SELECT count(*) FROM metrics")
    crossing.move(move)
    assert await crossing.database.fetch("SELECT count(*) FROM metrics") == after
