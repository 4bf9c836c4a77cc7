"""
Buildbot's master does builds on SQLite, and goes on with PostgreSQL.

Its start writes itself, builders, their tags and the worker down, with ids in no certain order.
"""

import shutil
from pathlib import Path

import pytest
from fix_application import Application, move, move_as_told
from fix_job import Cli
from fix_postgres import Database


@pytest.mark.one_server
@pytest.mark.parametrize("started", [False, True], ids=["migrated", "started"])
async def test_buildbot_goes_on_with_postgres(
    filled: Path,
    application: Application,
    prepared: str,
    database: Database,
    cli: Cli,
    tmp_path: Path,
    started: bool,  # noqa: FBT001
) -> None:
    """
    The data API gives the same builds, steps, logs, changes and users, and the master goes on building.

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
    after = await database.fetch("SELECT id, number FROM builds ORDER BY id")
    again = move(cli, filled, database)
    assert (again.code, await database.fetch("SELECT id, number FROM builds ORDER BY id")) == (0, after)
