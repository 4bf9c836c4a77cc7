"""Shows what settles an error: flags and rules on stdout, in a form that can be pasted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from migrator.cli.outcome_files import facts_of
from migrator.errors import MigratorError

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Refusal:
    """The outcome of a command that was refused, if flags or rules settle the refusal."""

    failure: MigratorError

    def to_json(self) -> dict[str, Any]:
        """Return the error for programs."""
        fields = facts_of(self.failure)
        return {"headline": fields.pop("message"), **fields}

    def render(self, console: "Console") -> None:
        """Print flags and rules for people; the log has the reasons."""
        for line in self.failure.settlement.lines():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
