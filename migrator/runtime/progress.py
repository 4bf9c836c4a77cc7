"""What stages tell of how far they have come, and nothing made of it: where the log's lines have to do."""

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """What a stage tells while it works. One that has nothing to count doesn't call it at all."""

    def begin(self, stage: str, rows: Mapping[str, int]) -> None:
        """Start counting; ``rows`` says for each table how many rows lie ahead. Ends what was counted before."""

    def advance(self, table: str, rows: int, bytes: int = 0) -> None:  # noqa: A002 - the word of log and ledger
        """Count ``rows`` more of a table as done, ``bytes`` of data. May be called from any thread."""

    def finish(self) -> None:
        """Stop counting and clear the screen of it. May be called when nothing was begun."""


class NoProgress:
    """Progress that nobody watches."""

    def begin(self, stage: str, rows: Mapping[str, int]) -> None:
        """Do nothing."""

    def advance(self, table: str, rows: int, bytes: int = 0) -> None:  # noqa: A002 - the word of log and ledger
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""
