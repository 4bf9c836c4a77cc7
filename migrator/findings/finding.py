"""Describes the results of preflight for the source's values: findings, their examples, and changes by rules."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from migrator.types import ProblemCode, Severity


class Change(Struct, frozen=True):
    """Values of a column that a rule changes."""

    table: str
    column: str
    rows: int
    rule: str
    """The settings of the rule, as written in ``migrator.toml``."""
    years: str = ""
    """The years of the new values, if numbers became moments. Unlikely years show that a rule has the wrong unit."""

    def line(self) -> str:
        """Return the change as one line for a person."""
        rows = "1 value" if self.rows == 1 else f"{self.rows} values"
        years = f", which lie in the years {self.years}" if self.years else ""
        return f"{self.table}.{self.column}: {rows} rewritten by rule ({self.rule}){years}"


class Example(Struct, frozen=True):
    """One row that has the problem of a finding."""

    key: str
    """The primary key's values, or the rowid, as SQL literals."""
    value: str
    """The value, shortened; if values are masked, only its storage class, size and place of the problem."""


_GATHERED = frozenset({ProblemCode.DIGITS_LOST_IN_SOURCE, ProblemCode.CASE_INSENSITIVE_IN_SOURCE})


class Finding(Struct, frozen=True):
    """A problem of a column's values, mostly a reason why the values can't be carried as they are."""

    table: str
    column: str
    rows: int
    code: ProblemCode
    reason: str
    """The problem in words, for people; the code is for programs."""
    examples: tuple[Example, ...] = ()
    at_least: bool = False
    """Whether there may be more rows than were counted."""
    settled_by: str = ""
    """The lines of a rule with which these values can be carried, or another remedy in words."""
    severity: Severity = Severity.ERROR

    @property
    def refuses(self) -> bool:
        """Whether the job refuses to copy because of this finding; otherwise it is a notice."""
        return self.severity is Severity.ERROR

    @property
    def asks_for_nothing(self) -> bool:
        """Whether there is nothing to decide: such notices are gathered into one line a table."""
        return not self.refuses and self.code in _GATHERED

    def line(self) -> str:
        """Return the finding as one line for a person."""
        shown = ", ".join(f"{example.key}: {example.value}" for example in self.examples)
        rows = "1 row" if self.rows == 1 else f"{'at least ' * self.at_least}{self.rows} rows"
        return f"{self.table}.{self.column}: {rows} where the value {self.reason}" + (f" ({shown})" if shown else "")

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON values for the log and the report."""
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
    """Return one line with all findings."""
    return "; ".join(finding.line() for finding in findings)
