"""
Synapse fills SQLite, and goes on with PostgreSQL.

Its schema seeds tables of one row. It takes numbers from sequences that no column owns, and doesn't start if one of
them is behind where it knows that its stream has come.
"""

import shutil
from pathlib import Path

import pytest
from fix_application import Application, move, move_as_told
from fix_job import ROOT, Cli
from fix_postgres import Database

RULES = f"--rules={ROOT / 'examples' / 'applications' / 'synapse.toml'}"


@pytest.mark.one_server
@pytest.mark.parametrize("started", [False, True], ids=["migrated", "started"])
async def test_a_homeserver_goes_on_with_postgres(
    filled: Path,
    application: Application,
    prepared: str,
    database: Database,
    cli: Cli,
    tmp_path: Path,
    started: bool,  # noqa: FBT001
) -> None:
    """
    The API gives the same rooms, events, keys and settings, searches find the same, and streams follow on.

    The first run refuses the rows that are there and prints the flag, with which the second passes, and no sequence is
    left to a guess.
    """
    if started:
        application("start", prepared)
    ended = move_as_told(cli, filled, database, RULES)
    assert ended.code == 0, ended.stderr
    assert "sequences.unknown" not in ended.stderr
    application("index", prepared)
    assert application("tell", prepared) == application("tell", f"sqlite:///{filled}")
    copy = Path(shutil.copy(filled, tmp_path / "goes-on.db"))
    assert application("continue", prepared) == application("continue", f"sqlite:///{copy}")
    again = move(cli, filled, database, RULES)
    assert again.code == 0, again.stderr
