"""
What the target demands of rows and nobody could try beforehand: rows may be refused by it when they are copied.

The job doesn't begin then, unless the operator has named it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import structlog

from migrator.errors import NotTried
from migrator.events import Event
from migrator.names import TableName, pattern

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Untried:
    """A constraint, an index or the like by which no row could be judged."""

    table: TableName
    name: str
    """Of the constraint; where it has none, what it is."""
    reason: str

    @property
    def handle(self) -> str:
        """What the operator calls it: ``orders.positive``."""
        return pattern(f"{self.table.name}.{self.name}")


def untried_refusal(untried: Iterable[Untried], allowed: Sequence[str]) -> NotTried | None:
    """Return the error for all that no pattern of ``allowed`` names, or None; what a pattern names is logged."""
    refused = []
    for constraint in untried:
        if any(fnmatchcase(constraint.handle.casefold(), name.casefold()) for name in allowed):
            log.warning(
                Event.CONSTRAINT_UNTRIED,
                table=str(constraint.table),
                constraints=[constraint.name],
                reason=constraint.reason,
            )
        else:
            refused.append(constraint)
    if not refused:
        return None
    handles = ",".join(dict.fromkeys(constraint.handle for constraint in refused))
    listed = "; ".join(f"{constraint.name} of {constraint.table}: {constraint.reason}" for constraint in refused)
    return NotTried(
        f"what the target demands of rows could not be tried: {listed}",
        next_step=f"Remove the reason, or add --untried '{handles}' to go on without; the copy stops at a row that is "
        "refused then.",
        untried=[
            {"table": str(constraint.table), "constraint": constraint.name, "reason": constraint.reason}
            for constraint in refused
        ],
    )
