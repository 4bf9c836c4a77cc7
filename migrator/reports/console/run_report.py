"""Prints what ``run`` or ``verify`` found, a line a table."""

from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.filesize import decimal

from migrator.reports.console.lines import Lines
from migrator.reports.run_report import Report, TableLine
from migrator.runtime.wording import printable


def render_run(report: Report, console: Lines) -> None:
    """Print the report for people. The table of a refresh needs rich's console."""
    if report.refreshed:
        from migrator.reports.console.refresh_report import print_refreshed  # noqa: PLC0415 - it loads all of rich

        drawn: Any = console
        print_refreshed(report.refreshed, drawn, {line.table: line.verified for line in report.tables})
    elif report.tables:
        _print_tables(report.tables, console)
    for skipped in report.skipped:
        console.print(f"not copied: {skipped.name} ({skipped.reason})", markup=False)
    if report.timings:
        in_order = sorted(report.timings, key=attrgetter("began"))
        stages = " · ".join(f"{timing.stage} {timing.seconds:.2f} s" for timing in in_order)
        overlap = any(timing.began + timing.seconds > following.began for timing, following in pairwise(in_order))
        console.print(f"stages{' (some overlap)' if overlap else ''}: {stages}", markup=False)
    for note in report.notes:
        console.print(note, markup=False)
    name = f"migration {printable(report.migration)}: " if report.migration is not None else ""
    console.print(name + report.headline, style="bold", markup=False)


def _print_tables(lines: Sequence[TableLine], console: Lines) -> None:
    """Print a line for each table, in columns. A `Table` of rich would take a millisecond for each of many lines."""
    rows = [_HEADINGS, *map(_cells, lines)]
    first, *others = (max(map(cell_len, column)) for column in zip(*rows, strict=True))
    heading, *body = ("  ".join([set_cell_size(row[0], first), *map(str.rjust, row[1:], others)]) for row in rows)
    console.print(heading, style="bold", markup=False, highlight=False, emoji=False, soft_wrap=True)
    console.print("\n".join(body), markup=False, highlight=False, emoji=False, soft_wrap=True)


_HEADINGS = ("table", "source rows", "target rows", "sent", "every value equal")


def _cells(line: TableLine) -> tuple[str, ...]:
    sent = "" if line.bytes is None else decimal(line.bytes)
    verified = "yes" if line.verified else "NO"
    return printable(line.table), f"{line.source_rows:,}", f"{line.target_rows:,}", sent, verified
