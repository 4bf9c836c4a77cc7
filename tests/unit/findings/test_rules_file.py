"""The text of a rules file: what it had stays, what is new is added, and it always says what it has to say."""

import tomllib
from pathlib import Path

import pytest

from migrator.errors import ConfigurationError
from migrator.findings.rule_words import COLUMN_RULES, OTHER_RULES, TABLE_RULES
from migrator.findings.rules_file import with_settlement
from migrator.planning.rules import ColumnRule, Rules, SequenceRule, TableRule, TypeRule
from migrator.runtime.settlement import RuleSection, Settlement

AGE, NAME = '[columns."users.age"]', '[columns."users.name"]'
FOUND = Settlement(
    ("--exclude=gone", "--untried='t.c'"),
    (
        RuleSection(AGE, 'null = ["x"]  # nothing', ("exclude = true",), "users.age: 1 row"),
        RuleSection(NAME, others=("none: mend the rows",), about="users.name: 2 rows"),
        RuleSection("", 'names = "lower"'),
    ),
    (("--exclude=gone", (RuleSection('[tables."gone"]', "exclude = true"),)),),
)
SAID = {"names": "lower", "tables": {"gone": {"exclude": True}}, "columns": {"users.age": {"null": ["x"]}}}


def test_every_rule_is_explained() -> None:
    """Each comment of a file says what the rule does."""
    assert set(COLUMN_RULES) == set(ColumnRule.model_fields)
    assert set(TABLE_RULES) == set(TableRule.model_fields)
    assert set(OTHER_RULES["types"]) == set(TypeRule.model_fields)
    assert set(OTHER_RULES["sequences"]) == set(SequenceRule.model_fields)


def test_a_new_file(tmp_path: Path) -> None:
    """It says what settles, in the place of flags too; all else is a comment, and the loader reads it."""
    text = with_settlement("", FOUND)
    assert tomllib.loads(text) == SAID
    lines = text.splitlines()
    for comment in ("# exclude = true", "# users.age: 1 row", "# No rule settles it: mend the rows"):
        assert comment in lines
    assert "#   --untried='t.c'" in lines
    assert all(len(line) <= 102 for line in lines)
    path = tmp_path / "migrator.toml"
    path.write_text(text, encoding="utf-8")
    assert Rules.load(path).of_column("users", "age").null == ("x",)


OLD = """\
# mine
names = "lower"

[columns."*.at"]  # all
epoch = "s"

[ columns.'users.age' ]
# about ages
null = [
    "n/a",  # in 2019
]
round = true
"""


def test_a_file_that_is_there() -> None:
    """Rules and comments stay; a list gets longer in its own section; what replaces a line leaves it as a comment."""
    text = with_settlement(OLD, FOUND)
    said = tomllib.loads(text)
    assert said["columns"]["users.age"] == {"null": ["n/a", "x"], "round": True}
    assert said["columns"]["*.at"] == {"epoch": "s"}
    assert said["tables"] == SAID["tables"]
    for comment in ("# mine", "# about ages", '# before:     "n/a",  # in 2019'):
        assert comment in text
    assert text.startswith("# mine\n")
    changed = with_settlement(OLD, Settlement(sections=(RuleSection('[columns."*.at"]', 'epoch = "ms"'),)))
    assert tomllib.loads(changed)["columns"]["*.at"] == {"epoch": "ms"}


def test_the_same_again() -> None:
    """A file that says it already is left as it is."""
    text = with_settlement(OLD, FOUND)
    assert with_settlement(text, FOUND) == text


@pytest.mark.parametrize(
    "before",
    ['columns = {"users.age" = {round = true}}\n', '[columns]\n"users.age" = {round = true}\n'],
)
def test_a_form_in_which_nothing_can_be_added(before: str) -> None:
    """It is refused with the way out, and not spoiled."""
    with pytest.raises(ConfigurationError, match=r"users\.age") as raised:
        with_settlement(before, FOUND)
    assert "a line of its own" in raised.value.next_step


def test_what_a_name_may_hold() -> None:
    """Names and values with special characters come back as they are."""
    section = RuleSection('[columns."t.größe?"]', 'null = ["a # b", "=\\"["]', about="a\nb")
    said = tomllib.loads(with_settlement('names = "lower"', Settlement(sections=(section,))))
    assert said == {"names": "lower", "columns": {"t.größe?": {"null": ["a # b", '="[']}}}
