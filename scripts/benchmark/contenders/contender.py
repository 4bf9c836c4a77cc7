"""What a contender is: the tables it finds, what it does, and what comes of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmark import processes
from benchmark.dataset import Dataset
from benchmark.results import Stage
from benchmark.server import Server

_SAID_CHARACTERS: Final = 200

PROGRAMS: Final = Path(__file__).parents[1] / "programs"
"""Contenders that are programs of their own."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run gave."""

    seconds: float
    exit_code: int | None = 0
    """None if it was killed for taking too long."""
    said: str = ""
    """Why it failed, in its own words; empty if it did not."""
    peak_bytes: int | None = None
    """Most resident memory of the client's processes; None where that is not worth a look."""
    stages: Mapping[str, Stage] = field(default_factory=dict)
    """Its parts, for those that tell."""
    hands: int = 1
    """How many shared the work of a part."""
    cpu_seconds: float = 0.0
    """Of the client; the server's are not in it."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What contenders are given: a server, a source, and files that the limit loads."""

    server: Server
    folder: Path
    """Scratch space."""
    source: Path
    data: Dataset
    timeout_seconds: float
    jobs: int | None = None
    """``--jobs`` for migrator; None for its own choice."""
    duckdb: str = ""
    """A Python that has DuckDB with its extensions."""

    @property
    def log(self) -> Path:
        """Where the words of the program that was run last are."""
        return self.folder / "said.log"

    def pieces(self) -> list[tuple[str, Path]]:
        """Return the encoded files with their tables, the largest first."""
        files = (self.folder / "encoded").glob("*.copy")
        ordered = sorted(files, key=lambda file: (-file.stat().st_size, file.name))
        return [(file.name.partition(".")[0], file) for file in ordered]

    def execute(self, command: Sequence[str | Path], **environment: str) -> Outcome:
        """Run a program, with memory and time measured; what it says counts only if it fails."""
        ended = processes.run(command, environment, self.log, self.timeout_seconds, self.folder)
        said = "" if ended.code == 0 else _telling(ended.said)
        return Outcome(ended.seconds, ended.code, said, ended.peak_bytes, cpu_seconds=ended.cpu_seconds)

    def without_places(self, said: str, url: str) -> str:
        """Return a contender's words without what is true only of this machine and this run."""
        for place, instead in ((url, "URL"), (f"{self.folder}/", ""), (str(self.server.port), "PORT")):
            said = said.replace(place, instead)
        return said if len(said) <= _SAID_CHARACTERS else f"{said[:_SAID_CHARACTERS]}…"


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to move the rows."""

    name: str
    """One word, for ``--only`` and the results."""
    title: str
    """What tables and plots call it."""
    note: str
    """How it is run, for the page."""
    schema: Callable[[Dataset], str]
    """The tables that it finds."""
    load: Callable[[Bench, str], Outcome]
    """Moves the rows into the database at a URL."""
    missing: Callable[[Bench], str] = lambda _: ""
    """Why it can't take part here, empty if it can."""
    is_tool: bool = True
    """False for the yardsticks, which load files that were encoded before the clock started."""
    leaves_keys: bool = True
    """False if it isn't meant to leave keys and indexes."""
    makes_tables: bool = False
    """True if it takes no tables but makes its own."""


def _telling(said: str) -> str:
    """Return the line that tells most of what a program said before it failed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = (line for line in lines if any(word in line for word in ("exhausted", "FATAL", "ERROR", "Error:")))
    return next(errors, lines[-1] if lines else "it said nothing")
