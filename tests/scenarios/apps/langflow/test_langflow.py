"""Langflow: flows, messages, traces, variables and keys go over, and its services go on with them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fix_application import Application, assert_same_answers, move_as_told
from fix_job import Cli
from fix_postgres import Database


@pytest.mark.one_server
def test_langflow_moves_with_the_flag_that_is_printed(
    filled: Path,
    application: Application,
    prepared: str,
    database: Database,
    cli: Cli,
    source_answers: Mapping[str, Any],
) -> None:
    """What its migrations seed gives way; values, secrets and unique keys are the same."""
    ended = move_as_told(cli, filled, database)
    assert ended.code == 0, ended.stderr
    assert_same_answers(application, prepared, source_answers)


@pytest.mark.one_server
def test_langflow_moves_after_a_start_on_postgres(
    filled: Path,
    application: Application,
    database: Database,
    cli: Cli,
    source_answers: Mapping[str, Any],
) -> None:
    """So do the superuser and the projects that a start writes, whose ids are others each time."""
    application("start", database.url)
    ended = move_as_told(cli, filled, database)
    assert ended.code == 0, ended.stderr
    assert_same_answers(application, database.url, source_answers)
