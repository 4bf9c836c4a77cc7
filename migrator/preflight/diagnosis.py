"""
Diagnoses a table that did not pass the dry run: finds which values can't be carried, in how many rows, and why.

The diagnosis has two passes. Both work on whole columns and not on Python objects. The first pass is one statement of
aggregates inside SQLite: storage classes, ranges, missing values. The second pass (``bisection``) tries the copier's
own conversion on the columns whose content the conversion reads, until the refused rows are known. Only these rows are
looked at one by one.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from migrator.findings.examples import FindingBuilder, is_row
from migrator.findings.finding import Change, Finding
from migrator.findings.sample import MOST_ROWS
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.preflight.bisection import ROWS_NAMED, BadRows, Bisection
from migrator.source.aggregates import count_matching
from migrator.types import Problem, ProblemCode


class Diagnosis(Struct, frozen=True):
    """The findings, and those changes by rules that only a conversion can show."""

    findings: tuple[Finding, ...] = ()
    changes: tuple[Change, ...] = ()


NOTHING = Diagnosis()


def diagnose(bisection: Bisection, builder: FindingBuilder) -> Diagnosis:
    """
    Return every problem of a table, and the values that lose a part because a rule allows it.

    ``bisection`` names the table, and ``builder`` makes the findings. Blocks while the table is scanned, at most twice.
    Raises SourceUnreadable.
    """
    table = bisection.table
    checks = [(column, problem) for column in table.compared for problem in problems_of(column)]
    counts = count_matching(builder.session, table.source, [problem.condition for _, problem in checks])
    met = [(column, problem, rows) for (column, problem), rows in zip(checks, counts, strict=True) if rows]
    known: dict[ColumnPlan, list[str]] = {}
    for column, problem, _ in met:
        known.setdefault(column, []).append(problem.condition)
    bad_rows, lost = bisection.find_bad_rows(known)
    findings = [builder.build(column, rows, problem) for column, problem, rows in met]
    changes = tuple(change(table, column, rows) for column, rows in lost.items() if rows)
    return Diagnosis((*findings, *_findings(builder, bad_rows)), changes)


def change(table: TablePlan, column: ColumnPlan, rows: int) -> Change:
    """Return the change that a column's rule makes to ``rows`` values."""
    return Change(table.source.name, column.source.name, rows, column.rule.words())


def problems_of(column: ColumnPlan) -> tuple[Problem, ...]:
    """Return the problems that SQLite can look for in a column, with a missing value where one must be."""
    problems = column.problems
    if column.target.not_null and not column.target.generated:
        reason, condition = "is missing and the target's column is NOT NULL", f"{column.source_expression} IS NULL"
        problems += (Problem(ProblemCode.MISSING_VALUE, reason, condition),)
    return problems


def _findings(builder: FindingBuilder, bad_rows: BadRows) -> Iterator[Finding]:
    for column, problems in bad_rows.items():
        is_full = sum(map(len, problems.values())) == ROWS_NAMED
        for problem, rows in problems.items():
            condition = is_row(builder.table, rows[: max(builder.example_options.count, MOST_ROWS + 1)])
            yield builder.build(column, len(rows), replace(problem, condition=condition), at_least=is_full)
