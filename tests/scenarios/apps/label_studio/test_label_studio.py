"""
Label Studio fills SQLite, and goes on with PostgreSQL.

Its migrations make a full-text column that only PostgreSQL has, and rows of a table about migrations that ran in the
background: those have ids and times of their own on each side.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fix_application import Application, assert_same_answers, move, move_as_told
from fix_job import Cli
from fix_postgres import Database


@pytest.mark.one_server
def test_label_studio_moves_with_the_flag_that_is_printed(
    filled: Path,
    application: Application,
    prepared: str,
    database: Database,
    cli: Cli,
    source_answers: Mapping[str, Any],
) -> None:
    """What its migrations noted gives way; models, API and exports give the same, ids follow on, cascades hold."""
    ended = move_as_told(cli, filled, database)
    assert ended.code == 0, ended.stderr
    assert_same_answers(application, prepared, source_answers)
    again = move(cli, filled, database)
    assert again.code == 0, again.stderr


@pytest.mark.one_server
def test_label_studio_moves_after_a_start_on_postgres(
    filled: Path,
    application: Application,
    prepared: str,
    database: Database,
    cli: Cli,
    source_answers: Mapping[str, Any],
) -> None:
    """So do the user that signed up there, with an organization, a token and a project of its own."""
    application("start", prepared)
    ended = move_as_told(cli, filled, database)
    assert ended.code == 0, ended.stderr
    assert_same_answers(application, prepared, source_answers)
