"""The server reaches a limit: memory, or space for temporary files. Said in plain words, and the next run finishes."""

from pathlib import Path

import pytest
from fix_job import catalogs, contents, quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_warm import Zygote

pytestmark = pytest.mark.one_server
FLAGS = ("--schema", "existing", *quick_flags())


@pytest.fixture
def source(make_sqlite: MakeSqlite) -> Path:
    """Give a small table."""
    return make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, w TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b')")


TARGET = """
CREATE FUNCTION form(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN {need}; RETURN $1; END $$;
CREATE TABLE t (id int PRIMARY KEY, w text);
CREATE INDEX words ON t (form(w))
"""
"""An index that needs something of the server when it is built."""


async def test_out_of_memory(source: Path, database: Database, warm: Zygote) -> None:
    """The server's own code for it, in the middle of an index: exit 4; with memory the next run ends with 0."""
    await database.execute(TARGET.format(need="RAISE 'out of memory' USING ERRCODE = '53200', DETAIL = 'On request'"))
    before = await catalogs(database)
    ended = warm("run", "--source", source, *FLAGS, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 4, ended.stderr
    assert ended.message == "the server is out of memory: out of memory"
    assert "maintenance_work_mem" in str(ended.failure["next_step"])
    assert "Traceback" not in ended.stderr
    await database.execute(
        "CREATE OR REPLACE FUNCTION form(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END'"
    )
    await _finishes(source, database, warm, before)


async def test_no_room_for_temporary_files(source: Path, database: Database, warm: Zygote) -> None:
    """A quota that an administrator has set: exit 4 with the server's words; without it the next run ends with 0."""
    sort = "PERFORM count(*) FROM (SELECT i FROM generate_series(1, 50000) AS i ORDER BY md5(i::text)) AS sorted"
    await database.execute(TARGET.format(need=sort))
    before = await catalogs(database)
    for limit in ("temp_file_limit = '64kB'", "work_mem = '64kB'"):
        await database.execute(f"ALTER ROLE {database.role} SET {limit}", as_admin=True)
    ended = warm("run", "--source", source, *FLAGS, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 4, ended.stderr
    assert ended.message.startswith("the server has reached a limit: temporary file size exceeds"), ended.message
    assert "Raise the limit" in str(ended.failure["next_step"])
    await database.execute(f"ALTER ROLE {database.role} RESET ALL", as_admin=True)
    await _finishes(source, database, warm, before)


async def _finishes(source: Path, database: Database, warm: Zygote, before: dict[str, list[str]]) -> None:
    again = warm("run", "--source", source, *FLAGS, MIGRATOR_TARGET_URL=database.url)
    assert again.code == 0, again.stderr
    assert await catalogs(database) == before
    assert await contents(database, "t") == ["(1,a)", "(2,b)"]
