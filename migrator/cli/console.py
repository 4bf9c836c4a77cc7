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
    A bar for the stage and one for each table under way.

    While bars are shown rich stands in for ``sys.stderr`` and prints above them, so log lines stay whole.
    """

    def __init__(self, console: Console) -> None:
        """Draw on ``console``, which should write to stderr: stdout is the report's."""
        self._console = console
        self._bars: Bars | None = None
        self._rows: dict[str, int] = {}
        self._tasks: dict[str, TaskID] = {}

    @classmethod
    def of_stderr(cls) -> Self:
        """Draw on the process's terminal."""
        return cls(Console(stderr=True))

    def begin(self, stage: str, rows: Mapping[str, int]) -> None:
        """Show the stage's bar; a table's bar appears when its first rows are counted."""
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
        """Move the table's bar and the stage's; a table that is done leaves the screen."""
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
        """Take the bars off the screen."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None


_ENDLESS = 10_000
"""Columns, more than any line has."""


class ReportConsole(Console):
    """
    A console on stdout. Rich would leave with code 1 when the reader goes away, and 1 means a mismatch.

    Only a terminal has a width: in a file or a pipe a line is a line, whole.
    """

    def __init__(self, clean: Callable[[str], str] = str) -> None:
        """Print each text as ``clean`` returns it, without secrets."""
        terminal = sys.stdout.isatty()
        super().__init__(
            file=cast("IO[str]", _Cleaned(clean)), width=None if terminal else _ENDLESS, highlight=terminal
        )

    def on_broken_pipe(self) -> None:
        """Raise the error: the caller decides."""
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
