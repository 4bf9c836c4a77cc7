"""The messages of the program: `scripts/messages.py` finds them all, and every next step is an instruction."""

import re
from pathlib import Path

from own_scripts import all_messages, scripts_messages

from migrator.events import Event

ROOT = Path(__file__).resolve().parents[2]
IMPERATIVES = re.compile(
    r"(Add|Ask|Bring|Check|Copy|Correct|Create|Do|Drop|Empty|Fill|Find|Give|Go|Grant|Have|Install|Keep|Leave|Let|Look"
    r"|Make|Merge|Mount|Name|Point|Raise|Read|Remove|Report|Restore|Run|See|Set|Start|Stop|Take|Unset|Upgrade|Use|Verify"
    r"|Wait|Write) "
)


def next_steps() -> dict[str, str]:
    """Return every next step by the place where it stands."""
    return {f"{one.path}:{one.line}": one.text for one in all_messages() if one.kind == "next_step"}


def test_a_next_step_is_an_instruction() -> None:
    """It begins with an imperative verb and a capital, and ends with a full stop, or with the step of another error."""
    steps = next_steps()
    assert {place: step for place, step in steps.items() if not IMPERATIVES.match(step)} == {}
    assert {place: step for place, step in steps.items() if not step.endswith((".", "next_step}"))} == {}


def test_messages_of_every_kind_are_found() -> None:
    """Each kind has messages, among them one of a package without errors of its own, and every event."""
    found = all_messages()
    assert {message.kind for message in found} == set(scripts_messages().KINDS)
    assert {message.text for message in found if message.kind == "event"} == {
        f"{event}: {event.meaning}" for event in Event
    }
    assert len(next_steps()) > 100


def test_a_command_in_a_message_exists() -> None:
    """A flag or variable that a message names is one of the program's or of PostgreSQL's client programs."""
    known = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    for message in all_messages():
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", message.text):
            assert flag in known or flag in {"--help", "--version"}, message
        for variable in re.findall(r"\bMIGRATOR_[A-Z_]*[A-Z]\b", message.text):
            assert variable.removesuffix("_FILE") in known, message
