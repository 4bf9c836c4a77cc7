"""Prints what a refresh has done, or would do, a line a table, and about how long it takes."""

from collections.abc import Mapping, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from migrator.monitoring.snapshot import duration
from migrator.reports.refresh_report import RefreshReport, TableRefresh
from migrator.runtime.wording import counted, printable

_HEADINGS = ("table", "rows before", "rows now", "inserted", "updated", "deleted", "way")


def render_refresh(report: RefreshReport, console: Console) -> None:
    """Print what a refresh would do."""
    print_refreshed(report.tables, console)
    for skipped in report.skipped:
        console.print(f"not copied: {skipped.name} ({skipped.reason})", markup=False)
    for note in report.notes:
        console.print(note, markup=False)
    if report.window is not None:
        console.print(
            f"the window: about {duration(report.window.seconds)}, by {report.window.basis}; finding what has changed "
            f"took {duration(report.window.looked_seconds)} just now",
            markup=False,
        )
    console.print(report.headline, style="bold", markup=False)


def print_refreshed(tables: Sequence[TableRefresh], console: Console, equal: Mapping[str, bool] | None = None) -> None:
    """Print a line for each table; with ``equal`` also whether every value is equal. Unchanged tables come last."""
    more = ("every value equal",) if equal is not None else ()
    ordered = sorted(tables, key=lambda table: table.is_unchanged)
    rows = [(*_HEADINGS, *more), *(_cells(table, equal) for table in ordered)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(_cell, row, widths, range(len(row)))).rstrip() for row in rows]
    console.print(Text(lines[0], "bold"), soft_wrap=True)
    console.print(Text("\n".join(lines[1:])), soft_wrap=True)
    anew = [table for table in tables if table.reason]
    for table in anew:
        console.print(f"{printable(str(table.table))} is {table.way}: {table.reason}", markup=False)
    unchanged = sum(table.is_unchanged for table in tables)
    if unchanged:
        console.print(f"{counted(unchanged, 'table')} unchanged", markup=False)


def _cell(text: str, width: int, place: int) -> str:
    """Return a cell as wide as its column: numbers at the right, words at the left."""
    return text.rjust(width) if 0 < place < len(_HEADINGS) - 1 else set_cell_size(text, width)


def _cells(table: TableRefresh, equal: Mapping[str, bool] | None) -> tuple[str, ...]:
    name = str(table.table)
    counts = ("", "", "") if table.is_unchanged else (table.inserted, table.updated, table.deleted)
    before = "" if table.before is None else f"{table.before:,}"
    changes = (f"{count:,}" if isinstance(count, int) else count for count in counts)
    more = (("yes" if equal[name] else "NO") if name in equal else "",) if equal is not None else ()
    return printable(name), before, f"{table.rows:,}", *changes, str(table.way), *more
