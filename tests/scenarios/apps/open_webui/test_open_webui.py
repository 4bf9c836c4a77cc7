"""Open WebUI: users, chats, notes, channels and settings go over, and its HTTP API goes on with them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fix_application import Application, assert_same_answers, move, move_as_told
from fix_job import Cli
from fix_postgres import Database


@pytest.mark.one_server
def test_open_webui_moves_in_one_run(
    filled: Path,
    application: Application,
    prepared: str,
    database: Database,
    cli: Cli,
    source_answers: Mapping[str, Any],
) -> None:
    """Its migrations seed nothing: every value of its models is the same, and so is what the API finds and writes."""
    ended = move(cli, filled, database)
    assert ended.code == 0, ended.stderr
    assert_same_answers(application, prepared, source_answers)


@pytest.mark.one_server
def test_open_webui_moves_after_a_start_on_postgres(
    filled: Path,
    application: Application,
    database: Database,
    cli: Cli,
    source_answers: Mapping[str, Any],
) -> None:
    """The settings that a start writes, and the operator who tried it, give way."""
    application("start", database.url)
    ended = move_as_told(cli, filled, database)
    assert ended.code == 0, ended.stderr
    assert_same_answers(application, database.url, source_answers)


def test_the_sample_has_what_is_hard(source_answers: Mapping[str, Any]) -> None:
    """Chats, reactions, shares, groups and settings: the other tests' words aren't empty."""
    told = source_answers["tell"]
    for model in ("Chat", "ChatMessage", "MessageReaction", "SharedChat", "GroupMember", "PromptHistory", "Feedback"):
        assert told["rows"][model], model
    assert told["chats"]
    assert told["found"]
