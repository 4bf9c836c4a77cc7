"""The numbers that count, computed from what was measured: ratios of medians of runs that took turns."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmark.results import Entry, Run, Session


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


def median(runs: Sequence[Run], of: Callable[[Run], float]) -> float:
    """Return the median of something over the runs that ended well."""
    return statistics.median(of(run) for run in runs if run.ended_well)


def seconds(run: Run) -> float:
    """Return how long a run took."""
    return run.seconds


def stage(name: str) -> Callable[[Run], float]:
    """Return what tells the seconds of a stage."""
    return lambda run: run.stages.get(name, 0.0)


def peak_megabytes(entry: Entry) -> float | None:
    """Return the highest peak of a contender, in 10^6 bytes; None if it was not looked at."""
    peaks = [run.peak_bytes for run in entry.runs if run.peak_bytes]
    return max(peaks) / 1e6 if peaks else None


def of_session(session: Session) -> Iterator[Figure]:
    """Yield the figures of one source."""
    ours, limit, stream = (session.entry(name) for name in ("migrator", "limit", "stream"))
    if ours is None:
        return
    if limit:
        yield _ratio("whole job / limit", ours.runs, seconds, limit.runs, seconds, "≤ 1.5")
    if stream:
        yield _ratio("copy / one psql stream", ours.runs, stage("copy"), stream.runs, seconds, "< 1.0")
    for name in ("preflight", "verify"):
        yield _ratio(f"{name} / copy", ours.runs, stage(name), ours.runs, stage("copy"))
    if limit and session.tables > 1:
        yield _overhead(session, ours, limit)


def of_growth(small: Session, large: Session) -> Iterator[Figure]:
    """Yield what a row costs in the larger source, relative to the smaller, for ourselves and for the limit."""
    for name in ("migrator", "limit"):
        few, many = small.entry(name), large.entry(name)
        if few and many:
            each = [median(entry.runs, seconds) / rows for entry, rows in ((few, small.rows), (many, large.rows))]
            value = each[1] / each[0]
            title = f"cost per row, {_size(large)} / {_size(small)}: {few.title}"
            yield Figure(title, value, value, value, wanted="≤ 1.05" if name == "migrator" else "")


def _size(session: Session) -> str:
    gigabytes = session.megabytes / 1000
    return f"{gigabytes:g} GB" if gigabytes >= 1 else f"{session.megabytes:g} MB"


def _overhead(session: Session, ours: Entry, limit: Entry) -> Figure:
    pairs = [
        (mine.seconds - their.seconds) / session.tables * 1000
        for mine, their in zip(ours.runs, limit.runs, strict=False)
    ]
    wanted = "< 2 ms" if session.shape == "many" else ""
    return Figure("above the limit, per table", statistics.median(pairs), min(pairs), max(pairs), " ms", wanted)


def _ratio(  # noqa: PLR0913, PLR0917 - two of the same
    name: str,
    ours: Sequence[Run],
    mine: Callable[[Run], float],
    theirs: Sequence[Run],
    their: Callable[[Run], float],
    wanted: str = "",
) -> Figure:
    pairs = [mine(run) / their(other) for run, other in zip(ours, theirs, strict=False) if their(other)]
    return Figure(name, statistics.median(pairs), min(pairs), max(pairs), wanted=wanted)
