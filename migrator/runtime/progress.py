"""Defines how stages report progress, and a receiver that shows nothing, for runs that show only the log."""

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Receives the progress of a stage. A stage that has nothing to count never calls it."""

    def begin(self, stage: str, rows: Mapping[str, int]) -> None:
        """Start a new count. ``rows`` holds the number of rows for each table. A count that is under way ends."""

    def advance(self, table: str, rows: int, bytes: int = 0) -> None:  # noqa: A002 - the name in log and ledger
        """Count ``rows`` more rows of a table, with ``bytes`` bytes of data. May be called from any thread."""

    def finish(self) -> None:
        """Stop counting and remove the progress from the screen. May be called when no count is under way."""


class NoProgress:
    """Shows no progress."""

    def begin(self, stage: str, rows: Mapping[str, int]) -> None:
        """Do nothing."""

    def advance(self, table: str, rows: int, bytes: int = 0) -> None:  # noqa: A002 - the name in log and ledger
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""
