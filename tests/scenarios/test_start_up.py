"""
What a command loads before its first login, and what a small run asks the server: counted, since times vary.

Compose starts the job again and again, and a small database is moved in the time that Python takes to begin.
"""

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fix_job import clean_environment, quick_flags
from fix_postgres import Database

pytestmark = pytest.mark.one_server

# A program that runs the command as `migrator` does, and prints what was loaded before the first login and at the end,
# how often it sent something to a server, how often it logged in, and how many sessions of ADBC there were besides.
PROGRAM = """
import json, sys, threading
from migrator.cli import startup
counts = {"sent": 0, "logins": 0, "readers": 0, "before": None}
def modules():
    return sorted(name for name, module in [*sys.modules.items()] if module)
def watch(event, arguments):
    if event == "socket.connect":
        counts["logins"] += 1
        counts["before"] = counts["before"] or modules()
sys.addaudithook(watch)
import asyncio.selector_events as loop
write = loop._SelectorSocketTransport.write
def counted(transport, data):
    counts["sent"] += 1
    return write(transport, data)
loop._SelectorSocketTransport.write = counted
start = threading.Thread.start
def counted_start(thread):
    counts["readers"] += thread.name == "watchdog"
    start(thread)
threading.Thread.start = counted_start
def leave(code):
    [thread.join() for thread in threading.enumerate() if thread.name == "drivers"]
    digest = sys.modules.get("migrator.verification.digest")
    known = "SELECT function_name FROM duckdb_functions() WHERE NOT internal"
    macros = digest and digest.database(with_documents=False).cursor().execute(known).fetchall()
    counts["macros"] = sorted(name for name, in macros or ())
    print(json.dumps(counts | {"code": code, "after": modules()}), file=sys.stderr)
startup._leave = leave
startup.main()
"""


@dataclass(frozen=True)
class Told:
    """What the program told at its end."""

    code: int
    before: set[str]
    after: set[str]
    sent: int
    logins: int
    readers: int
    macros: set[str]
    """The macros that DuckDB knows."""
    events: dict[str, dict[str, Any]]
    """The last event of each kind."""


async def tell(url: str, *arguments: object) -> Told:
    """Run a command that may use one CPU on a target, and return what was counted."""
    one_cpu = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]
    command = [*one_cpu, sys.executable, "-c", PROGRAM, *map(str, arguments)]
    environment = clean_environment() | {"MIGRATOR_TARGET_URL": url}
    done = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, check=True)
    *events, line = map(json.loads, done.stderr.splitlines())
    told = {event["event"]: event for event in events}
    before, after = set(line["before"]), set(line["after"])
    return Told(line["code"], before, after, line["sent"], line["logins"], line["readers"], set(line["macros"]), told)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a source of two tables with a thousand rows, a key and an index between them."""
    path = tmp_path_factory.mktemp("source") / "small.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, since TIMESTAMP);"
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers, paid REAL);"
            "CREATE INDEX by_customer ON orders (customer);"
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
            "INSERT INTO customers SELECT i, 'name ' || i, '2024-01-01 10:00:00' FROM n;"
            "INSERT INTO orders SELECT a.id * 4 + b.id, a.id, a.id / 2.0 FROM customers a, customers b WHERE b.id < 5;"
        )
    return path


BULK = ("pyarrow", "duckdb", "pgpq", "adbc_driver_manager.dbapi")
"""What reads and sends rows."""

UNUSED = (
    *("alembic", "mako", "pyarrow.dataset", "pyarrow.parquet", "pygments", "rich.console"),
    *("migrator.reports.document", "migrator.stages.reset"),
)
"""What no command uses that has neither a terminal nor a report's file, migrations by Alembic, or `--restart`."""


def loaded(modules: set[str], names: Sequence[str]) -> list[str]:
    """Return which of these modules are loaded."""
    return [name for name in names if name in modules]


async def test_what_a_small_run_needs(source: Path, database: Database) -> None:
    """A run loads what moves rows after its first login, the second run not at all; both load only what they use."""
    flags = ("run", "--source", source, "--schema", "create", *quick_flags())
    first = await tell(database.url, *flags)
    assert (first.code, loaded(first.before, BULK + UNUSED), loaded(first.after, UNUSED)) == (0, [], [])
    assert loaded(first.after, BULK) == list(BULK)
    # The job has one CPU: the server, which has more, still makes several keys at the same time.
    chosen = first.events["sessions.chosen"]
    assert (chosen["rows"], chosen["keys"]) == (2, 4)
    # ADBC asks for all types in each of its sessions, which takes longer than to read so few rows.
    assert first.readers == 1
    # No column holds documents, whose macros take DuckDB four times as long as all others.
    assert ("decimal_form" in first.macros, "json_form" in first.macros) == (True, False)
    second = await tell(database.url, *flags)
    assert (second.code, loaded(second.after, BULK + UNUSED)) == (0, [])
    # Bounds a little above what they are, since a slow run writes its progress more often: whoever needs more says so.
    assert (first.sent < 820, first.logins <= 14) == (True, True), (first.sent, first.logins)
    assert (second.sent < 150, second.logins <= 6) == (True, True), (second.sent, second.logins)


async def test_drivers_are_loaded_while_the_server_is_not_ready(source: Path) -> None:
    """Compose starts both together, and the server takes longer: the time of the imports is spent by then."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    flags = ("--schema", "create", "--wait-timeout-seconds", "1")
    told = await tell(f"postgresql://nobody@127.0.0.1:{port}/none", "run", "--source", source, *flags)
    assert (told.code, loaded(told.before, BULK), loaded(told.after, BULK)) == (5, [], list(BULK))
