"""
MLflow's tracking server, registry and gateway fill SQLite, and go on with PostgreSQL.

Its first start writes the default experiment, whose times are those of that start. Metrics are infinite or no number,
deleted experiments and runs are kept, and secrets are encrypted bytes.
"""

import shutil
from pathlib import Path

import pytest
from fix_application import Application, move, move_as_told
from fix_job import Cli
from fix_postgres import Database


@pytest.mark.one_server
@pytest.mark.parametrize("started", [False, True], ids=["migrated", "started"])
async def test_mlflow_goes_on_with_postgres(
    filled: Path,
    application: Application,
    prepared: str,
    database: Database,
    cli: Cli,
    tmp_path: Path,
    started: bool,  # noqa: FBT001
) -> None:
    """
    The client gives the same experiments, runs, models, traces and data sets to the last bit, and goes on alike.

    Where the application was started before, the first run refuses the rows that it wrote and prints the flag, with
    which the second passes. Another run after it has gone on changes nothing.
    """
    if started:
        application("start", prepared)
    ended = (move_as_told if started else move)(cli, filled, database)
    assert ended.code == 0, ended.stderr
    copies = [Path(shutil.copy(filled, tmp_path / name)) for name in ("told.db", "goes-on.db")]
    assert application("tell", prepared) == application("tell", f"sqlite:///{copies[0]}")
    assert application("continue", prepared) == application("continue", f"sqlite:///{copies[1]}")
    after = await database.fetch("SELECT count(*) FROM metrics")
    again = move(cli, filled, database)
    assert (again.code, await database.fetch("SELECT count(*) FROM metrics")) == (0, after)
