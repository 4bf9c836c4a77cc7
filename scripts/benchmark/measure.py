"""Lets the contenders run in turn, several times, and holds every result to the reference."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmark import trap
from benchmark.contenders import CONTENDERS, Bench, Contender
from benchmark.contents import shortcomings
from benchmark.dataset import dataset
from benchmark.reference import Reference, make_reference
from benchmark.results import Entry, Run, Session, machine
from benchmark.server import Server


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for."""

    names: Sequence[str]
    tables: int
    runs: int
    warm_up: bool
    timeout_seconds: float
    folder: Path | None
    note: str
    jobs: int | None
    duckdb: str


def measure(shape: str, megabytes: float, wishes: Wishes, console: Console) -> Session:
    """Make a source, run everybody on it, and return all that was seen."""
    data = dataset(shape, megabytes, wishes.tables)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=wishes.folder) as name, Server() as server:
        folder = Path(name).absolute()
        bench = Bench(server, folder, folder / "source.db", data, wishes.timeout_seconds, wishes.jobs, wishes.duckdb)
        console.print(f"making a source: {shape}, {megabytes:g} MB")
        size = data.make_source(bench.source)
        console.print(f"making the reference: {size / 1e6:,.0f} MB, {data.rows:,} rows, {len(data.kinds):,} tables")
        reference = make_reference(bench)
        contenders = [contender for contender in CONTENDERS.values() if contender.name in wishes.names]
        missing = {contender.name: contender.missing(bench) for contender in contenders}
        running = [contender for contender in contenders if not missing[contender.name]]
        found = _rounds(bench, reference, running, wishes, console)
        trapped = trap.set_up(bench, reference, running) if shape == trap.SHAPE else {}
        entries = tuple(
            Entry(
                *(one.name, one.title, one.note, one.is_tool, missing[one.name]),
                runs=tuple(found.get(one.name, ())),
                trap=trapped.get(one.name, ""),
            )
            for one in contenders
        )
        return Session(
            *(shape, megabytes, size, data.rows, len(data.kinds)), machine(wishes.note), server.version, entries
        )


def _rounds(
    bench: Bench, reference: Reference, contenders: Sequence[Contender], wishes: Wishes, console: Console
) -> dict[str, list[Run]]:
    """
    Run everybody in turn, each round beginning with another one.

    The first round only warms caches, but who fails in it is not run again.
    """
    found: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    failed: set[str] = set()
    for turn in range(0 if wishes.warm_up else 1, wishes.runs + 1):
        first = turn % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            if contender.name in failed:
                continue
            run = _run(bench, reference, contender)
            console.print(f"round {turn}: {contender.name} {_told(run)}", highlight=False)
            if not run.ended_well:
                failed.add(contender.name)
            if turn or not run.ended_well:
                found[contender.name].append(run)
    return found


def _run(bench: Bench, reference: Reference, contender: Contender) -> Run:
    url = bench.server.fresh_database(contender.schema(bench.data))
    outcome = contender.load(bench, url)
    wrong = shortcomings(url, reference.contents, with_keys=contender.leaves_keys)
    bench.server.drop(url)
    said = bench.without_places(outcome.said, url)
    return Run(
        *(outcome.seconds, outcome.exit_code, outcome.peak_bytes, outcome.stages, said, tuple(wrong), outcome.hands)
    )


def _told(run: Run) -> str:
    end = "" if run.ended_well else f", exit code {run.exit_code}: {run.said}"
    peak = f", {run.peak_bytes / 1e6:.0f} MB" if run.peak_bytes else ""
    return f"{run.seconds:.2f} s{peak}{end}" + "".join(f"\n    wrong: {wrong}" for wrong in run.wrong)
