"""A damaged file: never 0 with rows that SQLite itself would not read, never a hang, never a bug's exit code."""

import os
import random
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_warm import Zygote

# The long version is scripts/torture.sh.
CORRUPTIONS = int(os.environ.get("MIGRATOR_TEST_CORRUPTIONS", "90"))
AT_ONCE = 30
"""Files for one test: they share what has to be set up."""

SOURCE = """
PRAGMA page_size = 1024;
CREATE TABLE t (id INTEGER PRIMARY KEY, t TEXT, b BLOB, r REAL);
CREATE TABLE k (a TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID;
CREATE INDEX by_t ON t (t);
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 120)
INSERT INTO t SELECT i, 'row ' || i, randomblob(i), i / 3.0 FROM n;
INSERT INTO t VALUES (1000, printf('%03000d', 7), zeroblob(3000), 1.5);
INSERT INTO k SELECT t, id FROM t WHERE id < 100;
"""
TARGET = """
CREATE TABLE t (id bigint PRIMARY KEY, t text, b bytea, r float8); CREATE TABLE k (a text PRIMARY KEY, n int);
"""
REFUSED = {3}
"""A damaged source is the source's fault. A damaged schema may lack a table or column, which the target then has."""


def _damage(path: Path, chance: random.Random) -> str:
    """Change one byte, or one page, at a random place, and return which."""
    data = bytearray(path.read_bytes())
    if chance.random() < 0.5:
        place = chance.randrange(len(data)) if chance.random() < 0.8 else chance.randrange(200)
        data[place] ^= 1 << chance.randrange(8) if chance.random() < 0.5 else chance.randrange(1, 256)
        path.write_bytes(data)
        return f"byte {place} is {data[place]}"
    page = chance.randrange(len(data) // 1024) * 1024
    what = chance.choice(["zeros", "noise", "another page", "torn"])
    other = chance.randrange(len(data) // 1024) * 1024
    data[page : page + 1024] = {
        "zeros": bytes(1024),
        "noise": chance.randbytes(1024),
        "another page": data[other : other + 1024],
        "torn": data[page : page + 512] + data[other + 512 : other + 1024],
    }[what]
    path.write_bytes(data)
    return f"page at {page} is {what} ({other})"


def _as_sqlite_reads_it(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows as bytes and numbers: damage may turn a BLOB into text, which need not be UTF-8."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        return {
            "t": connection.execute("SELECT id, t, b, r FROM t").fetchall(),
            "k": connection.execute("SELECT a, n FROM k").fetchall(),
        }


def _in_order(rows: Iterable[Sequence[object]]) -> list[tuple[object, ...]]:
    """Return the rows in the order of what they hold: a damaged key is not where SQLite's own order has it."""
    return sorted(
        (tuple(value.encode() if isinstance(value, str) else value for value in row) for row in rows), key=repr
    )


@pytest.mark.one_server
@pytest.mark.parametrize("batch", range(0, CORRUPTIONS, AT_ONCE))
async def test_a_damaged_file(
    batch: int, make_sqlite: MakeSqlite, database: Database, warm: Zygote, tmp_path: Path
) -> None:
    """One byte or one page is wrong: the job refuses, or carries over exactly what SQLite reads from the file."""
    sound = make_sqlite(SOURCE)
    await database.execute(TARGET)
    for seed in range(batch, batch + AT_ONCE):
        path = Path(shutil.copy(sound, tmp_path / f"damaged-{seed}.db"))
        damage = f"seed {seed}: {_damage(path, random.Random(seed))}"  # noqa: S311 - no secret
        ended = warm(
            *("run", "--source", path, "--schema", "existing", *quick_flags()), MIGRATOR_TARGET_URL=database.url
        )
        assert ended.code in {0, 3, 4}, (damage, ended.stderr)
        assert "Traceback" not in ended.stderr, damage
        if ended.code == 0:
            read = _as_sqlite_reads_it(path)
            found = {
                "t": await database.fetch("SELECT id, t, b, r FROM t"),
                "k": await database.fetch("SELECT a, n FROM k"),
            }
            assert {name: _in_order(found[name]) for name in read} == {
                name: _in_order(rows) for name, rows in read.items()
            }, damage
        await database.execute("DROP SCHEMA IF EXISTS migrator CASCADE; TRUNCATE t, k")
