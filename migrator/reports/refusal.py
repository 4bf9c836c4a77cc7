"""Holds the outcome of a command that was refused: its error, with the flags and rules that settle it."""

from typing import Any, Final

from msgspec import Struct

from migrator.errors import ExitCode, MigratorError, Stopped


class Refusal(Struct, frozen=True):
    """The outcome of a command that was refused, if flags or rules settle the refusal."""

    failure: MigratorError

    def to_json(self) -> dict[str, Any]:
        """Return the error for programs."""
        fields = facts_of(self.failure)
        return {"headline": fields.pop("message"), **fields}


def facts_of(error: MigratorError) -> dict[str, Any]:
    """Return the fields of a MigratorError for the log and the files."""
    code = ExitCode[str(error.facts["signal"])] if isinstance(error, Stopped) else error.exit_code
    settled = error.settlement.to_json()
    return {"message": str(error), "next_step": error.next_step, "exit_code": int(code), **settled, **error.facts}


TOLD_APART: Final = frozenset({"findings", "differences", "schema", "untried", "missing"})
"""Facts that have an event of their own for each entry, so that the last line of the log doesn't repeat them."""


def log_facts_of(error: MigratorError) -> dict[str, Any]:
    """Return the fields of a MigratorError for the log, in which each reason is an event of its own: their number."""
    facts = facts_of(error)
    if not error.reasons and "differences" not in facts:
        return facts
    apart = {name: facts.pop(name) for name in TOLD_APART & facts.keys()}
    return {**facts, "message": error.headline, "reasons": len(error.reasons) + len(apart.get("differences", ()))}
