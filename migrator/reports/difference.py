"""Holds what ``run`` or ``verify`` found if the databases differ."""

from dataclasses import dataclass
from typing import Any

from migrator.errors import Mismatch


@dataclass(frozen=True, slots=True)
class DifferenceReport:
    """The outcome of ``run`` or ``verify`` if the databases differ: examples and numbers of rows."""

    failure: Mismatch

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {"headline": str(self.failure), **self.failure.facts}
