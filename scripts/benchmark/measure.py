r"""
Measures the job against its limit, in turns, in one run: ``python scripts/benchmark/measure.py --megabytes 1000``.

The limit is PostgreSQL itself: ``psql \\copy … binary`` of the same rows from files that are encoded already, into the
same tables, which here means with their keys and indexes; and once more into bare tables, with keys and indexes built
afterwards. Figures are medians. Ratios hold wherever this runs; seconds are this machine's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import dataset
from rich.console import Console
from rich.table import Table

from migrator.embedded import EmbeddedServer

ROLE, PASSWORD = "benchmark", "benchmark"  # of a server that lives for minutes, on loopback

# As an administrator would set up a server for a load; the same for everybody who is measured.
SERVER = {"max_wal_size": "8GB", "checkpoint_timeout": "30min", "shared_buffers": "256MB"}


@dataclass(slots=True)
class Run:
    """One measured run: seconds in all and by stage, and the peak memory of the largest process."""

    seconds: float
    stages: dict[str, float] = field(default_factory=dict)
    peak_megabytes: float = 0.0


class Bench:
    """A server, a source, and what is measured on them."""

    def __init__(self, server: EmbeddedServer, folder: Path, source: Path, jobs: int) -> None:
        self.server, self.folder, self.source, self.jobs = server, folder, source, jobs
        self._databases = 0

    def fresh_database(self, schema: str) -> str:
        """Make a database with ``schema`` and return its URL."""
        self._databases += 1
        name = f"bench_{self._databases}"
        self.server.create_database(name, ROLE)
        url = self.server.url(name, ROLE, PASSWORD)
        self.psql(url, schema)
        return url

    def drop(self, url: str) -> None:
        """Drop a database, so that the disk doesn't fill, and let the server write out what it owes."""
        name = url.rpartition("/")[2]
        self.psql(self.server.url("postgres"), f"DROP DATABASE {name} WITH (FORCE)")
        self.psql(self.server.url("postgres"), "CHECKPOINT")

    def migrator(self) -> Run:
        """Run the whole job."""
        url = self.fresh_database(dataset.target_schema())
        report = self.folder / "report.json"
        arguments = ["--source", str(self.source), "--schema", "existing", "--report", str(report)]
        command = [sys.executable, "-m", "migrator", "run", *arguments, "--jobs", str(self.jobs)]
        run = _timed(command, {"MIGRATOR_TARGET_URL": url}, self.folder / "migrator.log")
        told = json.loads(report.read_text())
        if told["exit_code"] != 0:
            raise SystemExit(f"the job failed: {told['message']}")
        run.stages = {stage["stage"]: stage["seconds"] for stage in told["stages"]}
        if not any(self.folder.glob("*.copy")):
            self._encode_files(url)
        self.drop(url)
        return run

    def _encode_files(self, url: str) -> None:
        for kind in dataset.KINDS:
            self.psql(url, rf"\copy {kind.name} TO '{self._file(kind.name)}' (FORMAT binary)")

    def psql_into(self, schema: str, afterwards: Sequence[str], streams: int) -> Run:
        """Load the encoded files with psql, ``streams`` at a time, and then run the statements."""
        url = self.fresh_database(schema)
        began = time.monotonic()
        with ThreadPoolExecutor(streams) as pool:
            loads = [rf"\copy {kind.name} FROM '{self._file(kind.name)}' (FORMAT binary)" for kind in dataset.KINDS]
            list(pool.map(lambda load: self.psql(url, load), loads))
            copied = time.monotonic() - began
            list(pool.map(lambda statement: self.psql(url, statement), afterwards))
        run = Run(time.monotonic() - began, {"copy": copied})
        self.drop(url)
        return run

    def psql(self, url: str, command: str) -> None:
        """Run one psql command; raises CalledProcessError if it fails."""
        options = ["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]
        environment = {**os.environ, "PGCLIENTENCODING": "UTF8", "PGOPTIONS": "-c client_min_messages=error"}
        subprocess.run(
            [self.server.programs / "psql", url, *options, "--command", command], check=True, env=environment
        )

    def _file(self, table: str) -> Path:
        return self.folder / f"{table}.copy"


def _timed(command: Sequence[str], environment: dict[str, str], log: Path) -> Run:
    """Run a command and return its time and peak memory, by the operating system's own account of it."""
    began = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Run(time.monotonic() - began, peak_megabytes=kilobytes / 1024)


def measure(bench: Bench, runs: int) -> dict[str, list[Run]]:
    """Run everybody in turn, ``runs`` times, after one round that doesn't count."""
    bare, keys = dataset.bare_schema(), dataset.keys()
    contenders: dict[str, Callable[[], Run]] = {
        "migrator, the whole job": bench.migrator,
        "psql into the same tables, 1 stream": lambda: bench.psql_into(dataset.target_schema(), (), 1),
        "psql into the same tables, 2 streams": lambda: bench.psql_into(dataset.target_schema(), (), 2),
        "psql into bare tables, 1 stream": lambda: bench.psql_into(bare, (), 1),
        "psql into bare tables, 2 streams, then keys": lambda: bench.psql_into(bare, keys, 2),
    }
    found: dict[str, list[Run]] = {name: [] for name in contenders}
    for turn in range(runs + 1):
        for name, run in contenders.items():
            result = run()
            if turn:
                found[name].append(result)
    return found


def show(found: dict[str, list[Run]], size: str) -> None:
    """Print the medians and the ratios that count."""
    console = Console(width=110)
    table = Table(title=f"{size}, medians of {len(next(iter(found.values())))} alternating runs", box=None)
    for column in ("what", "seconds", "copy alone", "peak MB"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, runs in found.items():
        peak = max(run.peak_megabytes for run in runs)
        copies = statistics.median(run.stages["copy"] for run in runs)
        seconds = statistics.median(run.seconds for run in runs)
        table.add_row(name, f"{seconds:.2f}", f"{copies:.2f}", f"{peak:.0f}" if peak else "")
    console.print(table)
    ours, same, _, bare, limit = found.values()
    stages = {name: statistics.median(run.stages[name] for run in ours) for name in ours[0].stages}
    console.print("stages: " + " · ".join(f"{name} {seconds:.2f}" for name, seconds in stages.items()))
    whole = ("park", "copy", "restore", "verify")
    _ratio(console, "copy + verify / psql into the same tables", _sums(ours, ("copy", "verify")), same)
    _ratio(console, "park + copy + restore + verify / psql into the same tables", _sums(ours, whole), same)
    _ratio(console, "copy / psql into bare tables, 1 stream", _sums(ours, ("copy",)), bare)
    _ratio(console, "whole job / psql into bare tables, 2 streams, then keys", [run.seconds for run in ours], limit)
    _ratio(console, "preflight / copy", _sums(ours, ("preflight",)), _copies(ours))
    _ratio(console, "verify / copy", _sums(ours, ("verify",)), _copies(ours))


def _sums(runs: Sequence[Run], stages: Sequence[str]) -> list[float]:
    return [sum(run.stages[stage] for stage in stages) for run in runs]


def _copies(runs: Sequence[Run]) -> list[Run]:
    return [Run(run.stages["copy"]) for run in runs]


def _ratio(console: Console, name: str, ours: Sequence[float], theirs: Sequence[Run]) -> None:
    pairs = [mine / their.seconds for mine, their in zip(ours, theirs, strict=True)]
    console.print(f"{name}: {statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})")


def main() -> None:
    """Parse, set up, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the SQLite file")
    parser.add_argument("--runs", type=int, default=3, help="runs that count, after one that doesn't")
    parser.add_argument("--jobs", type=int, default=2, help="tables at a time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, EmbeddedServer(settings=SERVER) as server:
        folder = Path(name)
        source = folder / "source.db"
        rows = dataset.make_source(source, given.megabytes)
        server.create_role(ROLE, PASSWORD)
        bench = Bench(server, folder, source, given.jobs)
        found = measure(bench, given.runs)
        size = f"{source.stat().st_size / 1e6:.0f} MB of SQLite, {sum(rows.values()):,} rows, {len(rows)} tables"
        show(found, size)


if __name__ == "__main__":
    main()
