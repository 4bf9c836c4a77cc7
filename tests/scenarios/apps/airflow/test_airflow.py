"""Airflow: runs of DAGs, connections, users and roles go over, and Airflow goes on with them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fix_application import Application, assert_same_answers, move_as_told
from fix_job import Cli
from fix_postgres import Database


@pytest.mark.one_server
def test_airflow_moves_with_the_flag_that_is_printed(
    filled: Path,
    application: Application,
    prepared: str,
    database: Database,
    cli: Cli,
    source_answers: Mapping[str, Any],
) -> None:
    """The templates of logs that its migrations seed give way; values, ids, unique keys and cascades are the same."""
    ended = move_as_told(cli, filled, database)
    assert ended.code == 0, ended.stderr
    assert_same_answers(application, prepared, source_answers)


@pytest.mark.one_server
def test_airflow_moves_after_a_start_on_postgres(
    filled: Path,
    application: Application,
    database: Database,
    cli: Cli,
    source_answers: Mapping[str, Any],
) -> None:
    """So do the permissions that a start writes, whose ids are others at each start."""
    application("start", database.url)
    ended = move_as_told(cli, filled, database)
    assert ended.code == 0, ended.stderr
    assert_same_answers(application, database.url, source_answers)
