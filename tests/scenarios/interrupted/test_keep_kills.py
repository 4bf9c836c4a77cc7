"""``kill -9`` while rows of both sides are merged (``keep``): none of either side is lost, changed or there twice."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest
from fix_job import quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_warm import Zygote

pytestmark = pytest.mark.one_server

FLAGS = ("--schema=existing", "--on-existing-rows=keep", "--chunk-bytes=40000", *quick_flags())
BIG = 1000
SMALL = ("one", "two", "three")
INSTANTS = (("preflight", 0.3), ("park", 0.0), ("copy", 0.05), ("copy", 0.15), ("copy", 0.3), ("copy", 0.6))
"""Stages that are waited for, and seconds after they begin, to spread the kills: any instant is as good."""


def _begins(stage: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["event"] == "stage.started" and event["stage"] == stage


@pytest.mark.parametrize("first", range(len(INSTANTS)))
async def test_killed_while_rows_are_merged(
    first: int, database: Database, make_sqlite: MakeSqlite, warm: Zygote
) -> None:
    """Two runs vanish, the third ends with 0: the rows of the source win, others stay, what gave way is kept once."""
    tables = ("big", *SMALL)
    source = make_sqlite(
        "".join(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, t TEXT);" for table in tables),
        {"big": [(n, f"{n:0100}") for n in range(BIG)], **{table: [(1, "s"), (2, "s")] for table in SMALL}},
    )
    for table in tables:
        await database.execute(
            f"CREATE TABLE {table} (id bigint PRIMARY KEY, t text);"
            f"INSERT INTO {table} VALUES (1, 'mine'), (-1, 'only here'), ({BIG}, 'and here')"
        )
    given = ("run", "--source", source, *FLAGS)
    said = []
    for stage, seconds in (INSTANTS[first], INSTANTS[(first * 3 + 2) % len(INSTANTS)]):
        job = warm.start(*given, MIGRATOR_TARGET_URL=database.url)
        job.until(_begins(stage))
        await asyncio.sleep(seconds)
        job.kill()
        said.append(job.ended())
    ended = warm(*given, MIGRATOR_TARGET_URL=database.url)
    told = [one.stderr for one in (*said, ended)]
    assert {one.code for one in said} <= {0, -signal.SIGKILL}, told
    assert ended.code == 0, told
    stay = [(-1, "only here"), (BIG, "and here")]
    assert await database.fetch("SELECT id, t FROM big WHERE length(t) < 100 ORDER BY id") == stay
    assert await database.fetch("SELECT count(*), sum(id) FROM big WHERE length(t) = 100") == [(BIG, sum(range(BIG)))]
    for table in SMALL:
        rows = await database.fetch(f"SELECT id, t FROM {table} ORDER BY id")
        assert rows == [stay[0], (1, "s"), (2, "s"), stay[1]]
    kept = await database.fetch("SELECT table_name, kept_in, merged_in FROM migrator.kept ORDER BY table_name")
    assert [row[0] for row in kept] == sorted(tables)
    for _, kept_in, merged_in in kept:
        assert await database.fetch(f'SELECT id, t FROM migrator."{kept_in}"') == [(1, "mine")]
        assert await database.fetch(f'SELECT id, t FROM migrator."{merged_in}" ORDER BY id') == stay
    verified = warm("verify", "--source", source, MIGRATOR_TARGET_URL=database.url)
    assert verified.code == 0, verified.stderr
