"""Prints a refusal: its reasons as a table, flags and rules that settle it, to be pasted, and what to do next."""

from rich.console import Console

from migrator.reports.console.reason_table import print_next_step, print_reasons, print_settlement
from migrator.reports.refusal import Refusal
from migrator.runtime.reason import Reason


def render_refusal(refusal: Refusal, console: Console) -> None:
    """Print the refusal for people."""
    error = refusal.failure
    print_reasons(error.reasons or [Reason("", error.headline)], console)
    console.print()
    print_settlement(error, console)
    print_next_step(error, console)
