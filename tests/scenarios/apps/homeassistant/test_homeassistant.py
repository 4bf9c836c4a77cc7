"""
Home Assistant's recorder fills SQLite, and goes on with PostgreSQL.

Its tables come from a start of the recorder, which writes a run and events about itself: so the target holds rows.
"""

from pathlib import Path

import pytest
from fix_application import Application, copy_of, move, move_as_told
from fix_job import Cli
from fix_postgres import Database


@pytest.mark.one_server
async def test_homeassistant_goes_on_with_postgres(
    filled: Path,
    application: Application,
    prepared: str,
    database: Database,
    cli: Cli,
    tmp_path: Path,
) -> None:
    """
    History and statistics are the same, every row is, and recording goes on.

    The first run refuses the rows that the start wrote and prints the flag, with which the second passes. Another run
    after it has gone on changes nothing.
    """
    ended = move_as_told(cli, filled, database)
    assert ended.code == 0, ended.stderr
    copy = copy_of(filled, tmp_path / "goes-on.db")  # one for both: each start writes a run of its own
    assert application("tell", prepared) == application("tell", f"sqlite:///{copy}")
    assert application("continue", prepared) == application("continue", f"sqlite:///{copy}")
    after = await database.fetch("SELECT count(*) FROM statistics")
    again = move(cli, filled, database)
    assert (again.code, await database.fetch("SELECT count(*) FROM statistics")) == (0, after)
