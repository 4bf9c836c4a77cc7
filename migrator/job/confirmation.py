"""Says what a command is about to remove, so that somebody can confirm it first."""

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct


class Removal(Struct, frozen=True):
    """Rows of one table that a command is about to remove."""

    table: str
    rows: int
    note: str = ""
    """What else is worth knowing of the rows."""


class Removals(Struct, frozen=True):
    """All that a command is about to remove."""

    command: Literal["reset", "forget"]
    question: str
    """What is asked: ``Empty these tables?``."""
    tables: Sequence[Removal]

    @property
    def counts(self) -> str:
        """How many rows of how many tables."""
        rows, tables = sum(removal.rows for removal in self.tables), len(self.tables)
        return f"{rows:,} {'row' if rows == 1 else 'rows'} of {tables:,} {'table' if tables == 1 else 'tables'}"


class Confirm(Protocol):
    """Has a removal confirmed."""

    async def __call__(self, removals: Removals) -> None:
        """Return if the removal is confirmed; raise ConfigurationError if it isn't."""


async def is_confirmed(removals: Removals) -> None:
    """Return at once: for callers that have decided before."""
