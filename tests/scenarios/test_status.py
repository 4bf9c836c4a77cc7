"""``migrator status``, asked by another process: of a run under way, a killed one, a failed one, a complete one."""

import asyncio
import json
import os
import re
import shlex
import signal
from contextlib import chdir
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import pytest
from fix_job import Ended, quick_flags
from fix_obstacle import NAME, only_in_copy
from fix_postgres import Database
from fix_proxy import Proxy
from fix_sqlite import MakeSqlite
from fix_warm import Zygote
from sqlalchemy import make_url

from migrator.demo.dryad import ALEMBIC_INI
from migrator.ledger.migration import LOCK_KEY, Migration
from migrator.reports.status import Status
from migrator.status.next_action import next_action
from migrator.status.state import MigrationStatus, State

# Rows of the smaller table wait until the test lets them in.
GATE = LOCK_KEY - 1
TARGET = f"""
CREATE FUNCTION let_in() RETURNS boolean LANGUAGE sql AS
    'SELECT pg_advisory_xact_lock_shared({GATE}) IS NOT NULL';
CREATE TABLE large (id int PRIMARY KEY);
CREATE TABLE small (id int PRIMARY KEY, large int CONSTRAINT to_large REFERENCES large);
{only_in_copy("small", "let_in()")}
"""


def asked(warm: Zygote, target: dict[str, str], *flags: str) -> tuple[Ended, dict[str, Any]]:
    """Ask for people and for programs; both end with the same code."""
    said, told = warm("status", *flags, variables=target), warm("status", *flags, "--format", "json", variables=target)
    assert said.code == told.code, (said.stderr, told.stderr)
    return said, json.loads(told.stdout)


def command_of(told: dict[str, Any]) -> list[str]:
    """Return the arguments of the command that is to be pasted, as a shell takes it."""
    program, *arguments = shlex.split(told["next_action"]["command"])
    assert program == "migrator"
    return arguments


def write_rules(told: dict[str, Any]) -> None:
    """Write the rules that are to be pasted."""
    Path("migrator.toml").write_text(told["next_action"]["rules"], encoding="utf-8")


@pytest.mark.one_server
async def test_from_never_begun_over_killed_to_complete(
    make_sqlite: MakeSqlite, database: Database, warm: Zygote
) -> None:
    """It waits for nothing and tells the truth of the moment. A killed run is known by its lock, at once."""
    source = make_sqlite(
        "CREATE TABLE large (id INTEGER PRIMARY KEY); CREATE TABLE small (id INTEGER PRIMARY KEY, large INTEGER)",
        {"large": [(n,) for n in range(3000)], "small": [(1, 2)]},
    )
    await database.execute(TARGET)
    target = {"MIGRATOR_TARGET_URL": database.url}
    said, told = asked(warm, target)
    assert (said.code, told["state"], told["migration"]) == (6, "never begun", "public")
    assert "migrator run --source FILE" in said.stdout
    gate = await asyncpg.connect(database.url)
    try:
        await gate.execute(f"SELECT pg_advisory_lock({GATE})")
        flags = ("--source", source, "--untried", f"*.{NAME}", "--schema", "existing")
        job = warm.start("run", *flags, "--jobs", 1, *quick_flags(), variables=target)
        async with asyncio.timeout(60):
            while not await database.fetch(_WAITING, gate.get_server_pid()):
                pass
        said, told = asked(warm, target)
        _is_under_way(said, told)
        # It writes every few seconds, perhaps while the larger table is still compared.
        while _tables_in_work(told := asked(warm, target)[1]) != ["public.small"]:
            pass
        [work] = told["in_work"]
        assert (work["table"], work["stage"], work["unit"], work["of"]) == ("public.small", "copy", "rows", 1)
        assert {stage["stage"] for stage in told["stages_under_way"]} == {"copy", "restore", "analyze", "verify"}
        job.kill()
        job.ended()
        async with asyncio.timeout(60):
            while await database.fetch(_LOCKED, Migration("public").lock_key & 0xFFFFFFFF):
                pass
        said, told = asked(warm, target)
        assert (said.code, told["state"], told["runs"][0]["ended_at"]) == (6, "interrupted", None)
        assert "Run it again where it ran; it goes on from there:" in said.stdout
        assert command_of(told) == ["run", *map(str, flags)]
        assert shlex.join(command_of(told)) in " ".join(said.stdout.split())
        assert (told["in_work"], told["progress_at"]) == ([], None)
    finally:
        await gate.close()
    assert warm(*command_of(told), variables=target).code == 0
    said, after = asked(warm, target)
    assert (said.code, after["state"], after["next_action"]["command"]) == (0, "complete", None)
    assert [(table["table"], table["verified"]) for table in after["tables"]] == [
        ("public.large", True),
        ("public.small", True),
    ]
    assert (after["parked"], after["runs"][0]["exit_code"], after["runs"][1]["exit_code"]) == ([], 0, None)
    assert re.search(r"complete, every value verified at [-0-9: ]+UTC", said.stdout)
    assert re.search(r"earlier runs: [-0-9: ]+UTC killed", said.stdout)
    assert warm("reset", "--yes", variables=target).code == 0
    said, emptied = asked(warm, target)
    assert (said.code, emptied["state"], command_of(emptied)) == (6, "never begun", ["run", *map(str, flags)])


def _tables_in_work(told: dict[str, Any]) -> list[str]:
    return [work["table"] for work in told["in_work"]]


def _is_under_way(said: Ended, told: dict[str, Any]) -> None:
    assert (said.code, told["state"]) == (6, "under way"), said.stderr
    assert told["tables"] == [
        {"table": "public.large", "rows": 3000, "bytes": told["tables"][0]["bytes"], "verified": False}
    ]
    assert (told["tables_copied"], told["tables_total"]) == (1, 2)
    unfinished = {stage["stage"] for stage in told["stages"] if stage["ended_at"] is None}
    assert unfinished == {"copy", "restore", "analyze", "verify"}
    assert "foreign key to_large of public.small" in told["parked"]
    assert (told["completed_at"], told["runs"][0]["ended_at"], told["runs"][0]["exit_code"]) == (None,) * 3
    lines = " ".join(said.stdout.split())  # as if the console were wide
    assert re.search(r"migration public: under way, begun at [-0-9: ]+UTC", lines)
    assert "tables: 1 of 2 copied, 0 of 2 verified; 3,000 rows in the target" in lines
    assert "foreign key to_large of public.small" in lines
    assert re.search(r"copy [0-9:]+ [0-9.]+ s", lines)
    assert command_of(told) == ["status", "--follow"]


@pytest.mark.one_server
async def test_a_refused_run_says_what_settles_it(make_sqlite: MakeSqlite, database: Database, warm: Zygote) -> None:
    """Message, next step and what is to be pasted are in the ledger; followed literally they lead to the end."""
    source = make_sqlite(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, likes INTEGER); CREATE TABLE b (id INTEGER PRIMARY KEY)",
        {"a": [(1, "many")], "b": [(1,)]},
    )
    target = {"MIGRATOR_TARGET_URL": database.url}
    flags = ("run", "--source", source, "--schema", "create")
    masked = warm(*flags, "--mask-values", variables=target)
    assert masked.code == 3
    said, told = asked(warm, target)
    assert (said.code, told["state"]) == (7, "failed")
    assert "a.likes" in told["message"]
    assert "many" not in said.stdout + str(told)
    assert warm(*flags, variables=target).code == 3
    said, told = asked(warm, target)
    assert 'null = ["many"]' in told["next_action"]["rules"]
    assert told["next_action"]["rules"] in said.stdout
    with TemporaryDirectory() as folder, chdir(folder):
        write_rules(told)
        assert warm(*command_of(told), variables=target).code == 0
        assert asked(warm, target)[0].code == 0


@pytest.mark.one_server
async def test_follow_over_a_whole_run(
    dryad_file: Path, database: Database, warm: Zygote, proxies: list[Proxy]
) -> None:
    """It waits for the begin and for a server that is away, tells each change once, and ends with the run."""
    url = make_url(database.url)
    assert url.port is not None
    proxies.append(Proxy(url.port))
    through = url.set(host="127.0.0.1", port=proxies[0].port).render_as_string(hide_password=False)
    watched = warm.start("status", "--follow", MIGRATOR_TARGET_URL=through)
    first = watched.until(lambda event: event["event"] == "status")
    assert first is not None
    assert (first["state"], first["stages"]) == ("never begun", [])
    proxies[0].will("reset", times=3)
    assert watched.until(lambda event: event["event"] == "server.lost") is not None
    stopped = warm.start("status", "--follow", MIGRATOR_TARGET_URL=database.url)
    assert stopped.until(lambda event: event["event"] == "status") is not None
    os.kill(stopped.number, signal.SIGINT)
    assert stopped.ended().code == 130
    job = warm.start(
        "run", "--source", dryad_file, "--alembic-config", ALEMBIC_INI, MIGRATOR_TARGET_URL=database.url, watched=False
    )
    ended = watched.ended()
    assert ended.code == 0, ended.stderr
    told = [event for event in ended.events if event["event"] == "status"]
    assert [event["state"] for event in told][-1] == "complete"
    assert {event["state"] for event in told} <= {"never begun", "under way", "complete"}
    assert all(one != other for one, other in pairwise([{**event, "timestamp": ""} for event in told]))
    assert ended.stdout.startswith("migration public: complete")
    assert job.ended().code == 0


@pytest.mark.one_server
async def test_follow_ends_with_a_run_that_fails(make_sqlite: MakeSqlite, database: Database, warm: Zygote) -> None:
    """The code is 7, and the page has the message of the run; without a terminal nothing is drawn."""
    source = make_sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER)", {"a": [(1, "many")]})
    watched = warm.start("status", "--follow", MIGRATOR_TARGET_URL=database.url)
    assert watched.until(lambda event: event["event"] == "status") is not None
    assert warm("run", "--source", source, "--schema", "create", MIGRATOR_TARGET_URL=database.url).code == 3
    ended = watched.ended()
    assert ended.code == 7, ended.stderr
    assert "it said: " in ended.stdout
    assert "\x1b" not in ended.stdout + ended.stderr


@pytest.mark.one_server
async def test_several_migrations(make_sqlite: MakeSqlite, database: Database, warm: Zygote, tmp_path: Path) -> None:
    """One that failed among them decides the code; each is told by its own name, which the command has too."""
    good = make_sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY)", {"a": [(1,)]})
    bad = make_sqlite(
        "CREATE TABLE b (id INTEGER PRIMARY KEY, n INTEGER)", {"b": [(1, "many")]}, file=tmp_path / "bad.db"
    )
    target = {"MIGRATOR_TARGET_URL": database.url}
    for source, name, code in ((good, "good", 0), (bad, "bad", 3)):
        flags = ("--source", source, "--schema", "create", "--migration", name)
        assert warm("run", *flags, variables=target).code == code
    said, told = asked(warm, target)
    assert (said.code, told["state"]) == (7, "failed")
    assert {one["name"]: one["state"] for one in told["migrations"]} == {"good": "complete", "bad": "failed"}
    assert warm("status", "--follow", variables=target).code == 7
    assert asked(warm, target, "--migration", "good")[0].code == 0
    said, told = asked(warm, target, "--migration", "bad")
    assert (said.code, told["migration"]) == (7, "bad")
    assert " --migration bad " in told["next_action"]["command"]
    said, told = asked(warm, target, "--migration", "mistyped")
    assert (said.code, told["state"]) == (6, "never begun")
    assert told["unknown"] == "the ledger knows no migration 'mistyped', but 'bad', 'good'"


def test_each_field_is_documented() -> None:
    """The page has a line for each field of the JSON, and no other."""
    now = datetime.now(UTC)
    found = MigrationStatus("a", State.NEVER_BEGUN, now)
    page = (Path(__file__).parents[2] / "docs" / "reference" / "status.md").read_text(encoding="utf-8")
    lines = page.partition("| field | meaning |")[2].splitlines()
    documented = {name for line in lines for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")}
    assert documented == set(Status((found,), (next_action(found, None, named=False),)).to_json())


_WAITING = "SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"
_LOCKED = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $1::bigint::oid"
