"""
Defines every way in which the job can fail, with its exit code.

    MigratorError
    ├── Mismatch                1  verification found a difference
    ├── ConfigurationError      2  usage or configuration
    ├── SourceError             3  the source cannot be migrated as it is
    │   ├── SourceUnreadable       missing, no database, corrupt, not permitted
    │   ├── ValuesRefused          preflight found values that PostgreSQL would refuse or change
    │   └── SourceChanged          somebody wrote to it while the job ran, or since
    ├── TargetRefused           4  the target is not as it must be
    │   ├── RowsInTheWay           it holds rows that this job did not put there
    │   ├── NoMatch                a source table or column has no match in the target
    │   ├── NotTried               something that it demands of rows could not be tried beforehand
    │   └── MissingPrivilege       the role may not do what the job needs
    └── GaveUp                  5  waited or retried as long as allowed; worth another try

    Stopped                130 / 143  SIGINT or SIGTERM; the next run resumes

An error is raised where it is known and caught once, in ``cli/main.py``. Its message is one line that says what is
wrong and where. ``next_step`` tells the operator what to do. ``facts`` are its typed fields for the log.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process returns: a contract with compose, Kubernetes' podFailurePolicy and CI."""

    DONE = 0
    MISMATCH = 1
    CONFIGURATION = 2
    SOURCE = 3
    TARGET = 4
    GAVE_UP = 5
    SIGINT = 130
    SIGTERM = 143


class MigratorError(Exception):
    """
    The job cannot go on.

    ``next_step`` tells the operator what to do, ``facts`` are values for the log (table, column, key, counts).
    """

    exit_code: ClassVar[ExitCode]

    def __init__(self, message: str, *, next_step: str = "", **facts: object) -> None:
        super().__init__(message)
        self.next_step = next_step
        self.facts = facts


class Mismatch(MigratorError):  # noqa: N818 - the field's word, and the contract's
    """Source and target differ; tables are named in ``facts['tables']``."""

    exit_code = ExitCode.MISMATCH


class ConfigurationError(MigratorError):
    """A setting is missing, contradicts another, or was refused by the server (password, database, TLS)."""

    exit_code = ExitCode.CONFIGURATION


class SourceError(MigratorError):
    """The source cannot be carried as it is."""

    exit_code = ExitCode.SOURCE


class SourceUnreadable(SourceError):  # noqa: N818
    """
    The file is missing, not permitted, no SQLite database, or damaged.

    ``driver_message`` is SQLite's own message, without the words that the driver puts before it; it may be empty.
    """

    def __init__(self, message: str, *, driver_message: str = "", next_step: str = "", **facts: object) -> None:
        super().__init__(message, next_step=next_step, **facts)
        self.driver_message = driver_message


class ValuesRefused(SourceError):  # noqa: N818
    """Preflight found values that PostgreSQL would refuse or change; nothing was written."""


class SourceChanged(SourceError):  # noqa: N818
    """The source is not the one that the job, or an earlier run of it, read."""


class TargetRefused(MigratorError):  # noqa: N818
    """The target is not as it must be; nothing was changed by the step that says so."""

    exit_code = ExitCode.TARGET


class RowsInTheWay(TargetRefused):
    """A target table holds rows that this job did not put there."""


class NoMatch(TargetRefused):
    """A source table or column has no match in the target."""


class NotTried(TargetRefused):
    """Something that the target demands of rows could not be tried beforehand, and nobody has allowed that by name."""


class MissingPrivilege(TargetRefused):
    """The target's role may not do what the job needs."""


class GaveUp(MigratorError):  # noqa: N818
    """A bound on waiting or retrying was reached; what stood in the way may heal by itself."""

    exit_code = ExitCode.GAVE_UP


class Stopped(MigratorError):  # noqa: N818
    """A signal asked the job to stop; it stopped at a safe point and the next run resumes there."""

    exit_code = ExitCode.SIGTERM
