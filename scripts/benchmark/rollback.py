"""Measures the way back: ``migrator rollback`` next to a script of SELECT and INSERT, by what has changed meanwhile."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmark import results
from benchmark.contenders.contender import PROGRAMS, Bench, Outcome
from benchmark.dataset import dataset
from benchmark.measure import Wishes
from benchmark.server import Server

FOLDER: Final = results.FOLDER / "rollback"

CHANGES: Final[Mapping[str, str]] = {
    "nothing": "",
    "0.1 % of all rows": (
        "UPDATE readings SET level = level + 1 WHERE id % 1000 = 1; UPDATE articles SET title = title || '!' "
        "WHERE id % 1000 = 1; UPDATE events SET kind = 'other' WHERE id % 1000 = 1; "
        "UPDATE files SET name = name || '!' WHERE id % 1000 = 1; "
        "UPDATE orders SET total = total + 1 WHERE id % 2000 = 1; "
        "DELETE FROM orders WHERE id % 2000 = 2;"
    ),
    "every row of the largest table": "UPDATE readings SET level = level + 1, ok = NOT ok;",
}
"""What the application has written to PostgreSQL since the migration, in words and in SQL."""


@dataclass(frozen=True, slots=True)
class Back:
    """The runs of one way back after one kind of change: what they took, and how the last one ended."""

    changed: str
    name: str
    seconds: tuple[float, ...]
    peak_bytes: int
    said: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """One source, migrated, changed and brought back."""

    bytes: int
    rows: int
    machine: str
    server: str
    out_seconds: float
    """What ``migrator run`` took for the same rows."""
    backs: tuple[Back, ...]


def _ours(bench: Bench, url: str, new: Path) -> Outcome:
    command: list[str | Path] = [sys.executable, "-m", "migrator", "rollback", "--like", bench.source, "--to", new]
    return bench.execute(command, MIGRATOR_TARGET_URL=url)


def _script(bench: Bench, url: str, new: Path) -> Outcome:
    return bench.execute([sys.executable, PROGRAMS / "naive_back.py", url, bench.source, new])


WAYS: Final[Mapping[str, Callable[[Bench, str, Path], Outcome]]] = {
    "migrator rollback": _ours,
    "SELECT and INSERT, a script": _script,
}


def measure(megabytes: float, wishes: Wishes, console: Console) -> Measured:
    """Migrate a source, and bring it back in each way after each kind of change, in turns."""
    data = dataset("mixed", megabytes, wishes.tables)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=wishes.folder) as name, Server() as server:
        folder = Path(name).absolute()
        bench = Bench(server, folder, folder / "source.db", data, wishes.timeout_seconds, wishes.jobs, wishes.duckdb)
        size = data.make_source(bench.source)
        url = server.fresh_database(data.target_schema())
        command: list[str | Path] = [sys.executable, "-m", "migrator", "run", "--source", bench.source]
        out = bench.execute([*command, "--schema", "existing"], MIGRATOR_TARGET_URL=url)
        console.print(f"migrated {size / 1e6:,.0f} MB in {out.seconds:.2f} s {out.said}", highlight=False)
        backs = [back for changed in CHANGES for back in _after(changed, bench, url, wishes, console)]
        return Measured(size, data.rows, results.machine(wishes.note), server.version, out.seconds, tuple(backs))


def _after(changed: str, bench: Bench, url: str, wishes: Wishes, console: Console) -> Iterator[Back]:
    """Make a change, which stays for the next one, and yield each way's runs."""
    if CHANGES[changed]:
        with bench.server.session(url) as session:
            session.run(CHANGES[changed])
            session.run("VACUUM ANALYZE;")
    ended: dict[str, list[Outcome]] = {name: [] for name in WAYS}
    for turn in range(0 if wishes.warm_up else 1, wishes.runs + 1):
        for name, way in WAYS.items():
            new = bench.folder / "new.db"
            outcome = way(bench, url, new)
            new.unlink(missing_ok=True)
            console.print(f"{changed}: {name} {outcome.seconds:.2f} s {outcome.said}", highlight=False)
            if turn:
                ended[name].append(outcome)
    for name, outcomes in ended.items():
        peak = max(outcome.peak_bytes or 0 for outcome in outcomes)
        yield Back(changed, name, tuple(outcome.seconds for outcome in outcomes), peak, outcomes[-1].said)


def save(measured: Measured, folder: Path = FOLDER) -> None:
    """Write what was measured to the file of its size."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"mixed-{measured.bytes / 1e6:.0f}.json"
    path.write_text(json.dumps(asdict(measured), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def kept(folder: Path = FOLDER) -> list[Measured]:
    """Return all that was saved, the smaller sources first."""
    told = (json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json"))
    found = (Measured(**{**one, "backs": tuple(_back(back) for back in one["backs"])}) for one in told)
    return sorted(found, key=lambda measured: measured.bytes)


def _back(told: Mapping[str, object]) -> Back:
    seconds: Sequence[float] = told["seconds"]  # type: ignore[assignment]
    return Back(**{**told, "seconds": tuple(seconds)})  # type: ignore[arg-type]
