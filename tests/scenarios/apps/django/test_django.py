"""
A Django site fills SQLite, and goes on with PostgreSQL.

Django keeps lengths of time as numbers in SQLite. Its migrations insert content types, permissions, a site and what the
site's own migrations insert: with other ids and other moments than in the source. It is in every run of the tests.
"""

import shutil
from pathlib import Path

import pytest
from fix_application import Application, copy_of, move, move_as_told, move_back
from fix_job import ROOT, Cli
from fix_postgres import Database

RULES = ROOT / "examples" / "applications" / "django.toml"


@pytest.mark.one_server
@pytest.mark.parametrize("started", [False, True], ids=["migrated", "started"])
async def test_a_site_goes_on_with_postgres(
    filled: Path,
    application: Application,
    prepared: str,
    database: Database,
    cli: Cli,
    tmp_path: Path,
    started: bool,  # noqa: FBT001
) -> None:
    """
    The API gives the same rows of every model, and goes on with the same ids, whether or not somebody tried the site.

    The first run has no rules. It refuses lengths of time and the rows that are there in one, and prints the rules and
    the flag with which the second passes. Another run after the site has gone on changes nothing.
    """
    if started:
        application("start", prepared)
    ended = move_as_told(cli, filled, database)
    assert ended.code == 0, ended.stderr
    before = application("tell", f"sqlite:///{filled}")
    assert application("tell", prepared) == before
    copy = Path(shutil.copy(filled, tmp_path / "goes-on.db"))
    assert application("continue", prepared) == application("continue", f"sqlite:///{copy}")
    after = application("tell", prepared)
    again = move(cli, filled, database, f"--rules={RULES}")
    assert (again.code, application("tell", prepared)) == (0, after)


@pytest.mark.one_server
async def test_a_site_goes_back_to_sqlite(
    filled: Path, application: Application, prepared: str, database: Database, cli: Cli, tmp_path: Path
) -> None:
    """What the site wrote on PostgreSQL is in the new file: every model, in the forms that Django reads on SQLite."""
    assert move_as_told(cli, filled, database).code == 0
    application("continue", prepared)
    back = tmp_path / "back.db"
    ended = move_back(cli, filled, back, database, f"--rules={RULES}")
    assert ended.code == 0, ended.stderr
    assert application("tell", f"sqlite:///{copy_of(back, tmp_path / 'told.db')}") == application("tell", prepared)


@pytest.mark.one_server
def test_the_sample_has_what_is_hard(filled: Path, application: Application) -> None:
    """Every model has rows, and those of the things have the extremes: the other test's words aren't empty."""
    told = application("tell", f"sqlite:///{filled}")
    assert [model for model, rows in told.items() if not rows] == []
    things = "".join(told["museum.Thing"])
    for word in ("days=-1", "days=40000", "UUID(", "5e-324", "9999", "2001:db8::1", "9223372036854775807", "🌱", "b''"):
        assert word in things
