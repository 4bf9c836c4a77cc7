"""The server reaches a limit: memory, or space for temporary files. Said in plain words, and the next run finishes."""

from pathlib import Path

import pytest
from fix_job import catalogs, quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_warm import Zygote

pytestmark = pytest.mark.one_server
FLAGS = ("--schema", "existing", *quick_flags())
ROWS = 20_000


@pytest.fixture
def source(make_sqlite: MakeSqlite) -> Path:
    """Give a table whose index needs more room than the test allows."""
    return make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, w TEXT);"
        f"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})"
        "INSERT INTO t SELECT i, printf('%0100d', i * 7919 % 20011) FROM n"
    )


async def test_out_of_memory(source: Path, database: Database, warm: Zygote) -> None:
    """The server's own code for it, in the middle of an index: exit 4; with memory the next run ends with 0."""
    await database.execute(
        "CREATE FUNCTION memory(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
        "  RAISE 'out of memory' USING ERRCODE = '53200', DETAIL = 'Failed on request of size 8192.'; END $$;"
        "CREATE TABLE t (id int PRIMARY KEY, w text); CREATE INDEX words ON t (memory(w))"
    )
    before = await catalogs(database)
    ended = warm("run", "--source", source, *FLAGS, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 4, ended.stderr
    assert "the server is out of memory" in ended.message
    assert "maintenance_work_mem" in str(ended.failure["next_step"])
    assert "Traceback" not in ended.stderr
    await database.execute(
        "CREATE OR REPLACE FUNCTION memory(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END'"
    )
    await _finishes(source, database, warm, before)


async def test_no_room_for_temporary_files(source: Path, database: Database, warm: Zygote) -> None:
    """A quota that an administrator has set: exit 4 with the server's words; without it the next run ends with 0."""
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, w text); CREATE INDEX words ON t (w)")
    before = await catalogs(database)
    limits = {"temp_file_limit": "64kB", "maintenance_work_mem": "1MB"}
    for name, value in limits.items():
        await database.execute(f"ALTER ROLE {database.role} SET {name} = '{value}'", as_admin=True)
    ended = warm("run", "--source", source, *FLAGS, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 4, ended.stderr
    assert "the server has reached a limit: temporary file size exceeds" in ended.message
    assert "Raise the limit" in str(ended.failure["next_step"])
    await database.execute(f"ALTER ROLE {database.role} RESET ALL", as_admin=True)
    await _finishes(source, database, warm, before)


async def _finishes(source: Path, database: Database, warm: Zygote, before: dict[str, list[str]]) -> None:
    again = warm("run", "--source", source, *FLAGS, MIGRATOR_TARGET_URL=database.url)
    assert again.code == 0, again.stderr
    assert await catalogs(database) == before
    counted = await database.fetch("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM t")
    assert tuple(counted[0]) == (ROWS, ROWS)
