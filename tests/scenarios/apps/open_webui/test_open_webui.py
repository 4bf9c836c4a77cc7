"""Open WebUI: users, chats, notes, channels and settings go over, and its HTTP API goes on with them."""

from collections.abc import Mapping
from typing import Any

import pytest
from fix_application import Crossing, move, move_as_told


@pytest.mark.one_server
def test_open_webui_moves_in_one_run(crossing: Crossing) -> None:
    """Its migrations seed nothing: every value of its models is the same, and so is what the API finds and writes."""
    crossing.begin("create")
    crossing.move(move)
    crossing.go_on()


@pytest.mark.one_server
def test_open_webui_moves_after_a_start_on_postgres(crossing: Crossing) -> None:
    """The settings that a start writes, and the operator who tried it, give way."""
    crossing.begin("start")
    crossing.move(move_as_told)
    crossing.go_on()


def test_the_sample_has_what_is_hard(source_answers: Mapping[str, Any]) -> None:
    """Chats, reactions, shares, groups and settings: the other tests' words aren't empty."""
    told = source_answers["tell"]
    for model in ("Chat", "ChatMessage", "MessageReaction", "SharedChat", "GroupMember", "PromptHistory", "Feedback"):
        assert told["rows"][model], model
    assert told["chats"]
    assert told["found"]
