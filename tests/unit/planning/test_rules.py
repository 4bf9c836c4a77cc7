"""migrator.toml: what may stand in it, and that nothing in it is overlooked."""

from pathlib import Path
from typing import get_args

import pytest

from migrator.config.values import ON_EXISTING_ROWS
from migrator.errors import ConfigurationError
from migrator.planning.rules import ColumnRule, OnExistingRows, Rules, TableRule


def load(tmp_path: Path, text: str) -> Rules:
    """Return the rules that a file with this text holds."""
    path = tmp_path / "migrator.toml"
    path.write_text(text, encoding="utf-8")
    return Rules.load(path)


def test_without_a_file_there_are_no_rules() -> None:
    """Every table and column is as it is."""
    rules = Rules.load(None)
    assert rules.of_table("t") == TableRule()
    assert rules.of_column("t", "c") == ColumnRule()


def test_patterns_add_up_and_the_last_word_counts(tmp_path: Path) -> None:
    """Each pattern that covers a column says its part, without regard to case."""
    rules = load(
        tmp_path,
        '[columns."*"]\nempty_as_null = true\nepoch = "s"\n[columns."Events.*_at"]\nepoch = "ms"\n',
    )
    assert rules.of_column("events", "created_at") == ColumnRule(empty_as_null=True, epoch="ms")
    assert rules.of_column("users", "created_at") == ColumnRule(empty_as_null=True, epoch="s")


def test_names_in_bulk(tmp_path: Path) -> None:
    """``rename`` wins over ``names``, the flag over the file; the own name comes first unless tables are made."""
    text = 'names = "snake_case"\n[columns."*.userID"]\nrename = "uid"\n'
    rules = load(tmp_path, text)
    assert rules.table_names("UserData") == ("UserData", "user_data")
    assert rules.column_names("UserData", "userID") == ("uid",)
    assert rules.for_created_tables().column_names("UserData", "isOn") == ("is_on", "isOn")
    flagged = Rules.load(tmp_path / "migrator.toml", names="lower")
    assert flagged.table_names("UserData") == ("UserData", "userdata")
    assert Rules.load(tmp_path / "migrator.toml", names="as-is").table_names("UserData") == ("UserData",)


def test_exclusions_are_rules_too() -> None:
    """``--exclude`` names tables and columns alike."""
    rules = Rules.load(None, ("audit_*", "users.legacy_?"))
    assert rules.of_table("AUDIT_log").exclude
    assert rules.of_column("users", "legacy_1").exclude
    assert not rules.of_column("users", "name").exclude


def test_table_patterns_add_up(tmp_path: Path) -> None:
    """What a later pattern doesn't set stays; a pattern that renames or excludes decides both."""
    rules = load(
        tmp_path,
        '[tables."*"]\nexclude = true\n[tables.users]\nrename = "people"\n'
        '[tables."u*"]\non_existing_rows = "replace"\n[tables.unused]\non_existing_rows = "refuse"\n',
    )
    assert rules.of_table("users") == TableRule(rename="people", exclude=False, on_existing_rows="replace")
    assert rules.of_table("unused") == TableRule(exclude=True, rename=None, on_existing_rows="refuse")
    assert rules.of_table("others").on_existing_rows == "refuse"


def test_existing_rows_by_flag(tmp_path: Path) -> None:
    """``--on-existing-rows`` wins over the file, and a table that it names over the word for all."""
    path = tmp_path / "migrator.toml"
    path.write_text('[tables.users]\non_existing_rows = "replace"\n[tables.a]\nrename = "b"\n', encoding="utf-8")
    assert Rules.load(path, on_existing_rows=["users:refuse"]).of_table("users").on_existing_rows == "refuse"
    rules = Rules.load(path, on_existing_rows=["a:b:refuse", "replace"])
    assert rules.of_table("a:b").on_existing_rows == "refuse"
    assert rules.of_table("a") == TableRule(rename="b", exclude=False, on_existing_rows="replace")
    with pytest.raises(ConfigurationError, match="'user' matches no table"):
        Rules.load(None, on_existing_rows=["user:replace"]).check_all_met(["users"])


def test_the_setting_and_the_rule_know_the_same_words() -> None:
    """A word of the one is a word of the other."""
    assert get_args(OnExistingRows) == ON_EXISTING_ROWS


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[columns."t.c"]\nepoc = "s"\n', "columns.\"t.c\".epoc is no rule (did you mean 'epoch'?)"),
        ('[columns."t.c"]\nepoch = "days"\n', "columns.\"t.c\".epoch: input should be 's', 'ms', 'us' or 'ns'"),
        ('[columns."t.c"]\ntimezone = "Mars/Phobos"\n', 'columns."t.c".timezone: this machine knows no such time zone'),
        ('[columns."t.c"]\njulian = "yes"\n', 'columns."t.c".julian: input should be a valid boolean'),
        ('[column."t.c"]\nepoch = "s"\n', "column is no rule (did you mean 'columns'?)"),
        ('[columns.t.c]\nepoch = "s"\n', 'a name with a dot has to be in quotes, [columns."t.c"]'),
        ("[tables.t]\nepoch = 1\n", "tables.t.epoch is no rule"),
        ('names = "camelCase"\n', "names: input should be 'as-is', 'lower' or 'snake_case'"),
        ("epoch = \n", "is no TOML"),
        ("\udcff", "is no TOML"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    """With the place in the file, what was expected there, and the nearest word that exists."""
    path = tmp_path / "migrator.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigurationError) as raised:
        Rules.load(path)
    assert complaint in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It was asked for, so it must be there."""
    with pytest.raises(ConfigurationError, match="No such file"):
        Rules.load(tmp_path / "none.toml")


def test_a_rule_that_matches_nothing(tmp_path: Path) -> None:
    """It is an error, with the nearest name; one that was asked for or names something else that exists is none."""
    rules = load(tmp_path, '[columns."user.created"]\nepoch = "s"\n')
    with pytest.raises(ConfigurationError, match=r"'user\.created' matches no table or column") as raised:
        rules.check_all_met(["users", "users.created"])
    assert raised.value.next_step == "Write 'users.created' if that is meant, or take it out."
    rules.check_all_met(["user.created"])
