"""
What ``migrator run --refresh`` takes, next to the first run: the same source with a part of its rows changed.

Each round begins with a first run into a fresh database. Copies of that database are then refreshed, one for each part
of changed rows, so first run and refreshes take turns. Every result is held to rows of the source by no code of ours.
"""

import asyncio
import json
import shutil
import sqlite3
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmark import results
from benchmark.contenders import Bench
from benchmark.contenders.migrator import load
from benchmark.dataset import Dataset, Kind, dataset
from benchmark.measure import Wishes
from benchmark.reference import NotProved, compare_samples
from benchmark.results import Stage, machine
from benchmark.server import Server

COMPARE: Final = ("all", "changed")
"""Which rows a refresh compares: every row, or those that may have changed."""

PERCENTAGES: Final = (0.0, 0.1, 1.0, 10.0)
"""How many of a hundred rows are changed, unless asked otherwise."""

FOLDER: Final = results.FOLDER / "refresh"


@dataclass(frozen=True, slots=True)
class Timed:
    """One run."""

    seconds: float
    cpu_seconds: float
    """Of the job and of the server."""
    stages: dict[str, Stage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changed:
    """A part of the rows that was changed, and the refreshes after that, one a round."""

    percent: float
    rows: int
    """Rows that came, went or got other values."""
    runs: tuple[Timed, ...]
    compare: str = "all"
    """What the flag ``--compare`` said."""


@dataclass(frozen=True, slots=True)
class RefreshSession:
    """One source, its first runs, one a round, and its refreshes."""

    shape: str
    megabytes: float
    bytes: int
    rows: int
    machine: str
    server: str
    first: tuple[Timed, ...]
    changed: tuple[Changed, ...]

    @property
    def label(self) -> str:
        """The source in a few words."""
        return f"{self.shape}, {self.bytes / 1e6:,.0f} MB, {self.rows:,} rows"

    def ratios(self, changed: Changed, *, cpu: bool = False) -> list[float]:
        """Return what each refresh took, relative to the first run of the same round."""
        pairs = list(zip(changed.runs, self.first, strict=True))
        if cpu:
            return [run.cpu_seconds / first.cpu_seconds for run, first in pairs]
        return [run.seconds / first.seconds for run, first in pairs]


def change(connection: sqlite3.Connection, kind: Kind, count: int, percent: float) -> int:
    """
    Change so many of a hundred rows of a table, all over it; return how many.

    Eight of ten get the values of another row, one is deleted, and one is new. Rows that others may refer to stay.
    """
    if not percent:
        return 0
    names = ", ".join(name for name, _ in kind.source_columns if name != "id")
    step = max(1, round(100 / percent))
    updated = connection.execute(
        f"UPDATE {kind.name} SET ({names}) = (SELECT {kind.row} FROM (SELECT {kind.name}.id + 1 AS n)) "
        f"WHERE id % {step} = 0 AND id / {step} % 10 BETWEEN 1 AND 8"
    ).rowcount
    if kind.name == "sensors":
        return updated
    gone = connection.execute(f"DELETE FROM {kind.name} WHERE id % {step} = 0 AND id / {step} % 10 = 9").rowcount
    new = connection.execute(
        f"WITH RECURSIVE numbers(n) AS (SELECT {count} + 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count} + ?) "
        f"INSERT INTO {kind.name} SELECT n, {kind.row} FROM numbers WHERE ? > 0",
        (gone, gone),
    ).rowcount
    return updated + gone + max(new, 0)


@dataclass(slots=True)
class _Rounds:
    """Who measures, with what has been seen so far."""

    bench: Bench
    console: Console
    first: list[Timed] = field(default_factory=list)
    refreshed: dict[tuple[float, str], list[Timed]] = field(default_factory=dict)
    rows: dict[float, int] = field(default_factory=dict)

    def round(self, turn: int, percentages: Sequence[float]) -> None:
        """Run once for the first time, and refresh a copy of that for each part of changed rows."""
        bench, original = self.bench, self.bench.folder / "original.db"
        url = bench.server.fresh_database(bench.data.target_schema())
        first = self._timed(url, "--rehearsal")
        self._say(turn, "first run", first)
        self.first += [first] if turn else []
        shift = turn % len(percentages)
        for percent in (*percentages[shift:], *percentages[:shift]):
            with closing(sqlite3.connect(bench.source)) as connection:
                connection.execute("PRAGMA synchronous = OFF")
                self.rows[percent] = sum(change(connection, *of, percent) for of in bench.data.counts)
                connection.commit()
            for compare in COMPARE:
                copy = bench.server.copy_of(url)
                refreshed = self._timed(copy, "--refresh", "--compare", compare)
                asyncio.run(compare_samples(bench.source, bench.data, copy))
                bench.server.drop(copy)
                self._say(turn, f"{percent:g} % changed, {compare} compared", refreshed)
                self.refreshed.setdefault((percent, compare), [])
                self.refreshed[percent, compare] += [refreshed] if turn else []
            shutil.copyfile(original, bench.source)  # the file itself stays: another file would be another source
        bench.server.drop(url)

    def _timed(self, url: str, *flags: str) -> Timed:
        before = self.bench.server.cpu_seconds()
        outcome = load(self.bench, url, *flags)
        if outcome.exit_code != 0:
            raise NotProved(f"{' '.join(flags)}: exit code {outcome.exit_code}: {outcome.said}")
        cpu = outcome.cpu_seconds + self.bench.server.cpu_seconds() - before
        return Timed(outcome.seconds, cpu, dict(outcome.stages))

    def _say(self, turn: int, what: str, run: Timed) -> None:
        self.console.print(f"round {turn}: {what} {run.seconds:.2f} s, {run.cpu_seconds:.2f} s CPU", highlight=False)


def measure_refresh(shape: str, megabytes: float, percentages: Sequence[float], wishes: Wishes) -> RefreshSession:
    """Make a source, measure the rounds, and return what was seen. Raises NotProved for a result that isn't right."""
    console = Console(stderr=True)
    data: Dataset = dataset(shape, megabytes, wishes.tables)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=wishes.folder) as name, Server() as server:
        folder = Path(name).absolute()
        bench = Bench(server, folder, folder / "source.db", data, wishes.timeout_seconds, wishes.jobs, wishes.duckdb)
        console.print(f"making a source: {shape}, {megabytes:g} MB")
        size = data.make_source(bench.source)
        shutil.copyfile(bench.source, folder / "original.db")
        rounds = _Rounds(bench, console)
        for turn in range(0 if wishes.warm_up else 1, wishes.runs + 1):
            rounds.round(turn, percentages)
        changed = tuple(
            Changed(percent, rounds.rows[percent], tuple(rounds.refreshed[percent, compare]), compare)
            for compare in COMPARE
            for percent in percentages
        )
        about = machine(wishes.note)
        return RefreshSession(shape, megabytes, size, data.rows, about, server.version, tuple(rounds.first), changed)


def save(session: RefreshSession, folder: Path = FOLDER) -> Path:
    """Write a session to its file, over the one before of the same shape and size."""
    folder.mkdir(exist_ok=True, parents=True)
    path = results.path_of(session.shape, session.megabytes, folder)
    path.write_text(json.dumps(asdict(session), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def sessions(folder: Path = FOLDER) -> list[RefreshSession]:
    """Return all that was saved, by shape and size."""
    found = (_session(json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob("*.json"))
    return sorted(found, key=lambda session: (session.shape, session.megabytes))


def _session(told: dict[str, Any]) -> RefreshSession:
    changed = tuple(Changed(**{**one, "runs": tuple(map(_timed, one["runs"]))}) for one in told["changed"])
    return RefreshSession(**{**told, "first": tuple(map(_timed, told["first"])), "changed": changed})


def _timed(told: dict[str, Any]) -> Timed:
    return Timed(**{**told, "stages": {name: Stage(**stage) for name, stage in told["stages"].items()}})


# --- What is shown ---

HEAD: Final = ("compared", "rows changed", "seconds", "refresh / first run", "CPU seconds", "the same in CPU", "wanted")


def cells(session: RefreshSession) -> Iterator[tuple[str, ...]]:
    """Yield the lines of the table of a session: the first run, then each part of changed rows."""
    yield ("", "first run", _seconds(session.first), "", _cpu(session.first), "", "")
    for changed in session.changed:
        name = f"{changed.percent:g} %" + (f" ({changed.rows:,})" if changed.rows else "")
        wanted = "≤ 0.30" if changed.percent <= PERCENTAGES[1] else "≤ 1.00"
        spread, cpu = _spread(session.ratios(changed)), _spread(session.ratios(changed, cpu=True))
        yield (changed.compare, name, _seconds(changed.runs), spread, _cpu(changed.runs), cpu, wanted)


def _seconds(runs: Sequence[Timed]) -> str:
    return f"{statistics.median(run.seconds for run in runs):.2f}"


def _cpu(runs: Sequence[Timed]) -> str:
    return f"{statistics.median(run.cpu_seconds for run in runs):.2f}"


def _spread(values: Sequence[float]) -> str:
    spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.2f}{spread}"


def stage_lines(session: RefreshSession) -> Iterator[str]:
    """Yield a sentence for the first run and each refresh: where the time goes, in the run in the middle."""
    refreshes = ((f"{one.compare}, {one.percent:g} %", one.runs) for one in session.changed)
    for name, runs in (("first run", session.first), *refreshes):
        middle = sorted(runs, key=lambda run: run.seconds)[(len(runs) - 1) // 2]
        told = ", ".join(f"{stage} {took.seconds:.2f}" for stage, took in middle.stages.items())
        yield f"{name}: {told}"


def show(session: RefreshSession, console: Console) -> None:
    """Print a session."""
    console.print(f"\n{session.label}; {session.server}; {session.machine}", highlight=False, markup=False)
    table = Table(*HEAD, box=None)
    for line in cells(session):
        table.add_row(*line)
    console.print(table, markup=False)
    for sentence in stage_lines(session):
        console.print(sentence, highlight=False, markup=False)
