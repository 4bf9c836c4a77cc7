"""``kill -9`` at any instant of a rollback: no file looks finished, and running it again just works."""

import asyncio
import os
import random
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import Cli
from fix_postgres import Database
from fix_warm import Zygote

KILLS = 30


@pytest.mark.one_server
async def test_killed_at_random_instants(database: Database, cli: Cli, warm: Zygote, tmp_path: Path) -> None:
    """After each kill there is a whole file or none; the run after the last ends with 0, and the values are right."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(key, f"value {key}") for key in range(20_000)])
        connection.commit()
    ended = cli("run", "--source", old, "--schema", "create", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    await database.execute("UPDATE t SET x = 'new' WHERE id % 3 = 0; DELETE FROM t WHERE id % 5 = 0")
    flags = ("rollback", "--like", old, "--to", new)
    began = asyncio.get_running_loop().time()
    assert cli(*flags, MIGRATOR_TARGET_URL=database.url).code == 0
    seconds = asyncio.get_running_loop().time() - began
    expected = new.read_bytes()
    chance = random.Random(3)  # noqa: S311 - no secret
    for kill in range(KILLS):
        new.unlink(missing_ok=True)
        job = warm.start(*flags, MIGRATOR_TARGET_URL=database.url)
        await asyncio.sleep((kill + chance.random()) / KILLS * seconds)
        job.kill()
        assert job.ended().code in {0, -signal.SIGKILL}
        assert not new.exists() or new.read_bytes() == expected
    new.unlink(missing_ok=True)
    ended = cli(*flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert new.read_bytes() == expected
    assert [name for name in os.listdir(tmp_path) if name.startswith("new")] == ["new.db"]  # noqa: PTH208
