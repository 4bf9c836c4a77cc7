"""The numbers that count, computed from what was measured: ratios of medians of runs that took turns."""

import operator
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmark.results import Entry, Run, Session

_LARGE_MEGABYTES: Final = 1000

_MANY: Final = "many"

Of = Callable[[Run], float]
"""What is looked at in a run."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, with what it should be."""

    name: str
    value: float
    low: float
    high: float
    unit: str = ""
    wanted: str = ""

    def __str__(self) -> str:
        """Spell it with its spread."""
        spread = "" if self.low == self.high else f" ({self.low:.2f} to {self.high:.2f})"
        return f"{self.value:.2f}{self.unit}{spread}"


def median(runs: Sequence[Run], of: Of) -> float:
    """Return the median of something over the runs that ended well."""
    return statistics.median(of(run) for run in runs if run.ended_well)


def seconds(run: Run) -> float:
    """Return how long a run took."""
    return run.seconds


def lasted(name: str) -> Of:
    """Return what tells the seconds from a stage's begin to its end, 0 if there was none."""
    return lambda run: run.stages[name].seconds if name in run.stages else 0.0


def cost(name: str) -> Of:
    """
    Return what tells the seconds that a stage would take if it had all hands to itself.

    Where stages overlap, that is the work on it over the number of hands. Of a stage whose work nobody counts it is the
    time from its begin to its end, and 0 if there was none.
    """

    def of(run: Run) -> float:
        if name not in run.stages:
            return 0.0
        stage = run.stages[name]
        return stage.seconds if stage.work is None else stage.work / run.hands

    return of


def middle(entry: Entry) -> Run:
    """Return the run of a contender that took the median time, of two such the quicker; one has to have ended well."""
    done = sorted((run for run in entry.runs if run.ended_well), key=seconds)
    return done[(len(done) - 1) // 2]


def peak_megabytes(entry: Entry) -> float | None:
    """Return the highest peak of a contender, in 10^6 bytes; None if it was not looked at."""
    peaks = [run.peak_bytes for run in entry.runs if run.peak_bytes]
    return max(peaks) / 1e6 if peaks else None


def of_session(session: Session) -> Iterator[Figure]:
    """Yield the figures of one source."""
    ours, in_turn, limit, stream = (session.entry(name) for name in ("migrator", "in-turn", "limit", "stream"))
    if ours is None:
        return
    copy = cost("copy")
    if limit:
        # In a small source, and in one of a single kind, what is the same for any number of rows weighs more.
        wanted = "≤ 1.5" if session.megabytes >= _LARGE_MEGABYTES else "≤ 2.0"
        yield from _middle("whole job / limit", _pairs(ours, seconds, limit, seconds, _over), wanted=wanted)
    if stream:
        yield from _middle("copy / one psql stream", _pairs(ours, copy, stream, seconds, _over), wanted="< 1.0")
    if stream and in_turn:
        alone = _pairs(in_turn, lasted("copy"), stream, seconds, _over)
        yield from _middle("copy with nothing beside it / one psql stream", alone, wanted="< 1.0")
    for name, wanted in (("preflight", "≤ 0.8"), ("verify", "≤ 1.0")):
        yield from _middle(f"{name} / copy", _pairs(ours, cost(name), ours, copy, _over), wanted=wanted)
    if limit and session.shape == _MANY:
        above = [each / session.tables * 1000 for each in _pairs(ours, seconds, limit, seconds, operator.sub)]
        yield from _middle("above the limit, per table", above, " ms", "< 1.5 ms")


def of_growth(small: Session, large: Session) -> Iterator[Figure]:
    """Yield what a row costs in the larger source, relative to the smaller, for ourselves and for the limit."""
    for name in ("migrator", "limit"):
        few, many = small.entry(name), large.entry(name)
        if few and many:
            cost = [median(entry.runs, seconds) / rows for entry, rows in ((few, small.rows), (many, large.rows))]
            title = f"cost per row, {_size(large)} / {_size(small)}: {few.title}"
            yield from _middle(title, [cost[1] / cost[0]], wanted="≤ 1.05" if name == "migrator" else "")


def _pairs(
    ours: Entry, mine: Of, theirs: Entry, their: Of, joined: Callable[[float, float], float | None]
) -> list[float]:
    """Join what two contenders took in the same round, wherever both of them ended well."""
    rounds = zip(ours.runs, theirs.runs, strict=False)
    found = (joined(mine(run), their(other)) for run, other in rounds if run.ended_well and other.ended_well)
    return [value for value in found if value is not None]


def _over(one: float, other: float) -> float | None:
    return one / other if other else None


def _middle(name: str, values: Sequence[float], unit: str = "", wanted: str = "") -> Iterator[Figure]:
    if values:
        yield Figure(name, statistics.median(values), min(values), max(values), unit, wanted)


def _size(session: Session) -> str:
    gigabytes = session.megabytes / 1000
    return f"{gigabytes:g} GB" if gigabytes >= 1 else f"{session.megabytes:g} MB"
