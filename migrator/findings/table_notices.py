"""
Gathers what is worth knowing of a table and asks for nothing: one line a table, in the log and in the reports.

A notice that asks for a decision, or names rows that somebody should look at, stays a line of its own.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from msgspec import Struct

from migrator.findings.finding import Finding
from migrator.planning.plan import TablePlan
from migrator.source.scan import ScanSession


class TableNotice(Struct, frozen=True):
    """What is worth knowing of one table."""

    table: str
    parts: tuple[str, ...]

    def line(self) -> str:
        """Return the notice as one line for a person."""
        return f"{self.table}: {'; '.join(self.parts)}"


def table_notice_of(table: TablePlan, naive: Sequence[str], findings: Iterable[Finding]) -> TableNotice | None:
    """Return the notice about a table; None if there is nothing to say. ``naive`` is from ``naive_moments``."""
    gathered = sorted((f for f in findings if f.asks_for_nothing), key=lambda finding: finding.reason)
    parts = [
        f"the value {reason} (in {', '.join(_counted(finding) for finding in same)})"
        for reason, same in groupby(gathered, key=lambda finding: finding.reason)
    ]
    if naive:
        parts.insert(0, f"text without an offset is read as UTC (in {', '.join(naive)})")
    return TableNotice(table.source.name, tuple(parts)) if parts else None


def naive_moments(session: ScanSession, table: TablePlan) -> tuple[str, ...]:
    """Return the columns that hold text which is read as UTC, because it has no offset and no rule says a zone."""
    columns = [
        column.source
        for column in table.columns
        if column.target.type_name == "timestamptz" and column.rule.timezone is None
    ]
    if not columns:
        return ()
    # An offset begins behind the date, which has hyphens of its own. Each search ends at the first row that it finds.
    found = ", ".join(
        f"EXISTS (SELECT 1 FROM {table.source.origin} WHERE typeof({column.quoted}) = 'text' "
        f"AND substr({column.quoted}, 11) NOT GLOB '*[Zz+-]*') AS c{place}"
        for place, column in enumerate(columns)
    )
    [row] = session.ask(f"SELECT {found}")
    return tuple(column.name for place, column in enumerate(columns) if row[f"c{place}"])


def _counted(finding: Finding) -> str:
    return f"{finding.column}: {'1 row' if finding.rows == 1 else f'{finding.rows} rows'}"
