"""
Keeps track of what a run is doing now: stages, tables in work, counts, rates, pauses.

Those who do the work tell the tracker, once for a record batch or less often; from any thread. Those who show it (the
live view, the log, the ledger, metrics) ask for a snapshot. A tracker that nobody asks costs a few additions a batch.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from migrator.monitoring.snapshot import Held, Pause, Snapshot, StageProgress, State, TableProgress, TableSpan

MARK_SECONDS: Final = 1.0
"""The least time between two marks from which a rate is measured."""

MARKS: Final = 10
"""The number of marks, so that a rate is about the last ten seconds."""

Count = Callable[[int, int], None]
"""Counts units, and bytes of data."""


def count_nothing(_units: int, _size: int) -> None:
    """Count nothing: for work of which nobody wants to know how far it is."""


NONE: Final[Mapping[str, int]] = MappingProxyType({})


class Tracker:
    """Counts the work of one run. All methods may be called from any thread, and none of them raises or waits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` counts seconds."""
        self._clock = clock
        self._began = clock()
        self.started_at = time.time()
        """The start of the run, in seconds since 1970."""
        self._lock = threading.Lock()
        self._stages: dict[str, _Stage] = {}
        self._steps: list[_Stage] = []
        self._pauses: dict[str, tuple[Pause, float]] = {}
        self._last_pause: tuple[Pause, float] | None = None
        self._held: tuple[Held, float] | None = None
        self._source_changed = False

    @contextmanager
    def stage(self, name: str, *, is_step: bool = False) -> Iterator[None]:
        """
        Mark a stage as under way while the block runs. Stages may overlap.

        With ``is_step`` it is a short action that belongs to no stage, and is forgotten at its end.
        """
        stage, state = _Stage(name, self._clock(), is_step=is_step), State.FAILED
        with self._lock:
            if is_step:
                self._steps.append(stage)
            else:
                self._stages.pop(name, None)  # a stage that runs again is shown where it runs again
                self._stages[name] = stage
        try:
            yield
            state = State.DONE
        finally:
            with self._lock:
                stage.end(state, self._clock())
                self._pauses.pop(name, None)
                if is_step:
                    self._steps.remove(stage)

    def attempt(self, name: str) -> None:
        """Count another try of a stage or step, whose pause is over; ``expect`` begins the count of units again."""
        with self._lock:
            self._pauses.pop(name, None)
            stage = self._stages.get(name)
            if stage and stage.state is State.RUNNING:  # a later step may have the name of a stage
                stage.attempts += 1

    def expect(
        self, stage: str, units: Mapping[str, int], *, unit: str = "rows", done: Mapping[str, int] = NONE
    ) -> None:
        """
        Begin the count of a stage anew: ``units`` has the number for each table, ``done`` what is there already.

        ``unit`` names what is counted, in the plural.
        """
        now = self._clock()
        with self._lock:
            if counted := self._stages.get(stage):
                counted.unit = unit
                counted.count = _Count(sum(units.values()), now, sum(done.values()))
                counted.of = dict(units)
                counted.tables = {}
                counted.left = {table: _Count(units.get(table, 0), now, rows) for table, rows in done.items()}

    def begin_table(self, stage: str, table: str) -> None:
        """Mark a table as in work in a stage. A table in work that was begun before goes on."""
        now = self._clock()
        with self._lock:
            if counted := self._stages.get(stage):
                counted.begin_table(table, now)

    def advance(self, stage: str, table: str, units: int, size: int = 0) -> None:
        """Count ``units`` more rows (or keys) of a table, with ``size`` bytes of data. The table is in work."""
        now = self._clock()
        with self._lock:
            if counted := self._stages.get(stage):
                count = counted.begin_table(table, now)
                if count.of:  # what is read a second time, to find out more, isn't counted twice
                    units = min(units, count.of - count.done)
                count.add(units, size, now)
                counted.count.add(units, size, now)

    def counter(self, stage: str, table: str) -> Count:
        """Return a function that counts units and bytes of a table in a stage."""
        return partial(self.advance, stage, table)

    def finish_table(self, stage: str, table: str) -> None:
        """Mark a table as finished in a stage. Units that were not counted one by one are counted now."""
        now = self._clock()
        with self._lock:
            if counted := self._stages.get(stage):
                count = counted.begin_table(table, now)
                if missing := count.of - count.done:
                    counted.count.add(missing, 0, now)
                    count.done = count.of
                counted.leave_table(table, now)

    def leave_table(self, stage: str, table: str) -> None:
        """Mark a table as no longer in work in a stage, which may come back to it."""
        now = self._clock()
        with self._lock:
            if counted := self._stages.get(stage):
                counted.leave_table(table, now)

    def pause(self, pause: Pause) -> None:
        """Note that a try has failed and that the next one follows after a pause."""
        noted = (pause, self._clock())
        with self._lock:
            self._pauses[pause.what] = noted
            self._last_pause = noted

    def resume(self, what: str) -> None:
        """Note that no next try of ``what`` is waited for."""
        with self._lock:
            self._pauses.pop(what, None)

    def hold(self, held: Held) -> None:
        """Note which state of the source the target holds; it was the source's ``held.behind_seconds`` ago."""
        with self._lock:
            self._held, self._source_changed = (held, self._clock() - held.behind_seconds), True

    def look(self, *, changed: bool) -> None:
        """Note whether the source has changed since the state that the target holds."""
        with self._lock:
            self._source_changed = changed

    def spans(self) -> list[TableSpan]:
        """Return the tables that were or are in work, with what was counted; longer than ``snapshot``, and slower."""
        with self._lock:
            now = self._clock()
            return [
                _span(stage, table, count, now, self._began)
                for stage in self._stages.values()
                for table, count in (*stage.left.items(), *stage.tables.items())
            ]

    def snapshot(self) -> Snapshot:
        """Return what the run is doing now."""
        with self._lock:
            now = self._clock()
            return Snapshot(
                now - self._began,
                tuple(stage.progress(now, self._began) for stage in (*self._stages.values(), *self._steps)),
                tuple(_now(pause, now - since) for pause, since in self._pauses.values()),
                _now(self._last_pause[0], now - self._last_pause[1]) if self._last_pause else None,
                self._held_now(now),
            )

    def _held_now(self, now: float) -> Held | None:
        if self._held is None:
            return None
        held, since = self._held
        return replace(held, behind_seconds=now - since if self._source_changed else 0.0)


def _span(stage: "_Stage", table: str, count: "_Count", now: float, first: float) -> TableSpan:
    seconds = (count.ended or now) - count.began
    return TableSpan(stage.name, table, stage.unit, count.done, count.bytes, count.began - first, seconds)


def _now(pause: Pause, passed: float) -> Pause:
    return replace(pause, seconds=pause.seconds + passed, pause_seconds=max(0.0, pause.pause_seconds - passed))


class _Count:
    """A number of units and bytes, with the marks from which the rate is measured."""

    __slots__ = ("began", "bytes", "done", "ended", "marks", "of")

    def __init__(self, of: int, now: float, done: int = 0) -> None:
        self.of = of
        self.done = done
        self.bytes = 0
        self.began = now
        self.ended: float | None = None
        self.marks = deque([(now, done)], maxlen=MARKS)

    def resume(self, now: float) -> None:
        self.ended = None
        self.marks = deque([(now, self.done)], maxlen=MARKS)

    def add(self, units: int, size: int, now: float) -> None:
        self.done += units
        self.bytes += size
        if now - self.marks[-1][0] >= MARK_SECONDS:
            self.marks.append((now, self.done))

    def rate(self, now: float) -> float | None:
        since, before = self.marks[0]
        return (self.done - before) / (now - since) if self.done > before and now > since else None

    def seconds_left(self, now: float) -> float | None:
        rate = self.rate(now)
        return max(0, self.of - self.done) / rate if rate and self.of else None


class _Stage(Struct):
    """The state of one stage."""

    name: str
    began: float
    is_step: bool = False
    state: State = State.RUNNING
    ended: float | None = None
    attempts: int = 0
    unit: str = ""
    count: _Count = field(default_factory=lambda: _Count(0, 0.0))
    of: dict[str, int] = field(default_factory=dict)
    tables: dict[str, _Count] = field(default_factory=dict)
    """The tables in work."""
    left: dict[str, _Count] = field(default_factory=dict)
    """The tables that were in work."""

    def begin_table(self, table: str, now: float) -> _Count:
        if table not in self.tables:
            count = self.left.pop(table, None) or _Count(self.of.get(table, 0), now)
            count.resume(now)
            self.tables[table] = count
        return self.tables[table]

    def leave_table(self, table: str, now: float) -> None:
        if count := self.tables.pop(table, None):
            count.ended = now
            self.left[table] = count

    def end(self, state: State, now: float) -> None:
        self.state, self.ended = state, now
        for table in list(self.tables):
            self.leave_table(table, now)

    def progress(self, now: float, first: float) -> StageProgress:
        at, count = self.ended or now, self.count
        running = self.state is State.RUNNING
        return StageProgress(
            self.name,
            self.state,
            at - self.began,
            self.began - first,
            self.unit,
            count.done,
            count.of,
            count.bytes,
            count.rate(at) if running else count.done / (at - self.began) if at > self.began and self.unit else None,
            count.seconds_left(at) if running else None,
            max(1, self.attempts),
            tuple(_table_progress(table, count, now) for table, count in self.tables.items()),
            self.is_step,
        )


def _table_progress(table: str, count: _Count, now: float) -> TableProgress:
    return TableProgress(
        table, count.done, count.of, count.bytes, count.rate(now), count.seconds_left(now), now - count.began
    )
