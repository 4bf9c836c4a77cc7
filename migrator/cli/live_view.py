"""
Draws on a terminal what a run is doing: a line for each stage, and one for each table in work.

The view reads the tracker a few times a second. It fits 80 columns, and at its end the table of stages stays.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any, Final, Self

from msgspec import Struct
from rich.console import Console, ConsoleOptions, ConsoleRenderable, Group, RenderableType, RenderHook, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.segment import ControlType, Segment
from rich.table import Table
from rich.text import Text

from migrator.monitoring.heartbeat import largest
from migrator.monitoring.snapshot import Snapshot, StageProgress, State, TableProgress
from migrator.monitoring.ticker import Ticker
from migrator.monitoring.tracker import Tracker

REFRESH_PER_SECOND: Final = 4

MOST_TABLES: Final = 6
"""The number of tables that are drawn for each stage: those with the most left."""

NAME_COLUMNS: Final = 19
BAR_COLUMNS: Final = 6
COLUMNS: Final = {"": 4, "rows": 11, "MB": 8, "rows/s": 9, "time": 7, "left": 6}
"""All columns together are 77 wide, and don't move while numbers grow."""

MARGIN: Final = 3
"""The columns at the end of a line that stay free. The terminal writes ``^C`` there; in the next line it would move the
cursor, from which the view is drawn anew."""

MARKS: Final = {State.DONE: ("done", "green"), State.FAILED: ("failed", "red")}


class Screen(Console):
    """
    A console on which one thread at a time draws or prints.

    Rich moves the cursor up by the height of the view that was drawn last. Without the lock, a log line of another
    thread could come between that moment and the drawing, and the view would overwrite the line.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - rich's own
        """Take rich's options."""
        self._drawing = RLock()
        super().__init__(**options)

    def __enter__(self) -> Self:
        """Begin to collect what is written together."""
        self._drawing.acquire()
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Write it."""
        try:
            super().__exit__(*error)
        finally:
            self._drawing.release()


class Reflow(RenderHook):
    """
    Erases the view before it is drawn anew in a terminal that has become narrower.

    Most terminals then wrap the lines that they show, so the view takes more lines than rich remembers.
    """

    def __init__(self, screen: Screen) -> None:
        """``screen`` is drawn on."""
        self._screen = screen
        self._width = screen.width
        self._drawn = (0, 0)

    def measured(self, view: RenderableType) -> RenderableType:
        """Return the view; when it is drawn, its size is remembered."""
        return _Measured(view, self._remember)

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Put what erases the view in front of what is drawn, if that is necessary."""
        before, self._width = self._width, self._screen.width
        columns, lines = self._drawn
        if not lines or self._width >= min(before, columns):
            return renderables
        up = lines * -(-columns // self._width) - 1
        return [_Codes("\r" + (f"\x1b[{up}A" if up else "") + "\x1b[J" + "\n" * (lines - 1)), *renderables]

    def _remember(self, columns: int, lines: int) -> None:
        self._drawn = (columns, lines)


class _Measured(Struct, frozen=True):
    view: RenderableType
    tell: Callable[[int, int], None]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self.view, options, pad=False)
        self.tell(max((Segment.get_line_length(line) for line in lines), default=0), len(lines))
        for line in lines:
            yield from line
            yield Segment.line()


class _Codes(Struct, frozen=True):
    text: str

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        yield Segment(self.text, None, [(ControlType.CARRIAGE_RETURN,)])


class LiveView:
    """Draws the snapshots of a tracker. Log lines are printed above the view and stay whole."""

    def __init__(self, tracker: Tracker, screen: Screen | None = None) -> None:
        """Draw on ``screen``, by default on stderr, because stdout is for the report."""
        self._tracker = tracker
        self._screen = screen or Screen(stderr=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw while the block runs. Afterwards the table of the stages stays and the cursor is shown."""
        reflow = Reflow(self._screen)
        live = Live(
            console=self._screen,
            auto_refresh=False,  # its thread takes the locks in another order than a thread that prints
            redirect_stdout=sys.stdout.isatty(),
            get_renderable=lambda: reflow.measured(self._render()),
        )

        def refresh() -> None:
            with self._screen:
                live.refresh()

        with self._screen:
            live.start(refresh=True)
            self._screen.push_render_hook(reflow)  # after that of rich, whose cursor it moves
        try:
            with Ticker(refresh, 1 / REFRESH_PER_SECOND):
                yield
        finally:
            with self._screen:
                self._screen.pop_render_hook()
                live.stop()

    def _render(self) -> RenderableType:
        return render(self._tracker.snapshot(), max(4, self._screen.height - 2))


def render(snapshot: Snapshot, lines: int) -> RenderableType:
    """Return the view of a moment in at most ``lines`` lines, if the stages alone don't need more."""
    if not snapshot.stages:
        return Group()
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("stage", width=NAME_COLUMNS, no_wrap=True, overflow="ellipsis")
    table.add_column("", width=BAR_COLUMNS, no_wrap=True)
    for name, width in COLUMNS.items():
        table.add_column(name, justify="right", width=width, no_wrap=True)
    room = lines - 1 - len(snapshot.stages) - len(snapshot.pauses)
    each = max(0, min(MOST_TABLES, room // max(1, len(snapshot.under_way))))
    for stage in snapshot.stages:
        table.add_row(*_stage_row(stage))
        tables = largest(stage)
        for in_work in tables[:each]:
            table.add_row(*_table_row(in_work, stage.unit), style="dim")
    lines_of_pauses = (
        Text(pause.line(), style="yellow", no_wrap=True, overflow="ellipsis") for pause in snapshot.pauses
    )
    return Group(table, *(Padding(line, (0, MARGIN, 0, 0)) for line in lines_of_pauses))


def _stage_row(stage: StageProgress) -> tuple[RenderableType, ...]:
    if stage.state in MARKS:
        words, style = MARKS[stage.state]
        mark: RenderableType = Text(words, style=style)
    else:
        mark = _bar(stage.fraction)
    name = Text(stage.stage + (f" (try {stage.attempts})" if stage.attempts > 1 else ""))
    percent = _percent(stage.fraction) if stage.state is State.RUNNING else Text()
    return (name, mark, percent, *_numbers(stage, stage.unit), Text(clock(stage.seconds)), _left(stage))


def _table_row(table: TableProgress, unit: str) -> tuple[RenderableType, ...]:
    fraction = min(table.done / table.of, 0.99) if table.of else None
    name, seconds = Text(f"  {table.table}"), Text(clock(table.seconds))
    return (name, _bar(fraction), _percent(fraction), *_numbers(table, unit), seconds, _left(table))


def _percent(fraction: float | None) -> Text:
    return Text("" if fraction is None else f"{int(fraction * 100)} %")


def clock(seconds: float) -> str:
    """Return a time in the form of a stopwatch, ``0:31`` or ``1:12:30``, which needs the same room all the time."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar(fraction: float | None) -> ProgressBar:
    return ProgressBar(total=None if fraction is None else 1.0, completed=fraction or 0.0, width=BAR_COLUMNS)


def _numbers(count: StageProgress | TableProgress, unit: str) -> tuple[Text, Text, Text]:
    if not unit:
        return Text(), Text(), Text()
    return (
        Text(f"{count.done:,}" + ("" if unit == "rows" else f" {unit}")),
        Text(f"{count.bytes / 1e6:,.1f}" if count.bytes else ""),
        Text(f"{count.rate:,.0f}" if count.rate and unit == "rows" else ""),
    )


def _left(count: StageProgress | TableProgress) -> Text:
    return Text(clock(count.seconds_left) if count.seconds_left is not None else "")
