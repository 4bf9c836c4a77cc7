"""The server goes away in the middle of a rollback: it begins anew with a new snapshot, or gives up with 5."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import Cli
from fix_postgres import Database, Server, database_on, quick_server

from migrator.demo.server import EmbeddedServer

pytestmark = pytest.mark.one_server

PATIENT = ("--retry-attempts", 20, "--retry-max-pause-seconds", 0.2)


@pytest.fixture
def stoppable() -> Iterator[EmbeddedServer]:
    """Give a server that the test may stop."""
    with quick_server(synchronous_commit="on") as embedded:
        yield embedded


async def test_the_server_restarts_in_between(stoppable: EmbeddedServer, cli: Cli, tmp_path: Path) -> None:
    """What was read of the lost snapshot is thrown away: the new file has one moment, that after the restart."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(key, f"value {key}") for key in range(20_000)])
        connection.commit()
    with database_on(Server("stoppable", stoppable.url("postgres"))) as database:
        ended = cli("run", "--source", old, "--schema", "create", MIGRATOR_TARGET_URL=database.url)
        assert ended.code == 0, ended.stderr
        await database.execute("UPDATE t SET x = 'changed' WHERE id % 3 = 0")
        process = cli.start("rollback", "--like", old, "--to", new, *PATIENT, MIGRATOR_TARGET_URL=database.url)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(json.loads(line))
            if said[-1].get("stage") == "compare":
                break
        await asyncio.to_thread(stoppable.stop, "immediate")
        await asyncio.to_thread(stoppable.start)
        await database.execute("UPDATE t SET x = 'later' WHERE id = 1")
        out, rest = await asyncio.to_thread(process.communicate, timeout=100)
        assert process.returncode == 0, (out, rest)
        events = [json.loads(line) for line in rest.splitlines()]
        [retried, *_] = [event for event in events if event["event"] == "retry.scheduled"]
        assert "snapshot was lost" in retried["error"]
        assert "begins anew" in retried["error"]
        with closing(sqlite3.connect(new)) as connection:
            assert connection.execute("SELECT count(*) FROM t WHERE x = 'changed'").fetchone() == (6_667,)
            assert connection.execute("SELECT x FROM t WHERE id = 1").fetchone() in {("later",), ("value 1",)}
        _gives_up(stoppable, database, cli, old)


def _gives_up(stoppable: EmbeddedServer, database: Database, cli: Cli, old: Path) -> None:
    """Stop the server for good: the rollback ends with 5, and there is no file."""
    new = old.with_name("never.db")
    process = cli.start(
        *("rollback", "--like", old, "--to", new, "--retry-attempts", 2, "--retry-max-pause-seconds", 0.2),
        MIGRATOR_TARGET_URL=database.url,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line).get("stage") == "compare":
            break
    stoppable.stop("immediate")
    out, said = process.communicate(timeout=100)
    stoppable.start()
    assert process.returncode == 5, (out, said)
    assert "gave up after 2 tries" in said
    assert not list(old.parent.glob("never*"))
