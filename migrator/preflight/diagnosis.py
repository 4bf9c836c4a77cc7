"""
The closer look that preflight takes at a table with something unusual: which values, in how many rows, and why.

Two passes, both over columns and not over Python objects. The first is one statement of aggregates inside SQLite:
storage classes, ranges, missing values. The second (``trial``) tries the copier's own conversion over the columns whose
content it reads, down to the rows that are to blame; only these are looked at one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from migrator.findings.examples import FindingBuilder, is_row, key_scan_column
from migrator.findings.finding import Change, Finding
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.preflight.bisection import ROWS_NAMED, BadRows, find_bad_rows
from migrator.source.aggregates import count_matching
from migrator.source.size import Profile
from migrator.target.server_types import ServerTypes
from migrator.types import Problem


@dataclass(frozen=True, slots=True)
class CloserLook:
    """What was found: problems, and what rules make of values that only a conversion can tell of."""

    findings: tuple[Finding, ...] = ()
    changes: tuple[Change, ...] = ()


NOTHING = CloserLook()


def diagnose(
    tell: FindingBuilder, table: TablePlan, profile: Profile, judge: ServerTypes, batch_bytes: int
) -> CloserLook:
    """Find every problem of a table. Blocks while it is scanned, twice at most; raises SourceUnreadable."""
    checks = [(column, refusal) for column in table.compared for refusal in _refusals(column)]
    counts = count_matching(tell.session, table.source, [refusal.condition for _, refusal in checks])
    struck = [(column, refusal, rows) for (column, refusal), rows in zip(checks, counts, strict=True) if rows]
    refused: dict[ColumnPlan, list[str]] = {}
    for column, refusal, _ in struck:
        refused.setdefault(column, []).append(refusal.condition)
    key = key_scan_column(table.source)
    blamed, lost = find_bad_rows(
        tell.session, table, key, refused=refused, judge=judge, profile=profile, batch_bytes=batch_bytes
    )
    findings = [tell(column, rows, refusal.reason, refusal.condition) for column, refusal, rows in struck]
    changes = tuple(change(table, column, rows) for column, rows in lost.items() if rows)
    return CloserLook((*findings, *_told(tell, table, blamed)), changes)


def change(table: TablePlan, column: ColumnPlan, rows: int) -> Change:
    """Return what a column's rule does to ``rows`` values."""
    return Change(table.source.name, column.source.name, rows, column.rule.words())


def _refusals(column: ColumnPlan) -> tuple[Problem, ...]:
    problems = column.problems
    if column.target.not_null:
        problems += (Problem(f"{column.source_expression} IS NULL", "is missing and the target's column is NOT NULL"),)
    return problems


def _told(tell: FindingBuilder, table: TablePlan, blamed: BadRows) -> Iterator[Finding]:
    for column, reasons in blamed.items():
        full = sum(map(len, reasons.values())) == ROWS_NAMED
        for reason, rows in reasons.items():
            examples = tell.example_options.count
            named = is_row(table.source, rows[:examples]) if examples else "false"
            yield tell(column, len(rows), reason, named, at_least=full)
