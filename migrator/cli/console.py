"""Draws on a terminal with rich: the report for people, and progress bars."""

import sys
from collections.abc import Callable, Mapping
from io import TextIOBase
from typing import IO, Self, cast

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class ProgressBars:
    """
    Draws one bar for the stage and one bar for each table that is being processed.

    While bars are shown, rich replaces ``sys.stderr`` and prints above the bars, so log lines stay whole.
    """

    def __init__(self, console: Console) -> None:
        """Draw on ``console``. It should write to stderr, because stdout is for the report."""
        self._console = console
        self._bars: Bars | None = None
        self._rows: dict[str, int] = {}
        self._tasks: dict[str, TaskID] = {}

    @classmethod
    def of_stderr(cls) -> Self:
        """Return progress bars that are drawn on stderr."""
        return cls(Console(stderr=True))

    def begin(self, stage: str, rows: Mapping[str, int]) -> None:
        """Show the stage's bar. A table's bar appears when its first rows are counted."""
        self.finish()
        self._rows = dict(rows)
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
            TextColumn("{task.fields[size_text]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks = {"": self._bars.add_task(stage, total=sum(rows.values()), bytes=0, size_text="")}
        self._bars.start()

    def advance(self, table: str, rows: int, bytes: int = 0) -> None:  # noqa: A002 - the word of log and ledger
        """Advance the table's bar and the stage's bar. The bar of a finished table disappears."""
        bars = self._bars
        if bars is None:
            return
        if table not in self._tasks:
            self._tasks[table] = bars.add_task(table, total=self._rows.get(table, 0), bytes=0, size_text="")
        for name in (table, ""):
            task = next(task for task in bars.tasks if task.id == self._tasks[name])
            sent = task.fields["bytes"] + bytes
            bars.update(task.id, advance=rows, bytes=sent, size_text=decimal(sent) if sent else "")
            if name and task.finished:
                bars.update(task.id, visible=False)

    def finish(self) -> None:
        """Remove the bars from the screen."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None


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
