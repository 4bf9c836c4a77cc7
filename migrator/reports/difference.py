"""Holds what ``run`` or ``verify`` found if the databases differ."""

from typing import Any

from msgspec import Struct

from migrator.errors import Mismatch


class DifferenceReport(Struct, frozen=True):
    """The outcome of ``run`` or ``verify`` if the databases differ: examples and numbers of rows."""

    failure: Mismatch

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {"headline": str(self.failure), **self.failure.facts}
