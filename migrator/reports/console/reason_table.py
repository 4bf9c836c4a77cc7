"""Prints the reasons of a refusal as a table: where, rows, why, an example by key, and the rule that settles it."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from migrator.errors import MigratorError
from migrator.runtime.reason import Reason
from migrator.runtime.wording import printable


def print_reasons(reasons: Sequence[Reason], console: Console) -> None:
    """Print a row for each reason. Columns without any content are left out; wide signs count twice."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    columns = (
        ("where", [reason.where for reason in reasons], "left", 12),
        ("rows", [reason.counted for reason in reasons], "right", 4),
        ("why", [reason.why for reason in reasons], "left", 16),
        ("example", [reason.example for reason in reasons], "left", 12),
        ("rule", [reason.remedy for reason in reasons], "left", 12),
    )
    filled = [column for column in columns if any(column[1])]
    for name, _, justify, least in filled:
        table.add_column(
            name, justify="right" if justify == "right" else "left", overflow="fold", min_width=least, no_wrap=False
        )
    for cells in zip(*(column[1] for column in filled), strict=True):
        table.add_row(*(plain(cell) for cell in cells))
    console.print(table)


def print_next_step(error: MigratorError, console: Console) -> None:
    """Print what to do next: the last line of what a refused command shows."""
    step = error.next_step
    if error.settlement.sections and "rules_file" not in error.facts:
        step = _WITH_RULES
    if step:
        console.print(Text(f"To do: {step}", "bold"))


_WITH_RULES: Final = (
    "Read these lines, choose, and run again with them. `migrator check` with the same settings and "
    "--write-rules migrator.toml writes them into a file."
)


def print_settlement(error: MigratorError, console: Console) -> None:
    """Print the flags and rules that settle an error, to be pasted; a rules file that was written has them."""
    if "rules_file" not in error.facts:
        for line in error.settlement.lines():
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def plain(words: str) -> Text:
    """Return words as text without styles: in a string, rich would take [brackets] for a style."""
    return Text(printable(words))
