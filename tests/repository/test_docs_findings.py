"""docs/how-to/refused.md: what to do about each finding and each error, by its code."""

import re
from pathlib import Path

import pytest

from migrator import errors
from migrator.errors import MigratorError, Standing
from migrator.planning.rules import ColumnRule, TableRule
from migrator.types import ProblemCode

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "refused.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE))
KINDS = [kind.__name__ for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MigratorError)]


def test_every_code_has_a_section_and_no_other() -> None:
    """A code that is added, renamed or taken away changes the page; so does a class of errors."""
    assert list(SECTIONS) == list(dict.fromkeys(SECTIONS))
    assert set(SECTIONS) == {*ProblemCode, *KINDS} - {MigratorError.__name__, Standing.__name__}


@pytest.mark.parametrize("code", SECTIONS)
def test_a_section_says_what_it_means_and_what_settles_it(code: str) -> None:
    """Nobody is left with a code and no way out."""
    meaning, marker, way_out = SECTIONS[code].partition("**Settled by** ")
    assert meaning.strip()
    assert marker
    assert way_out.strip().endswith(".")


def test_rules_of_the_page_exist() -> None:
    """A line that somebody pastes is a rule with that name."""
    known = {*ColumnRule.model_fields, *TableRule.model_fields, "names"}
    known |= {field.alias for field in ColumnRule.model_fields.values() if field.alias}
    named = set(re.findall(r"`(\w+) = ", PAGE))
    assert named
    assert named <= known
