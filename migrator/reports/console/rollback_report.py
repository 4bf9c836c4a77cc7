"""Prints what ``rollback`` did."""

from rich.console import Console
from rich.table import Table

from migrator.reports.rollback_report import RollbackReport


def render_rollback(report: RollbackReport, console: Console) -> None:
    """Print a line a table, the forms that not all old values have, the notes, and the headline."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("table", overflow="fold")
    for name in ("unchanged", "changed", "new", "deleted"):
        table.add_column(name, justify="right")
    for line in report.tables:
        counts = (line.unchanged, line.changed, line.added, line.deleted)
        table.add_row(line.table, *(f"{count:,}" for count in counts))
    console.print(table)
    for text in report.doubtful_forms:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    console.print(report.headline, markup=False, highlight=False, soft_wrap=True)
