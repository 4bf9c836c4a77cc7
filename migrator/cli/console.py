"""Draws on a terminal with rich: the report for people."""

import sys
from collections.abc import Callable
from io import TextIOBase
from typing import IO, cast

from rich.console import Console

_ENDLESS = 10_000
"""A width in columns that no line reaches."""


class ReportConsole(Console):
    """
    A console on stdout that leaves the handling of a broken pipe to the caller.

    Rich itself would exit with 1 when the reader closes the pipe, and 1 means a mismatch. Lines are wrapped only on a
    terminal: in a file or a pipe each line stays whole.
    """

    def __init__(self, clean: Callable[[str], str] = str) -> None:
        """Print each text as ``clean`` returns it; ``clean`` removes the secrets."""
        terminal = sys.stdout.isatty()
        super().__init__(
            file=cast("IO[str]", _Cleaned(clean)), width=None if terminal else _ENDLESS, highlight=terminal
        )

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, for the caller to handle."""
        raise BrokenPipeError


class _Cleaned(TextIOBase):
    """Writes to the object that ``sys.stdout`` is at that moment. A function cleans each text first."""

    def __init__(self, clean: Callable[[str], str]) -> None:
        self._clean = clean

    @property
    def encoding(self) -> str:  # type: ignore[override] # io.pyi declares it as writable, which it isn't
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
