"""Prints what settles a refusal: flags and rules, in a form that can be pasted."""

from rich.console import Console

from migrator.reports.refusal import Refusal


def render_refusal(refusal: Refusal, console: Console) -> None:
    """Print flags and rules for people; the log has the reasons."""
    for line in refusal.failure.settlement.lines():
        console.print(line, markup=False, highlight=False, soft_wrap=True)
