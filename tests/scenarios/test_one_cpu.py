"""A server with a single CPU: the job's own work goes on beside the server's, and doesn't wait for its turn."""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest
from fix_job import Cli
from fix_postgres import quick_server
from fix_sqlite import MakeSqlite

from migrator.demo.server import EmbeddedServer

TABLES = [f"t{n}" for n in range(6)]
ROWS = 20_000
FILL = f"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})"


@pytest.fixture(scope="module")
def slow() -> Iterator[EmbeddedServer]:
    """Give a server whose processes share one CPU."""
    with quick_server() as server:
        first = int((server.data_directory / "postmaster.pid").read_text().split()[0])
        for process in (first, *_children(first)):
            os.sched_setaffinity(process, {max(os.sched_getaffinity(0))})
        yield server


def _children(process: int) -> Sequence[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def at_work(events: Sequence[dict[str, object]]) -> float:
    """Return how many workers were at a table on the average, from the first copy's begin to the last comparison."""
    tables = [event for event in events if event["event"] in {"table.copied", "table.verified"}]
    ends = [datetime.fromisoformat(str(event["timestamp"])).timestamp() for event in tables]
    seconds = [float(str(event["seconds"])) for event in tables]
    begins = [end - length for end, length in zip(ends, seconds, strict=True)]
    return sum(seconds) / (max(ends) - min(begins))


async def test_the_job_works_beside_a_server_with_one_cpu(
    slow: EmbeddedServer, make_sqlite: MakeSqlite, cli: Cli
) -> None:
    """From the first copy to the last comparison, more than one worker is at a table most of the time."""
    source = make_sqlite(
        "".join(
            f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, t TEXT, n REAL);"
            f"{FILL} INSERT INTO {name} SELECT i, printf('%060d', i), i / 7.0 FROM n;"
            for name in TABLES
        )
    )
    connection = await asyncpg.connect(slow.url("postgres"))
    for name in TABLES:
        await connection.execute(
            f"CREATE TABLE {name} (id bigint PRIMARY KEY, t text, n float8); CREATE INDEX ON {name} (t)"
        )
    await connection.close()
    given = ("--source-url", source, "--target-url", slow.url("postgres"), "--schema", "existing", "--jobs", "2")
    ended = cli("run", *given)
    assert ended.code == 0, ended.stderr[-3000:]
    assert at_work(ended.events) > 1
