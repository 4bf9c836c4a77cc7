"""
Memory doesn't grow with the data: the job's peak, measured in a process of its own, for little and for more.

Peaks are compared with each other in one run, since what the interpreter and the drivers take differs between machines.
A peak is the kernel's high-water mark of resident memory (proc(5), VmHWM).
"""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import clean_environment
from fix_postgres import Database

pytestmark = [
    pytest.mark.one_server,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process"),
]

BATCH_BYTES = 1 << 20
HELD = 1 / 3
"""The part of more data by which the peak may grow: well above the noise, well below holding all of it once."""

MIB = 1 << 20
SCHEMA = "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, content BLOB, price REAL)"
TARGET = "CREATE TABLE item (id bigint PRIMARY KEY, name text, content bytea, price float8)"

# Its last line is the peak; what the job reports comes before.
MEASURED = """
import json, re, sys
from migrator.cli.main import main
code = main(sys.argv[1:])
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
print(json.dumps({"code": code, "peak": peak}))
"""

Item = tuple[int, str, bytes, float]


def filled(path: Path, items: Iterable[Item]) -> Path:
    """Write a source with these rows, which need not fit into memory."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(SCHEMA)
        connection.executemany("INSERT INTO item VALUES (?, ?, ?, ?)", items)
        connection.commit()
    return path


def narrow(rows: int) -> Iterable[Item]:
    """Make rows of about 250 bytes."""
    return ((i, f"name of item {i}", bytes([i % 256]) * 220, i / 7) for i in range(rows))


def wide(rows: int) -> Iterable[Item]:
    """Make rows of 5 MiB."""
    return ((i, "", bytes([i % 256]) * (5 * MIB), 0.0) for i in range(rows))


def skewed(rows: int) -> Iterable[Item]:
    """Make narrow rows, and one of 2 MiB in every thousand."""
    return ((i, "x", bytes([i % 256]) * (2 * MIB if i % 1000 == 500 else 20), 0.0) for i in range(rows))


def run(source: Path, target_url: str) -> int:
    """Run the whole job and return the peak of its resident memory in bytes."""
    return peak_of(target_url, "run", f"--source={source}", "--schema=existing")


def peak_of(target_url: str, *words: str, code: int = 0) -> int:
    """Run a command, which has to end with ``code``, and return the peak of its resident memory in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words, "--jobs=2", f"--batch-bytes={BATCH_BYTES}"],
        env=clean_environment() | {"MIGRATOR_TARGET_URL": target_url},
        capture_output=True,
        text=True,
        check=False,
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["code"] == code, done.stderr
    return int(measured["peak"])


async def peak_of_a_run(database: Database, source: Path) -> int:
    """Run the job into tables without rows, as if for the first time."""
    await database.execute(f"DROP SCHEMA IF EXISTS migrator CASCADE; DROP TABLE IF EXISTS item; {TARGET}")
    return run(source, database.url)


@pytest.mark.parametrize(
    ("items", "few", "many"),
    [(narrow, 120_000, 600_000), (wide, 16, 48), (skewed, 8_000, 80_000)],
    ids=["narrow rows", "rows of 5 MiB", "a few wide rows among narrow ones"],
)
async def test_the_peak_does_not_grow_with_the_data(
    tmp_path: Path, database: Database, items: Callable[[int], Iterable[Item]], few: int, many: int
) -> None:
    """Of many times the rows hardly any memory is seen: they are copied and compared in passing."""
    # The few have to be enough for all that is held at a time to be held, by every hand; from there on a peak stays.
    small, large = filled(tmp_path / "small.db", items(few)), filled(tmp_path / "large.db", items(many))
    more_data = large.stat().st_size - small.stat().st_size
    grown = await peak_of_a_run(database, large) - await peak_of_a_run(database, small)
    assert grown < HELD * more_data, f"{grown / MIB:.0f} MiB more for {more_data / MIB:.0f} MiB of data"


async def test_large_changed_rows(tmp_path: Path, database: Database) -> None:
    """Rows of 5 MiB that differ are named by ``verify``, and carried back by ``rollback``, a few at a time."""
    sizes, named, carried = [], [], []
    await database.execute(TARGET)
    for rows in (20, 80):  # with fewer, what is held at a time is not all held, and peaks differ by 60 MiB by chance
        source = filled(tmp_path / f"{rows}.db", wide(rows))
        await database.execute(
            f"TRUNCATE item; INSERT INTO item SELECT i, 'new', decode(repeat('fe', {5 * MIB}), 'hex'), 1 "
            f"FROM generate_series(0, {rows - 1}) i"
        )
        sizes.append(source.stat().st_size)
        named.append(peak_of(database.url, "verify", f"--source={source}", code=1))
        back = tmp_path / f"{rows}-back.db"
        carried.append(peak_of(database.url, "rollback", f"--like={source}", f"--to={back}"))
    more_data = sizes[1] - sizes[0]
    for peaks in (named, carried):
        assert peaks[1] - peaks[0] < HELD * more_data, (named, carried)
