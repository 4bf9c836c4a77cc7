"""Prefect: runs, states, deployments and encrypted blocks go over, and its server goes on with them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fix_application import Application, assert_same_answers, move, move_as_told
from fix_job import Cli
from fix_postgres import Database


@pytest.mark.one_server
def test_prefect_moves_in_one_run(
    filled: Path,
    application: Application,
    prepared: str,
    database: Database,
    cli: Cli,
    source_answers: Mapping[str, Any],
) -> None:
    """One run: the interface gives the same, unique keys and cascades hold, and an encrypted block can be read."""
    ended = move(cli, filled, database)
    assert ended.code == 0, ended.stderr
    assert_same_answers(application, prepared, source_answers)


@pytest.mark.one_server
def test_prefect_moves_after_a_start_on_postgres(
    filled: Path,
    application: Application,
    database: Database,
    cli: Cli,
    source_answers: Mapping[str, Any],
) -> None:
    """The types of blocks that a start registers have other ids there: they give way with the flag that is printed."""
    application("start", database.url)
    ended = move_as_told(cli, filled, database)
    assert ended.code == 0, ended.stderr
    assert_same_answers(application, database.url, source_answers)
