"""What reports for people are printed on."""

import sys
from collections.abc import Callable
from io import TextIOBase
from typing import IO, cast

from rich.console import Console

_ENDLESS = 10_000
"""Columns, more than any line has."""


class Paper(Console):
    """
    A console on stdout. Rich would leave with code 1 when the reader goes away, and 1 means a mismatch.

    Only a terminal has a width: in a file or a pipe a line is a line, whole.
    """

    def __init__(self, clean: Callable[[str], str] = str) -> None:
        """Print what is left of a text when ``clean`` has taken secrets out of it."""
        terminal = sys.stdout.isatty()
        super().__init__(
            file=cast("IO[str]", _Cleaned(clean)), width=None if terminal else _ENDLESS, highlight=terminal
        )

    def on_broken_pipe(self) -> None:
        """Let whoever prints decide."""
        raise BrokenPipeError


class _Cleaned(TextIOBase):
    """The ``sys.stdout`` of the moment; what is written goes through a function first."""

    def __init__(self, clean: Callable[[str], str]) -> None:
        self._clean = clean

    @property
    def encoding(self) -> str:  # type: ignore[override] # io.pyi has it as something to write to, which it isn't
        return sys.stdout.encoding

    def write(self, text: str, /) -> int:
        sys.stdout.write(self._clean(text))
        return len(text)

    def flush(self) -> None:
        sys.stdout.flush()

    def isatty(self) -> bool:
        return sys.stdout.isatty()

    def fileno(self) -> int:
        return sys.stdout.fileno()
