"""
Defines every way in which the job can fail, with its exit code.

    MigratorError
    ├── Mismatch                1  verification found a difference
    ├── ConfigurationError      2  usage or configuration
    ├── SourceError             3  the source cannot be migrated as it is
    │   ├── SourceUnreadable       the file is missing, no database, damaged, or not permitted
    │   ├── ValuesRefused          preflight found values that PostgreSQL would refuse or change
    │   └── SourceChanged          somebody wrote to the source during the job, or after an earlier run
    ├── TargetRefused           4  the target is not as it must be
    │   ├── RowsInTheWay           a table holds rows that this job did not copy
    │   ├── NoMatch                a table or column of one side has no match on the other
    │   ├── NotTried               a requirement of the target could not be tried on the rows beforehand
    │   └── MissingPrivilege       the role lacks a privilege that the job needs
    ├── GaveUp                  5  a limit of waiting or retrying was reached; another run may succeed
    └── Standing                   what `status` found, if that isn't a complete migration: an answer, no failure
        ├── NotComplete         6  never begun, under way, interrupted, or rehearsed
        └── LastRunFailed       7  the newest run has failed

    Stopped                130 / 143  SIGINT or SIGTERM; the next run resumes

An error is raised where it is detected, and caught only in ``cli/main.py``. Its message is one line that says what is
wrong and where. ``next_step`` tells the operator what to do, and ``settlement`` has what is to be pasted for that.
``facts`` are its typed fields for the log.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import ClassVar, Self

from migrator.runtime.reason import Reason
from migrator.runtime.settlement import NOTHING_TO_PASTE, Settlement


class ExitCode(IntEnum):
    """The exit codes of the process: a contract for compose, Kubernetes' podFailurePolicy and CI."""

    DONE = 0
    MISMATCH = 1
    CONFIGURATION = 2
    SOURCE = 3
    TARGET = 4
    GAVE_UP = 5
    NOT_COMPLETE = 6
    LAST_RUN_FAILED = 7
    SIGINT = 130
    SIGTERM = 143


class MigratorError(Exception):
    """
    The job cannot go on.

    ``next_step`` tells the operator what to do, and ``settlement`` holds the flags and rules that settle the error.
    ``headline`` is the message without the reasons that ``reasons`` has one by one; without reasons it is the message.
    ``facts`` are values for the log (table, column, key, counts).
    """

    exit_code: ClassVar[ExitCode]

    def __init__(self, message: str, *, next_step: str = "", **facts: object) -> None:
        super().__init__(message)
        self.next_step = next_step
        self.settlement = NOTHING_TO_PASTE
        self.facts = facts
        self.headline = message
        self.reasons: tuple[Reason, ...] = ()

    def told_as(self, headline: str, reasons: Iterable[Reason]) -> Self:
        """
        Return the error itself, with its message in short and its reasons one by one.

        The table of a refusal shows the reasons, and the log has an event for each.
        """
        self.headline, self.reasons = headline, tuple(reasons)
        return self

    def settled_with(self, settlement: Settlement) -> Self:
        """Return the error itself, with flags and rules that settle it."""
        self.settlement = settlement
        return self


class Mismatch(MigratorError):  # noqa: N818 - the usual term, also in the contract
    """Source and target differ; ``facts['tables']`` names the tables."""

    exit_code = ExitCode.MISMATCH


class ConfigurationError(MigratorError):
    """A setting is missing, contradicts another setting, or was refused by the server (password, database, TLS)."""

    exit_code = ExitCode.CONFIGURATION


class SourceError(MigratorError):
    """The source cannot be migrated as it is."""

    exit_code = ExitCode.SOURCE


class SourceUnreadable(SourceError):  # noqa: N818
    """
    The source file is missing, not permitted, no SQLite database, or damaged.

    ``driver_message`` is SQLite's own message, without the driver's prefix; it may be empty.
    """

    def __init__(self, message: str, *, driver_message: str = "", next_step: str = "", **facts: object) -> None:
        super().__init__(message, next_step=next_step, **facts)
        self.driver_message = driver_message

    @property
    def is_about_a_statement(self) -> bool:
        """Whether SQLite objects to a statement or to the values that it meets, and not to the file."""
        return bool(self.driver_message) and not any(words in self.driver_message for words in _ABOUT_THE_FILE)


_ABOUT_THE_FILE = ("disk image", "not a database", "I/O", "unable to open", "locked", "typed")
"""Words in SQLite's messages about a file. SQLite's other messages are about a statement."""


class ValuesRefused(SourceError):  # noqa: N818
    """Preflight found values that PostgreSQL would refuse or change; nothing was written."""


class SourceChanged(SourceError):  # noqa: N818
    """The source has changed since the job, or an earlier run of the job, has read it."""


class TargetRefused(MigratorError):  # noqa: N818
    """The target is not as it must be; the step that raises this error has changed nothing."""

    exit_code = ExitCode.TARGET


class RowsInTheWay(TargetRefused):
    """A target table holds rows that this job did not copy."""


class NoMatch(TargetRefused):
    """A table or column of one side has no match on the other side."""


class NotTried(TargetRefused):
    """A requirement of the target could not be tried on the rows beforehand, and no setting permits this."""


class MissingPrivilege(TargetRefused):
    """The target's role lacks a privilege that the job needs."""


class GaveUp(MigratorError):  # noqa: N818
    """A limit of waiting or retrying was reached; another run may succeed later."""

    exit_code = ExitCode.GAVE_UP


class Standing(MigratorError):  # noqa: N818
    """What `status` found, if that isn't a complete migration. The command itself has done what it is for."""

    exit_code = ExitCode.NOT_COMPLETE


class NotComplete(Standing):
    """`status`: the migration has never begun, is under way, was interrupted, or was rehearsed."""


class LastRunFailed(Standing):
    """`status`: the newest run of the migration has failed."""

    exit_code = ExitCode.LAST_RUN_FAILED


class Stopped(MigratorError):  # noqa: N818
    """A signal has stopped the job at a safe point; the next run continues from there."""

    exit_code = ExitCode.SIGTERM


def in_one(errors: Iterable[MigratorError | None]) -> MigratorError | None:
    """
    Return one error that says what all ``errors`` say, or None if there are none.

    It has the class of the first error, and so its exit code. Its settlement is that of all of them: an operator who
    reads it can settle everything at once.
    """
    found = [error for error in errors if error is not None]
    if len(found) < 2:  # noqa: PLR2004 - one is told as it is
        return found[0] if found else None
    facts = {name: value for error in reversed(found) for name, value in error.facts.items()}
    next_step = " ".join(error.next_step for error in found if error.next_step)
    settlement = sum((error.settlement for error in found), NOTHING_TO_PASTE)
    error = type(found[0])("; ".join(map(str, found)), next_step=next_step, **facts).settled_with(settlement)
    reasons = [reason for one in found for reason in one.reasons or (Reason("", str(one)),)]
    return error.told_as("; ".join(one.headline for one in found), reasons)
