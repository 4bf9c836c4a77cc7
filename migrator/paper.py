"""What reports for people are printed on."""

import sys

from rich.console import Console

_ENDLESS = 10_000
"""Columns, more than any line has."""


class Paper(Console):
    """
    A console on stdout. Rich would leave with code 1 when the reader goes away, and 1 means a mismatch.

    Only a terminal has a width: in a file or a pipe a line is a line, whole.
    """

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        super().__init__(width=None if terminal else _ENDLESS, highlight=terminal)

    def on_broken_pipe(self) -> None:
        """Let whoever prints decide."""
        raise BrokenPipeError
