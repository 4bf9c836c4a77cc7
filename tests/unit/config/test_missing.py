"""What is missing: all of it at once, with an example of the command that has it; and faults are told together."""

import shlex
from typing import Any

import pytest

from migrator.config.missing import RUN, Needs
from migrator.config.settings import Settings
from migrator.errors import ConfigurationError

TARGET = "postgresql://u:s3cr%25t@h/d"
ENDS = Needs(source=True, target=True)
pytestmark = pytest.mark.usefixtures("environment")


def refused(needs: Needs, **flags: Any) -> ConfigurationError:  # noqa: ANN401 - any setting
    """Return the error of settings that don't do."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(flags, needs)
    return caught.value


def example_of(error: ConfigurationError) -> list[str]:
    """Return the words of the example that an error's next step gives."""
    return shlex.split(error.next_step.partition("as in `")[2].partition("`")[0])


def test_all_that_is_missing_is_named_at_once() -> None:
    """Source and target first, then the Alembic configuration, each with how to set it; the latter never alone."""
    error = refused(RUN)
    assert str(error) == "no source, no target and no Alembic configuration are set"
    for name in ("MIGRATOR_SOURCE_URL", "MIGRATOR_TARGET_URL", "MIGRATOR_ALEMBIC_CONFIG", "--alembic-config"):
        assert name in error.next_step
    assert str(refused(RUN, source_url="a.db", schema_mode="create")) == "no target is set"
    Settings.load({"source_url": "a.db", "target_url": TARGET}, RUN)


def test_refuse_missing_says_the_same() -> None:
    """Whoever calls the job without the command line is asked for the same."""
    with pytest.raises(ConfigurationError, match=r"^no source, no target and no Alembic configuration are set$"):
        Settings.load().refuse_missing()
    Settings.load({"source_url": "a.db", "target_url": TARGET}).refuse_missing()


def test_the_example_continues_what_was_given() -> None:
    """Pasted, it lacks nothing: what was given stays, and what is missing follows."""
    needs = Needs(source=True, target=True, command=("verify", "--source", "my notes.db"))
    error = refused(needs, source_url="my notes.db")
    assert example_of(error)[:4] == ["migrator", "verify", "--source", "my notes.db"]
    assert example_of(error)[4] == "--target"
    assert "--schema" not in example_of(error)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source_only": True}, "no source is set"),
        ({}, "no source, no target and no Alembic configuration are set"),
    ],
)
def test_source_only_makes_the_target_unnecessary(given: dict[str, Any], message: str) -> None:
    """Only for check, which has that flag."""
    needs = Needs(source=True, target=True, schema=True, may_do_without_target=True, command=("check",))
    assert str(refused(needs, **given)) == message
    assert str(refused(RUN, source_url="a.db", source_only=True, schema_mode="create")) == "no target is set"


def test_faults_of_every_kind_are_told_together(environment: pytest.MonkeyPatch) -> None:
    """A mistyped variable, values that can't be used, an address and what is missing: one look at the message."""
    environment.setenv("MIGRATOR_EXCLUDES", "logs")
    environment.setenv("MIGRATOR_SSLMODE", "bad")
    error = refused(RUN, jobs="none", target_url="mysql://u:s3cret@h")
    for words in ("MIGRATOR_EXCLUDES", "MIGRATOR_SSLMODE", "MIGRATOR_JOBS", "mysql://", "no source and no Alembic"):
        assert words in str(error), words
    assert "s3cret" not in str(error) + error.next_step
    assert "no target" not in str(error)


def test_what_is_faulty_is_not_missing() -> None:
    """A source that can't be used was given; it isn't asked for a second time, nor pasted into the example."""
    error = refused(
        Needs(source=True, target=True, command=("verify", "--source", "postgresql://h")), source_url="postgresql://h"
    )
    assert "MIGRATOR_SOURCE_URL" in str(error)
    assert "no source" not in str(error)
    assert example_of(error)[:3] == ["migrator", "verify", "--target"]
