"""A source that somebody cuts off while the job reads it: the job says so and ends with 3, at whatever moment it is."""

import asyncio
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fix_job import quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_warm import Zygote

ROWS = 30_000
TABLES = ("CREATE TABLE t (id {int} PRIMARY KEY, v text)", "CREATE TABLE u (id {int} PRIMARY KEY, t {int}, v text)")
MOMENTS = (("schema", 0.0), ("preflight", 0.02), ("preflight", 0.08), ("copy", 0.02), ("verify", 0.0))
"""Stages that have started, and seconds after that."""


def _begins(stage: str, event: dict[str, Any]) -> bool:
    return bool(event["event"] == "stage.started" and event["stage"] == stage)


@pytest.mark.one_server
async def test_a_source_cut_off_under_the_job(
    make_sqlite: MakeSqlite, database: Database, warm: Zygote, tmp_path: Path
) -> None:
    """No signal ends the process, as one would that maps the file into memory; and nothing is called complete."""
    rows = [(n, f"{n * 2654435761:x}" * 12) for n in range(ROWS)]
    script = "; ".join(table.format(int="INTEGER") for table in TABLES)
    whole = make_sqlite(script, {"t": rows, "u": [(n, n % 99, text) for n, text in rows]})
    source = tmp_path / "cut.db"
    flags = ("--source", source, "--schema", "existing", "--batch-bytes", "65536", *quick_flags())
    for stage, seconds in MOMENTS:
        await database.execute("DROP SCHEMA IF EXISTS migrator CASCADE; DROP TABLE IF EXISTS t, u")
        await database.execute("; ".join(table.format(int="bigint") for table in TABLES))
        shutil.copyfile(whole, source)
        job = warm.start("run", *flags, MIGRATOR_TARGET_URL=database.url)
        assert job.until(partial(_begins, stage))
        await asyncio.sleep(seconds)
        os.truncate(source, source.stat().st_size // 3)
        ended = job.ended()
        assert ended.code == 3, (stage, seconds, ended.stderr)
        assert "source" in ended.message
        assert ended.failure["next_step"]
