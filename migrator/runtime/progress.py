"""The progress that stages report, and a receiver that shows nothing: for a terminal that shows the log alone."""

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Receives what a stage reports while it works. A stage that has nothing to count never calls it."""

    def begin(self, stage: str, rows: Mapping[str, int]) -> None:
        """Start counting; ``rows`` holds the number of rows to come for each table. Ends the count before it."""

    def advance(self, table: str, rows: int, bytes: int = 0) -> None:  # noqa: A002 - the word of log and ledger
        """Count ``rows`` more of a table as done, ``bytes`` of data. May be called from any thread."""

    def finish(self) -> None:
        """Stop counting and clear the screen of it. May be called when nothing was begun."""


class NoProgress:
    """Shows no progress."""

    def begin(self, stage: str, rows: Mapping[str, int]) -> None:
        """Do nothing."""

    def advance(self, table: str, rows: int, bytes: int = 0) -> None:  # noqa: A002 - the word of log and ledger
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""
