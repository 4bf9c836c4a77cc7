"""Flags: one for every setting, help that says all, and clear words for what isn't there."""

import argparse
import re

import pytest

from migrator.cli.arguments import Parser, add_settings, default_of
from migrator.config.fields import Group, flag_of, option_info, variables_of
from migrator.config.settings import Settings
from migrator.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def parser() -> Parser:
    """Give a parser with all settings."""
    parser = Parser(prog="migrator run")
    add_settings(parser, tuple(Group))
    return parser


def test_every_setting_is_in_the_help_with_variable_and_default(parser: Parser) -> None:
    """Who reads it needs neither the manual nor the code."""
    text = " ".join(parser.format_help().split())
    for name, field in Settings.model_fields.items():
        assert " ".join((field.description or "").split()) in text
        assert variables_of(name, field)[0] in text
        assert option_info(field).no_flag or flag_of(name) in text
        assert f"default: {default_of(field)}" in text or not default_of(field) or option_info(field).no_flag


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_help_is_good_to_read_at_any_width(parser: Parser, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """No line goes beyond the terminal or what the eye follows, long lists of a flag's values excepted."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = [line for line in parser.format_help().splitlines() if not re.match(r" *--|usage", line)]
    assert max(map(len, lines)) <= min(columns, 110)


def test_no_flag_takes_a_password(parser: Parser) -> None:
    """Command lines can be read by every user of the machine."""
    with pytest.raises(ConfigurationError):
        parser.refuse(parser.parse_known_args(["--postgres-password", "x"])[1])


def test_what_was_not_given_is_absent(parser: Parser) -> None:
    """A default filled in here would beat the environment."""
    assert vars(parser.parse_args([])) == {}


def test_values_go_on_as_they_are(parser: Parser) -> None:
    """The model judges them, as it does for variables; both names of a flag lead to one setting."""
    argv = "--source a.db --target-url=postgresql://h --jobs x --exclude a,b --exclude c --schema existing"
    assert vars(parser.parse_args([*argv.split(), "--no-mask-values"])) == {
        "source_url": "a.db",
        "target_url": "postgresql://h",
        "jobs": "x",
        "exclude": ["a,b", "c"],
        "schema_mode": "existing",
        "mask_values": False,
    }


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--sorce", "x"], "there is no flag --sorce; --source is near"),
        (["--target-ur=postgresql://u:s3cret@h"], "there is no flag --target-ur; --target-url is near"),
        (["--qqqqqqqqq"], "there is no flag --qqqqqqqqq"),
        (["--job", "3"], "--jobs is near"),
        (["postgresql://u:s3cret@h"], "takes flags only"),
    ],
)
def test_what_is_no_flag_is_named_with_the_nearest(parser: Parser, argv: list[str], words: str) -> None:
    """No abbreviations, no guessing, and no value in the message."""
    with pytest.raises(ConfigurationError) as caught:
        parser.refuse(parser.parse_known_args(argv)[1])
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.next_step == "See `migrator run --help` for what there is."


def test_a_flag_of_another_command_is_called_that() -> None:
    """It isn't taken for a slip of the pen: who copies the flags of run to check learns what is the matter."""
    parser = Parser(prog="migrator check")
    add_settings(parser, [Group.TARGET])
    with pytest.raises(ConfigurationError, match="--schema is a flag of other commands, and has no meaning for `migra"):
        parser.refuse(parser.parse_known_args(["--schema", "existing"])[1])


def test_argparses_own_complaints_are_ours() -> None:
    """It would print usage and leave with its own code."""
    parser = Parser(prog="migrator run")
    add_settings(parser, [Group.SPEED])
    with pytest.raises(ConfigurationError, match="--jobs: expected one argument"):
        parser.parse_args(["--jobs"])
    assert isinstance(parser, argparse.ArgumentParser)
