"""
Gathers what is worth knowing of a table and asks for nothing: one line a table, in the log and in the reports.

A notice that asks for a decision, or names rows that somebody should look at, stays a line of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from migrator.findings.finding import Finding
from migrator.planning.plan import TablePlan


@dataclass(frozen=True, slots=True)
class TableNotice:
    """What is worth knowing of one table."""

    table: str
    parts: tuple[str, ...]

    def line(self) -> str:
        """Return the notice as one line for a person."""
        return f"{self.table}: {'; '.join(self.parts)}"


def table_notice_of(table: TablePlan, rows: int, findings: Iterable[Finding]) -> TableNotice | None:
    """Return the notice about a table with so many ``rows`` and such findings; None if there is nothing to say."""
    gathered = sorted((f for f in findings if f.asks_for_nothing), key=lambda finding: finding.reason)
    parts = [
        f"the value {reason} (in {', '.join(_counted(finding) for finding in same)})"
        for reason, same in groupby(gathered, key=lambda finding: finding.reason)
    ]
    if rows and (assumed := _read_as_utc(table)):
        parts.insert(0, f"text without an offset is read as UTC (in {', '.join(assumed)})")
    return TableNotice(table.source.name, tuple(parts)) if parts else None


def _counted(finding: Finding) -> str:
    return f"{finding.column}: {'1 row' if finding.rows == 1 else f'{finding.rows} rows'}"


def _read_as_utc(table: TablePlan) -> Sequence[str]:
    return [
        column.source.name
        for column in table.columns
        if column.target.type_name == "timestamptz" and column.rule.timezone is None
    ]
