"""What was measured, as values and as the JSON files that the documentation is made from."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a run; parts may overlap."""

    began: float
    """Seconds after the run began."""
    seconds: float
    """From its begin to its end."""
    work: float | None = None
    """Seconds for which hands were at work on it, added up; None where nobody counts them."""


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run of one contender."""

    seconds: float
    exit_code: int | None
    peak_bytes: int | None = None
    stages: Mapping[str, Stage] = field(default_factory=dict)
    said: str = ""
    wrong: tuple[str, ...] = ()
    """What the result lacks, or has otherwise than the source."""
    hands: int = 1
    """How many there were to share the work of a stage."""

    @property
    def ended_well(self) -> bool:
        """Whether it says of itself that it is done."""
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender in one session: its runs, in turn with those of the others."""

    name: str
    title: str
    note: str
    is_tool: bool
    missing: str = ""
    """Why it was not run."""
    runs: tuple[Run, ...] = ()
    trap: str = ""
    """What it did where the target's columns can't hold the values; empty if it was not tried."""


@dataclass(frozen=True, slots=True)
class Session:
    """One source, and everybody measured on it in one go."""

    shape: str
    megabytes: float
    bytes: int
    rows: int
    tables: int
    machine: str
    server: str
    entries: tuple[Entry, ...]

    @property
    def label(self) -> str:
        """The source in a few words."""
        tables = "1 table" if self.tables == 1 else f"{self.tables:,} tables"
        return f"{self.shape}, {self.bytes / 1e6:,.0f} MB, {self.rows:,} rows, {tables}"

    def entry(self, name: str) -> Entry | None:
        """Return a contender's part, None if it has no run that ended well."""
        return next((e for e in self.entries if e.name == name and any(run.ended_well for run in e.runs)), None)


def path_of(shape: str, megabytes: float, folder: Path = FOLDER) -> Path:
    """Return the file of a source's results."""
    return folder / f"{shape}-{megabytes:.0f}.json"


def save(session: Session, folder: Path = FOLDER) -> Path:
    """Write a session to its file, over the one before of the same shape and size."""
    folder.mkdir(exist_ok=True)
    path = path_of(session.shape, session.megabytes, folder)
    path.write_text(json.dumps(asdict(session), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def sessions(folder: Path = FOLDER) -> list[Session]:
    """Return all that was saved, by shape and size."""
    found = (_session(json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob("*.json"))
    return sorted(found, key=lambda session: (session.shape, session.megabytes))


def machine(note: str) -> str:
    """Return what absolute times depend on, in words that name no machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, {note}" if note else f"{cores} cores"


def _session(told: dict[str, Any]) -> Session:
    return Session(**{**told, "entries": tuple(_entries(told["entries"]))})


def _entries(told: Iterable[dict[str, Any]]) -> Iterable[Entry]:
    for entry in told:
        yield Entry(**{**entry, "runs": tuple(map(_run, entry["runs"]))})


def _run(told: dict[str, Any]) -> Run:
    stages = {name: Stage(**stage) for name, stage in told["stages"].items()}
    return Run(**{**told, "stages": stages, "wrong": tuple(told["wrong"])})
