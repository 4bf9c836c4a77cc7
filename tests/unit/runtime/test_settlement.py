"""What settles an error can be pasted as it is: it is valid TOML, with each section and each key once."""

import tomllib

from migrator.runtime.settlement import NOTHING_TO_PASTE, RuleSection, Settlement

AGE, NAME = '[columns."users.age"]', '[columns."users.name"]'


def test_sections_and_keys_stand_once() -> None:
    """Lists are joined, another value of a key becomes a comment, and so do the other lines."""
    first = Settlement(
        ("--a=1",), (RuleSection(AGE, 'null = ["x", 1]  # nothing', ("exclude = true",)), RuleSection(NAME, "a = 1"))
    )
    second = Settlement(
        ("--a=1", "--b"),
        (RuleSection(AGE, 'null = [1, "#"]'), RuleSection(AGE, "round = true"), RuleSection(NAME, "a = 2")),
    )
    both = first + second
    assert both.flags == ("--a=1", "--b")
    assert tomllib.loads(both.rules)["columns"] == {
        "users.age": {"null": ["x", 1, "#"], "round": True},
        "users.name": {"a": 1},
    }
    assert "#   or: exclude = true" in both.rules
    assert "#   or: a = 2" in both.rules


def test_a_column_that_is_left_out_needs_no_other_rule() -> None:
    """The other lines become comments."""
    settled = Settlement(sections=(RuleSection(AGE, "null = [1]"), RuleSection(AGE, "exclude = true  # computed")))
    assert tomllib.loads(settled.rules)["columns"] == {"users.age": {"exclude": True}}


def test_what_no_rule_settles_is_a_comment() -> None:
    """The text is valid, and holds nothing but comments."""
    settled = Settlement(sections=(RuleSection(AGE, others=("none: mend the rows in the source",)),))
    assert tomllib.loads(settled.rules) == {}
    assert settled.rules == f"# {AGE}\n#   none: mend the rows in the source\n"


def test_nothing_is_no_settlement() -> None:
    """It is false, and shows no line."""
    assert not NOTHING_TO_PASTE
    assert (list(NOTHING_TO_PASTE.lines()), NOTHING_TO_PASTE.to_json()) == ([], {})
