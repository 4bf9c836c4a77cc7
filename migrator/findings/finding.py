"""What preflight finds out about the values of the source: which can't be carried, and what rules change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from migrator.types import ProblemCode, Severity


@dataclass(frozen=True, slots=True)
class Change:
    """Values that a rule turns into others."""

    table: str
    column: str
    rows: int
    rule: str
    """What the rule sets, as it stands in the file."""
    years: str = ""
    """In which they lie, where numbers became moments: a wrong unit shows there."""

    def line(self) -> str:
        """Return the change as one line for a person."""
        rows = "1 value" if self.rows == 1 else f"{self.rows} values"
        years = f", which lie in the years {self.years}" if self.years else ""
        return f"{self.table}.{self.column}: {rows} rewritten by rule ({self.rule}){years}"


@dataclass(frozen=True, slots=True)
class Example:
    """One row in which a problem shows."""

    key: str
    """The primary key's values, or the rowid, as SQL literals."""
    value: str
    """The value, shortened; or what it is like, where values are masked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the values of a column: mostly a reason why they can't be carried as they are."""

    table: str
    column: str
    rows: int
    code: ProblemCode
    reason: str
    """What is wrong in words; they are for people, the code is for programs."""
    examples: tuple[Example, ...] = ()
    at_least: bool = False
    """Whether there are more rows than were counted."""
    settled_by: str = ""
    """The lines of a rule that carry these values all the same, or what else settles it."""
    severity: Severity = Severity.ERROR

    @property
    def refuses(self) -> bool:
        """Whether it stands in the way; otherwise it is worth knowing."""
        return self.severity is Severity.ERROR

    def line(self) -> str:
        """Return the finding as one line for a person."""
        shown = ", ".join(f"{example.key}: {example.value}" for example in self.examples)
        rows = "1 row" if self.rows == 1 else f"{'at least ' * self.at_least}{self.rows} rows"
        return f"{self.table}.{self.column}: {rows} where the value {self.reason}" + (f" ({shown})" if shown else "")

    def to_json(self) -> dict[str, Any]:
        """Return the finding for the log and the report."""
        examples = [{"key": example.key, "value": example.value} for example in self.examples]
        return {
            "table": self.table,
            "column": self.column,
            "rows": self.rows,
            "at_least": self.at_least,
            "code": self.code.value,
            "reason": self.reason,
            "examples": examples,
            "settled_by": self.settled_by,
            "refuses": self.refuses,
        }


def summary(findings: Sequence[Finding]) -> str:
    """Return one line that names every column with a problem."""
    return "; ".join(finding.line() for finding in findings)
