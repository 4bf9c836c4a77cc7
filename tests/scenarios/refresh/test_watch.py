"""``run --refresh --watch``: it follows a source that is written to, opens no gate, and ends on a signal."""

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fix_job import quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_warm import Zygote

pytestmark = pytest.mark.one_server

SCRIPT = "CREATE TABLE a (id INTEGER PRIMARY KEY, t TEXT); CREATE TABLE b (id INTEGER PRIMARY KEY)"
FLAGS = ("--schema", "create", "--watch-interval", 0.1, *quick_flags())


def change(path: Path, script: str) -> None:
    """Write to the source as the application does."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def refreshed(number: int) -> Any:  # noqa: ANN401 - a condition on an event
    """Return whether an event tells that so many refreshes have ended."""
    return lambda event: event["event"] == "watch.refreshed" and event["passes"] == number


def scratch_in(folder: Path) -> list[str]:
    """Return the snapshots and other scratch folders that are there."""
    return [path.name for path in folder.iterdir() if path.name.startswith("migrator-")]


async def test_it_follows_the_application_and_lets_it_start_on_no_account(
    make_sqlite: MakeSqlite, database: Database, warm: Zygote, tmp_path: Path
) -> None:
    """Begun on an empty target; stopped between two refreshes it leaves a rehearsal, from which a refresh cuts over."""
    source = make_sqlite(SCRIPT, {"a": [(n, "old") for n in range(20)], "b": [(1,)]})
    target = {"MIGRATOR_TARGET_URL": database.url, "TMPDIR": str(tmp_path)}
    metrics = tmp_path / "metrics.prom"
    flags = ("--refresh", "--source", source, *FLAGS)
    job = warm.start("run", *flags, "--watch", "--metrics-file", metrics, "--progress-interval", 0.2, variables=target)
    first = job.until(refreshed(1))
    assert first is not None, job.ended().stderr
    assert (first["inserted"], first["loaded_anew"], first["unchanged"]) == (0, 2, 0)
    for number, script in enumerate(
        ("UPDATE a SET t = 'new' WHERE id < 3; DELETE FROM a WHERE id = 7", "INSERT INTO a VALUES (50, 'x')"), start=2
    ):
        change(source, script)
        done = job.until(refreshed(number)) or {}
    assert (done["inserted"], done["updated"], done["deleted"], done["unchanged"]) == (1, 0, 0, 1)
    assert await database.fetch("SELECT count(*), count(*) FILTER (WHERE t = 'new') FROM a") == [(20, 3)]
    assert scratch_in(tmp_path) == []
    assert job.until(lambda event: event.get("step") == "watch" and event.get("behind_seconds") == 0)
    while "migrator_watch_refreshes 3\n" not in metrics.read_text():  # it is written every few moments
        assert job.until(lambda event: event["event"] == "progress")

    waited = warm("status", "--wait", "--ready-timeout-seconds", 0.1, variables=target)
    assert waited.code == 5
    told = json.loads(warm("status", "--format", "json", variables=target).stdout)
    assert (told["state"], told["refreshed"]["inserted"], told["refreshed"]["passes"]) == ("under way", 1, 3)
    assert "then the watch" in told["next_action"]["text"]
    os.kill(job.number, signal.SIGTERM)
    assert job.ended().code == 143
    page = warm("status", variables=target)
    assert (page.code, "migration public: rehearsed" in page.stdout) == (6, True)
    assert "1 inserted, 0 updated, 0 deleted" in page.stdout

    change(source, "INSERT INTO b VALUES (2)")
    final = warm("run", *flags, variables=target)
    assert final.code == 0, final.stderr
    assert "refreshed: every value of every row is in the target" in final.stdout
    assert warm("status", "--wait", variables=target).code == 0
    late = warm("run", *flags, "--watch", variables=target)
    assert late.code == 2
    assert "a watch comes before" in late.stderr


async def test_what_ends_it(make_sqlite: MakeSqlite, database: Database, warm: Zygote) -> None:
    """A value that can't be carried ends it with 3, somebody else's row in the target with 4, and the rows stay."""
    source = make_sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER)", {"a": [(1, 1)]})
    target = {"MIGRATOR_TARGET_URL": database.url}
    flags = ("run", "--refresh", "--watch", "--source", source, *FLAGS)
    job = warm.start(*flags, variables=target)
    assert job.until(refreshed(1))
    change(source, "INSERT INTO a VALUES (2, 'many')")
    ended = job.ended()
    assert (ended.code, "a.n" in ended.stderr) == (3, True)
    assert await database.fetch("SELECT id FROM a") == [(1,)]
    assert json.loads(warm("status", "--format", "json", variables=target).stdout)["state"] == "failed"
    change(source, "UPDATE a SET n = 2")
    job = warm.start(*flags, variables=target)
    assert job.until(refreshed(1))
    os.kill(job.number, signal.SIGINT)
    assert job.ended().code == 130
    job = warm.start(*flags, variables=target)
    assert job.until(refreshed(1))
    await database.execute("INSERT INTO a VALUES (9, 9)")
    change(source, "INSERT INTO a VALUES (3, 3)")
    assert job.ended().code == 4
    assert await database.fetch("SELECT id FROM a ORDER BY id") == [(1,), (2,), (9,)]


def test_settings_that_exclude_each_other(warm: Zygote) -> None:
    """A watch repeats a refresh, and nothing refreshes what begins anew."""
    alone = warm("run", "--watch", "--source", "x.db", "--target", "postgresql://h/d", "--schema", "create")
    assert (alone.code, "Add --refresh" in alone.stderr) == (2, True)
    both = warm("run", "--refresh", "--restart", "--source", "x.db", "--target", "postgresql://h/d")
    assert (both.code, "exclude each other" in both.stderr) == (2, True)
    lonely = warm("run", "--compare", "changed", "--source", "x.db", "--target", "postgresql://h/d")
    assert (lonely.code, "Add --refresh" in lonely.stderr) == (2, True)
