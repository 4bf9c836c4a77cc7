"""More tables than a server has room for locks: none of the job's transactions touches them all."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic_projects import COOKBOOK, project
from fix_job import Cli
from fix_postgres import quick_server
from fix_sqlite import MakeSqlite
from sqlalchemy import text

from migrator.demo.server import EmbeddedServer
from migrator.names import TableName
from migrator.sessions.url import from_url
from migrator.target.database import Target
from migrator.target.lock_room import AT_ONCE, LockRoom

TABLES = 120
TINY = {
    "max_connections": "20",
    "max_locks_per_transaction": "10",
    "max_worker_processes": "0",
    "max_wal_senders": "0",
    "autovacuum_max_workers": "1",
    "autovacuum_worker_slots": "1",
}
"""Room for some hundreds of locks, and for what is free of shared memory."""


FOREIGN_KEYS = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"


@pytest.fixture(scope="module")
def tiny() -> Iterator[EmbeddedServer]:
    """Give a server that has room for few locks."""
    with quick_server(**TINY) as server:
        yield server


async def ask(server: EmbeddedServer, script: str, database: str = "postgres") -> list[tuple[object, ...]]:
    """Run statements one by one, each its own transaction, and return the rows of the last."""
    target = Target(from_url(server.url(database), {}))
    rows: list[tuple[object, ...]] = []
    try:
        async with target.autocommit() as connection:
            for statement in script.split(";\n"):
                done = await connection.execute(text(statement))
                rows = [tuple(row) for row in done] if done.returns_rows else []
    finally:
        await target.close()
    return rows


@pytest.fixture
def many(make_sqlite: MakeSqlite) -> Path:
    """Give a file of many small tables, each of which refers to the one before, or every fiftieth to the first."""

    def refers(n: int) -> str:
        return f" REFERENCES t{n - 1}" if n % AT_ONCE else " REFERENCES t0"

    return make_sqlite(
        "".join(
            f"CREATE TABLE t{n} (id INTEGER PRIMARY KEY AUTOINCREMENT, before INTEGER{refers(n)}, v TEXT UNIQUE);"
            for n in range(TABLES)
        ),
        {f"t{n}": [(1, 1, "a"), (2, 1, "b")] for n in range(TABLES)},
    )


async def test_more_tables_than_locks(tiny: EmbeddedServer, many: Path, cli: Cli) -> None:
    """Made, filled, compared, emptied and filled again, on a server where touching all of them at once is an error."""
    await ask(tiny, "DROP SCHEMA public CASCADE;\nCREATE SCHEMA public")
    given = ("--source-url", many, "--target-url", tiny.url("postgres"), "--jobs", "1")
    ended = cli("run", *given, "--schema", "create")
    assert ended.code == 0, ended.stderr[-3000:]
    with pytest.raises(Exception, match="out of shared memory"):
        await ask(tiny, " UNION ALL ".join(f"SELECT count(*) FROM t{n}" for n in range(TABLES)))
    assert await ask(tiny, FOREIGN_KEYS) == [(TABLES,)]
    ended = cli("reset", "--yes", *given[2:4])
    assert ended.code == 0, ended.stderr[-3000:]
    assert await ask(tiny, f"SELECT count(*) FROM t{TABLES - 1}") == [(0,)]
    ended = cli("run", *given, "--schema", "existing")
    assert ended.code == 0, ended.stderr[-3000:]
    assert await ask(tiny, f"SELECT count(*) FROM t{TABLES - 1}") == [(2,)]
    assert await ask(tiny, FOREIGN_KEYS) == [(TABLES,)]
    assert cli("verify", *given).code == 0


def test_tables_share_the_room() -> None:
    """A transaction takes its share at most, or one table that is larger by itself; fewer sessions where these are."""
    names = [TableName("s", f"t{n}") for n in range(8)]
    room = LockRoom(50, 20, dict(zip(names, (4, 4, 4, 30, 1, 1, 12, 4), strict=True)))
    assert [sum(room.needed[name] for name in few) for few in room.few(names)] == [8, 4, 30, 2, 12, 4]
    assert [len(few) for few in room.few(names, jobs=2)] == [1, 1, 1, 1, 2, 1, 1]
    assert (room.jobs(4), room.jobs(1)) == (1, 1)
    assert LockRoom(6400, 100, room.needed).jobs(4) == 4


PARTITIONS = 120
PARTED = "CREATE TABLE parted (id bigint PRIMARY KEY, v text) PARTITION BY RANGE (id)" + "".join(
    f";\nCREATE TABLE p{n} PARTITION OF parted FOR VALUES FROM ({n}) TO ({n + 1})" for n in range(PARTITIONS)
)


async def test_a_table_that_there_is_no_room_for(tiny: EmbeddedServer, make_sqlite: MakeSqlite, cli: Cli) -> None:
    """Nothing is written, and the advice is right: on a server set as it says the same table is carried."""
    await ask(tiny, "CREATE DATABASE parted")
    await ask(tiny, PARTED, "parted")
    source = make_sqlite("CREATE TABLE parted (id INTEGER PRIMARY KEY, v TEXT)", {"parted": [(1, "a"), (7, "b")]})
    given = ("--source-url", source, "--target-url", tiny.url("parted"))
    for command in (("check", *given), ("run", *given, "--schema", "existing")):
        refused = cli(*command)
        assert refused.code == 4, refused.stderr[-2000:]
        assert "public.parted takes " in refused.message
    advised = re.search(r"max_locks_per_transaction to at least (\d+)", refused.failure["next_step"])
    assert advised
    with quick_server(**TINY | {"max_locks_per_transaction": advised[1]}) as server:
        await ask(server, PARTED)
        ended = cli("run", *given[:2], "--target-url", server.url("postgres"), "--schema", "existing")
        assert ended.code == 0, ended.stderr[-2000:]
        assert await ask(server, "SELECT count(*) FROM parted") == [(2,)]


async def test_a_table_of_many_indexes(tiny: EmbeddedServer, make_sqlite: MakeSqlite, cli: Cli) -> None:
    """They count too: twenty tables of thirty indexes are carried, several at a time."""
    names = [f"t{n}" for n in range(20)]
    indexes = "".join(f";\nCREATE INDEX ON {name} ((id + {n}))" for name in names for n in range(30))
    await ask(tiny, "CREATE DATABASE indexed")
    await ask(tiny, ";\n".join(f"CREATE TABLE {name} (id int)" for name in names) + indexes, "indexed")
    script = "".join(f"CREATE TABLE {name} (id INTEGER);" for name in names)
    source = make_sqlite(script, {name: [(1,)] for name in names})
    given = ("--source-url", source, "--target-url", tiny.url("indexed"), "--jobs", "4")
    ended = cli("run", *given, "--schema", "existing")
    assert ended.code == 0, ended.stderr[-2000:]
    assert cli("verify", *given).code == 0


async def test_a_migration_of_the_application_that_locks_too_much(
    tiny: EmbeddedServer, make_sqlite: MakeSqlite, cli: Cli, tmp_path: Path
) -> None:
    """Its transaction is its own; the advice names the setting of the server that gives it room."""
    await ask(tiny, "DROP SCHEMA IF EXISTS migrator CASCADE")
    ini = project(tmp_path / "p", COOKBOOK, {"one": None})
    revision = tmp_path / "p" / "mig rations" / "versions" / "one_.py"
    revision.write_text(
        revision.read_text().replace(
            "def upgrade():\n",
            "def upgrade():\n    for n in range(5000): op.execute(f'CREATE TABLE x{n} (id int PRIMARY KEY)')\n",
        )
    )
    source = make_sqlite("CREATE TABLE t_one (id INTEGER)", {"t_one": [(1,)]})
    ended = cli("run", "--source-url", source, "--target-url", tiny.url("postgres"), "--alembic-config", ini)
    assert ended.code == 4, ended.stderr[-2000:]
    assert "out of shared memory" in ended.message
    assert "max_locks_per_transaction" in ended.failure["next_step"]
