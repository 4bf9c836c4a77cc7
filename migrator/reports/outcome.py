"""Says what the result of every command has."""

from typing import Any, Protocol

from migrator.errors import MigratorError


class Outcome(Protocol):
    """The result of a command. ``failure`` is the error that the result means, such as a mismatch, or None."""

    @property
    def failure(self) -> MigratorError | None:
        """Return the error that decides the exit code after the report is shown, or None."""

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs, as JSON values."""
