"""Prints what ``check`` found: what the rules change and leave behind, and the findings with their remedies."""

from collections.abc import Iterator

from rich.console import Console
from rich.filesize import decimal

from migrator.reports.check_report import CheckReport
from migrator.reports.console.reason_table import print_next_step, print_reasons, print_settlement
from migrator.runtime.reason import Reason
from migrator.runtime.wording import counted


def render_check(report: CheckReport, console: Console) -> None:
    """Print the report for people."""
    rows = sum(table_check.table_size.rows for table_check in report.table_checks)
    size = decimal(sum(table_check.table_size.bytes for table_check in report.table_checks))
    for skipped in report.skipped:
        console.print(f"not copied: {skipped.name} ({skipped.reason})", markup=False)
    for table_check in report.table_checks:
        for line in report.selection_of(table_check).lines(table_check.table_size.table.name):
            console.print(line, markup=False)
    for change in (change for table_check in report.table_checks for change in table_check.changes):
        console.print(change.line(), markup=False)
    existing = (f"already there: {table}: {table.fate}" for table in report.existing if not table.is_refused)
    for line in (*_finding_lines(report), *existing, *report.notes):
        console.print(line, markup=False)
    if report.failure:
        print_reasons(report.failure.reasons or [Reason("", report.failure.headline)], console)
        console.print()
        print_settlement(report.failure, console)
    verdict = _verdict(report)
    # The words are those of many also where there is one: scripts look for them.
    counts = f"{len(report.table_checks):,} tables, {rows:,} rows, {size}"
    console.print(f"{counts}{verdict}", style="bold", markup=False)
    if report.failure:
        print_next_step(report.failure, console)


def _finding_lines(report: CheckReport) -> Iterator[str]:
    """Yield the lines about values: what asks for nothing by table, all else by column, with its remedy."""
    for table_notice in report.table_notices:
        yield f"worth knowing: {table_notice.line()}"
    for finding in report.findings:
        if finding.refuses or (finding.asks_for_nothing and report.against_target):
            continue  # it is in the table of reasons, or in its table's line
        yield f"worth knowing: {finding.line()}"
        yield from (f"    settled by: {line}" for line in finding.settled_by.splitlines())


def _verdict(report: CheckReport) -> str:
    problems = sum(finding.refuses for finding in report.findings)
    if problems:
        return f": {counted(problems, 'problem')}"
    if report.against_target:
        return ": every value can be carried"
    return "; only the source was checked, because of --source-only"
