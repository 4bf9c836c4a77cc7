"""A server with a single CPU, and a job with fewer CPUs than its server: both ends work at the same time."""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest
from fix_job import Cli, Ended
from fix_postgres import quick_server
from fix_sqlite import MakeSqlite

from migrator.demo.server import EmbeddedServer

TABLES = [f"t{n}" for n in range(6)]
ROWS = 40_000
FILL = f"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})"
CPUS = sorted(os.sched_getaffinity(0))
INTERVAL_SECONDS = 0.01


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedServer]:
    """Give a server whose CPUs a test chooses."""
    with quick_server() as server:
        yield server


@pytest.fixture
async def tables(own: EmbeddedServer) -> str:
    """Give the URL of a database with empty tables, in which no job has been before."""
    connection = await asyncpg.connect(own.url("postgres"))
    await connection.execute("DROP SCHEMA IF EXISTS migrator CASCADE")
    for name in TABLES:
        await connection.execute(
            f"DROP TABLE IF EXISTS {name};"
            f"CREATE TABLE {name} (id bigint PRIMARY KEY, t text, n float8); CREATE INDEX ON {name} (t)"
        )
    await connection.close()
    return own.url("postgres")


@pytest.fixture
def source(make_sqlite: MakeSqlite) -> Path:
    """Give a file with rows for these tables."""
    return make_sqlite(
        "".join(
            f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, t TEXT, n REAL);"
            f"{FILL} INSERT INTO {name} SELECT i, printf('%060d', i), i / 7.0 FROM n;"
            for name in TABLES
        )
    )


def processes_of(server: EmbeddedServer) -> Sequence[int]:
    """Return the server's processes, of which the first starts the others."""
    first = int((server.data_directory / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return [first, *map(int, children)]


def confine(server: EmbeddedServer, cpus: set[int]) -> None:
    """Leave these CPUs to the server, and to the processes that it will start."""
    for process in processes_of(server):
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(process, cpus)


@contextmanager
def started_on(cpus: set[int]) -> Iterator[None]:
    """Leave these CPUs to the processes that the block starts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Sample:
    """Who had something to do at one instant: was on a CPU, waited for one, or for the disk."""

    at: float
    job: bool
    server: bool


def busy(process: int) -> bool:
    """Return whether a thread of the process has something to do now (proc(5): ``stat``)."""
    try:
        states = [file.read_text().rpartition(") ")[2][0] for file in Path(f"/proc/{process}/task").glob("*/stat")]
    except OSError:  # it has ended
        return False
    return any(state in "RD" for state in states)


def moment(event: dict[str, object]) -> float:
    """Return when the job wrote the event."""
    return datetime.fromisoformat(str(event["timestamp"])).timestamp()


def at_work(events: Sequence[dict[str, object]]) -> float:
    """Return how many workers were at a table on the average, from the first copy's begin to the last comparison."""
    tables = [event for event in events if event["event"] in {"table.copied", "table.verified"}]
    ends = [moment(event) for event in tables]
    seconds = [float(str(event["seconds"])) for event in tables]
    begins = [end - length for end, length in zip(ends, seconds, strict=True)]
    return sum(seconds) / (max(ends) - min(begins))


def beside(events: Sequence[dict[str, object]], samples: Sequence[Sample]) -> float:
    """
    Return in which part of its work, from the first copy to the last comparison, one end has the other at work beside.

    The end with less to do counts: the other has to work alone for the rest.
    """
    [begin] = [moment(event) for event in events if event["event"] == "stage.started" and event["stage"] == "copy"]
    end = max(moment(event) for event in events if event["event"] == "table.verified")
    within = [sample for sample in samples if begin <= sample.at <= end]
    both = sum(sample.job and sample.server for sample in within)
    return both / min(sum(sample.job for sample in within), sum(sample.server for sample in within))


async def test_the_job_works_beside_a_server_with_one_cpu(
    own: EmbeddedServer, tables: str, source: Path, cli: Cli
) -> None:
    """From the first copy to the last comparison, more than one worker is at a table most of the time."""
    confine(own, {CPUS[-1]})
    given = ("--source-url", source, "--target-url", tables, "--schema", "existing", "--jobs", "2")
    ended = cli("run", *given)
    assert ended.code == 0, ended.stderr[-3000:]
    assert at_work(ended.events) > 1


async def test_a_job_with_one_cpu_works_beside_a_larger_server(
    own: EmbeddedServer, tables: str, source: Path, cli: Cli
) -> None:
    """
    The job has one CPU and the server the others; its sessions keep both at work at the same time.

    On a machine with two CPUs the server has both. One session and stages in turn would be 0.4 to 0.45.
    """
    confine(own, set(CPUS[1:]) if len(CPUS) > 2 else set(CPUS))
    with started_on({CPUS[0]}):
        job = cli.start("run", "--source-url", source, "--target-url", tables, "--schema", "existing")
    reading = asyncio.create_task(asyncio.to_thread(job.communicate))
    samples = []
    while not reading.done():
        samples.append(Sample(time.time(), busy(job.pid), any(map(busy, processes_of(own)))))
        await asyncio.sleep(INTERVAL_SECONDS)
    ended = Ended(job.returncode, *await reading)
    assert ended.code == 0, ended.stderr[-3000:]
    [chosen] = [event for event in ended.events if event["event"] == "sessions.chosen"]
    assert (chosen["rows"], chosen["keys"]) == (2, 4)
    assert beside(ended.events, samples) > 0.6
