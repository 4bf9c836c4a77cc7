"""A run over nothing never says that every value of every row has arrived."""

from collections.abc import Awaitable, Callable

import pytest
from fix_job import Cli, quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite

pytestmark = pytest.mark.one_server
Prepare = Callable[[Database], Awaitable[None]]

SOURCES = {
    "no table at all": ("PRAGMA user_version = 1", (), 3, "holds no table"),
    "only a view": ("CREATE VIEW v AS SELECT 1 AS id", (), 3, "v (a view)"),
    "only bookkeeping": ("CREATE TABLE alembic_version (version_num TEXT)", (), 3, "alembic_version"),
    "excluded by name": ("CREATE TABLE a (id); CREATE TABLE b (id)", ("--exclude", "a,b"), 2, "all 2 tables"),
    "excluded by a wildcard": ("CREATE TABLE a (id)", ("--exclude", "*"), 2, "excluded"),
}


@pytest.mark.parametrize("command", ["run", "verify", "check"])
@pytest.mark.parametrize("case", SOURCES)
async def test_nothing_is_left_to_carry(
    command: str, case: str, make_sqlite: MakeSqlite, database: Database, cli: Cli
) -> None:
    """A source without a table is 3, an exclusion of all of them 2; the database stays without a table of ours."""
    script, flags, code, words = SOURCES[case]
    source = make_sqlite(script)
    await database.execute("CREATE TABLE a (id int); CREATE TABLE b (id int)")
    schema = ("--schema", "existing") if command == "run" else ()
    ended = cli(command, "--source", source, *schema, *flags, *quick_flags(), MIGRATOR_TARGET_URL=database.url)
    assert ended.code == code, ended.stderr
    assert words in ended.message
    assert ended.failure["next_step"]
    assert await database.fetch("SELECT 1 FROM a") == []
