"""Airflow: runs of DAGs, connections, users and roles go over, and Airflow goes on with them."""

import shutil
from pathlib import Path

import pytest
from fix_application import Application, move_as_told
from fix_job import Cli
from fix_postgres import Database


def _same_answers(application: Application, source: Path, target: str, copy: Path) -> None:
    """Assert that the application reads the same on both sides, and writes anew with the same result."""
    assert application("tell", target) == application("tell", f"sqlite:///{shutil.copy(source, copy)}")
    shutil.copy(source, copy)
    assert application("continue", target) == application("continue", f"sqlite:///{copy}")


@pytest.mark.one_server
def test_airflow_moves_with_the_flag_that_is_printed(
    filled: Path, application: Application, prepared: str, database: Database, cli: Cli, tmp_path: Path
) -> None:
    """The templates of logs that its migrations seed give way; values, ids, unique keys and cascades are the same."""
    ended = move_as_told(cli, filled, database)
    assert ended.code == 0, ended.stderr
    _same_answers(application, filled, prepared, tmp_path / "copy.db")


@pytest.mark.one_server
def test_airflow_moves_after_a_start_on_postgres(
    filled: Path, application: Application, database: Database, cli: Cli, tmp_path: Path
) -> None:
    """So do the permissions that a start writes, whose ids are others at each start."""
    application("start", database.url)
    ended = move_as_told(cli, filled, database)
    assert ended.code == 0, ended.stderr
    _same_answers(application, filled, database.url, tmp_path / "copy.db")
