"""``migrator status`` while a run is under way, asked by another process: what is done, under way, and away."""

import asyncio
import json
import re

import asyncpg
import pytest
from fix_job import quick_flags
from fix_obstacle import UNTRIED, only_in_copy
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_warm import Zygote

from migrator.stages.lock import LOCK_KEY

# Rows of the smaller table wait until the test lets them in.
GATE = LOCK_KEY - 1
TARGET = f"""
CREATE FUNCTION let_in() RETURNS boolean LANGUAGE sql AS
    'SELECT pg_advisory_xact_lock_shared({GATE}) IS NOT NULL';
CREATE TABLE large (id int PRIMARY KEY);
CREATE TABLE small (id int PRIMARY KEY, large int CONSTRAINT to_large REFERENCES large);
{only_in_copy("small", "let_in()")}
"""


@pytest.mark.one_server
async def test_status_of_a_run_that_is_under_way(make_sqlite: MakeSqlite, database: Database, warm: Zygote) -> None:
    """It waits for nothing and tells the truth of the moment, to people and to programs; after the end that of then."""
    source = make_sqlite(
        "CREATE TABLE large (id INTEGER PRIMARY KEY); CREATE TABLE small (id INTEGER PRIMARY KEY, large INTEGER)",
        {"large": [(n,) for n in range(3000)], "small": [(1, 2)]},
    )
    await database.execute(TARGET)
    target = {"MIGRATOR_TARGET_URL": database.url, **UNTRIED}
    gate = await asyncpg.connect(database.url)
    try:
        await gate.execute(f"SELECT pg_advisory_lock({GATE})")
        job = warm.start(
            "run", "--source", source, "--schema", "existing", "--jobs", 1, *quick_flags(), variables=target
        )
        async with asyncio.timeout(60):
            while not await database.fetch(_WAITING, gate.get_server_pid()):
                pass
        said, told = warm("status", variables=target), warm("status", "--format", "json", variables=target)
    finally:
        await gate.close()
    assert (said.code, told.code) == (0, 0), (said.stderr, told.stderr)
    status = json.loads(told.stdout)
    assert status["tables"] == [
        {"table": "public.large", "rows": 3000, "bytes": status["tables"][0]["bytes"], "verified": False}
    ]
    unfinished = {stage["stage"] for stage in status["stages"] if stage["ended_at"] is None}
    assert unfinished == {"copy", "restore", "analyze", "verify"}
    assert "foreign key to_large of public.small" in status["parked"]
    assert (status["completed_at"], status["runs"][0]["ended_at"], status["runs"][0]["exit_code"]) == (None,) * 3
    lines = " ".join(said.stdout.split())  # as if the console were wide
    assert "public.large: 3,000 rows copied " in lines
    assert "taken away for the load and not back yet: foreign key to_large of public.small" in lines
    assert re.search(r"stage copy: began [0-9:]+, not ended", lines)
    assert re.search(rf"run {status['runs'][0]['id']}: began [-0-9: ]+, has not ended", lines)
    assert lines.endswith("not completed")
    assert job.ended().code == 0
    after = json.loads(warm("status", "--format", "json", **target).stdout)
    assert [(table["table"], table["verified"]) for table in after["tables"]] == [
        ("public.large", True),
        ("public.small", True),
    ]
    assert (after["parked"], after["runs"][0]["exit_code"]) == ([], 0)
    assert after["completed_at"] is not None


_WAITING = "SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"
