"""Prints how two databases differ: examples, and numbers of rows."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from migrator.reports.console.reason_table import plain, print_next_step
from migrator.reports.difference import DifferenceReport
from migrator.runtime.wording import quoted


def render_difference(report: DifferenceReport, console: Console) -> None:
    """Print the report for people. Its values are already shortened or masked by the verification."""
    facts: Any = report.failure.facts
    differing = facts.get("differences", ())
    if any(table["examples"] for table in differing):
        console.print(_difference_lines(differing))
    for table in differing:
        rows = ", ".join(f"{count} {kind}" for kind, count in table["rows"].items())
        columns = ", ".join(f"{column} {count}" for column, count in table["columns"].items())
        counted = f"{rows or 'none at a second look'}" + (f" (by column: {columns})" if columns else "")
        sizes = f"{table['source_rows']:,} rows in the source, {table['target_rows']:,} in the target"
        console.print(f"{table['table']}: {sizes}; {counted}", markup=False)
    for line in facts.get("schema", ()):
        console.print(line, markup=False)
    console.print("NOT equal", style="bold", markup=False)
    print_next_step(report.failure, console)


def _difference_lines(differing: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("table", "key", "column", "source", "target", "kind"):
        table.add_column(name, overflow="fold")
    for example in (example for entry in differing for example in entry["examples"]):
        key = ", ".join(f"{name} = {value}" for name, value in example["key"].items())
        values = [quoted(example[end]) if "column" in example else "" for end in ("source", "target")]
        times = f" ({example['times']} times)" if "times" in example else ""
        cells = (example["table"], key, example.get("column", ""), *values, example["kind"] + times)
        table.add_row(*map(plain, cells))
    return table
