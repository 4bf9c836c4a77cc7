"""
A Django site fills SQLite, and goes on with PostgreSQL.

Django keeps lengths of time as numbers in SQLite. Its migrations insert content types, permissions, a site and what the
site's own migrations insert: with other ids and other moments than in the source. It is in every run of the tests.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fix_application import Application, Crossing, copy_of, move_as_told, move_back
from fix_job import ROOT, Cli
from fix_postgres import Database

RULES = ROOT / "examples" / "applications" / "django.toml"


@pytest.mark.one_server
@pytest.mark.parametrize("started", [False, True], ids=["migrated", "started"])
def test_a_site_goes_on_with_postgres(crossing: Crossing, started: bool) -> None:  # noqa: FBT001
    """
    The API gives the same rows of every model, and goes on with the same ids, whether or not somebody tried the site.

    The first run has no rules. It refuses lengths of time and the rows that are there in one, and prints the rules and
    the flag with which the second passes. Another run after the site has gone on changes nothing.
    """
    crossing.begin("create", *(["start"] if started else []))
    crossing.move(move_as_told)
    crossing.go_on()
    crossing.change_nothing(f"--rules={RULES}")


@pytest.mark.one_server
async def test_a_site_goes_back_to_sqlite(
    filled: Path, application: Application, prepared: str, database: Database, cli: Cli, tmp_path: Path
) -> None:
    """
    What the site wrote on PostgreSQL is in the new file: every model, in the forms that Django reads on SQLite.

    It goes on there as it goes on with PostgreSQL: new, changed and deleted rows, with the same ids.
    """
    assert move_as_told(cli, filled, database).code == 0
    application("continue", prepared)
    back = tmp_path / "back.db"
    ended = move_back(cli, filled, back, database, f"--rules={RULES}")
    assert ended.code == 0, ended.stderr
    goes_on = f"sqlite:///{copy_of(back, tmp_path / 'goes-on.db')}"
    assert application("tell", goes_on) == application("tell", prepared)
    assert application("again", goes_on) == application("again", prepared)


def test_the_sample_has_what_is_hard(source_answers: Mapping[str, Any]) -> None:
    """Every model has rows, and those of the things have the extremes: the other test's words aren't empty."""
    told = source_answers["tell"]
    assert [model for model, rows in told.items() if not rows] == []
    things = "".join(told["museum.Thing"])
    for word in ("days=-1", "days=40000", "UUID(", "5e-324", "9999", "2001:db8::1", "9223372036854775807", "🌱", "b''"):
        assert word in things
