"""
Refuses the run if a constraint or index of the target could not be tried before the copy.

Such a constraint may refuse rows while they are copied. So the job doesn't begin unless the operator has named the
constraint with ``--untried``.
"""

import shlex
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import structlog
from msgspec import Struct

from migrator.errors import NotTried
from migrator.events import Event
from migrator.names import TableName, pattern
from migrator.runtime.reason import Reason
from migrator.runtime.settlement import Settlement
from migrator.runtime.wording import listed as short_list

log = structlog.get_logger()


class Untried(Struct, frozen=True):
    """A constraint, an index or a similar object that could not be tried on any row."""

    table: TableName
    name: str
    """The name of the constraint; the kind of the constraint if it has no name."""
    reason: str

    @property
    def handle(self) -> str:
        """The name by which the operator allows it: ``orders.positive``."""
        return pattern(f"{self.table.name}.{self.name}")


def untried_refusal(untried: Iterable[Untried], allowed: Sequence[str]) -> NotTried | None:
    """
    Return the error that names the ``untried`` constraints which no pattern in ``allowed`` matches; None without any.

    Logs every constraint that a pattern matches as a warning.
    """
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
    error = NotTried(
        f"what the target demands of rows could not be tried: {listed}",
        next_step=f"Remove the reason, or add --untried '{handles}' to go on without; the copy stops at a row that is "
        "refused then.",
        untried=[
            {"table": str(constraint.table), "constraint": constraint.name, "reason": constraint.reason}
            for constraint in refused
        ],
    ).settled_with(Settlement((f"--untried={shlex.quote(handles)}",)))
    names = short_list([f"{constraint.name} of {constraint.table}" for constraint in refused])
    return error.told_as(
        f"what the target demands of rows could not be tried: {names}",
        (
            Reason(
                f"{constraint.table}.{constraint.name}",
                f"could not be tried: {constraint.reason}",
                remedy=f"--untried={shlex.quote(constraint.handle)}",
            )
            for constraint in refused
        ),
    )
