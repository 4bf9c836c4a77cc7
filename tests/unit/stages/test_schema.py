"""Stage schema: the application's own migrations or command make the tables; the ledger learns what they brought."""

import sys
from pathlib import Path

import pytest
from fix_job import MIGRATION, begin_ledger, dryad_settings, run_ledger, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.errors import ConfigurationError, GaveUp, TargetRefused
from migrator.job.context import schema_options_of
from migrator.ledger import loads, state
from migrator.names import TableName
from migrator.schema.alembic import alembic_project
from migrator.sessions.url import from_url
from migrator.source.database import Source
from migrator.stages.schema import schema
from migrator.target.database import Target

pytestmark = pytest.mark.one_server
STAMPED = "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('{}')"


@pytest.fixture
async def target(database: Database) -> Target:
    """Give a target with a ledger that this run owns."""
    target = Target(from_url(database.url, {}))
    await begin_ledger(target)
    return target


async def _make(target: Target, source: Path, database: Database, **settings: object) -> None:
    opened = Source(source)
    contents = await opened.describe()
    given = {"schema_mode": "existing"} | settings
    make = dryad_settings if given["schema_mode"] == "alembic" else settings_of
    try:
        await schema(opened, contents, schema_options_of(make(source, database, **given)), run_ledger(target))
    finally:
        await opened.close()


async def _revision(database: Database) -> str:
    [(revision,)] = await database.fetch("SELECT version_num FROM alembic_version")
    return str(revision)


@pytest.mark.parametrize("stamp", ["0002", None])
async def test_the_revision_of_the_source(
    stamp: str | None, target: Target, database: Database, make_sqlite: MakeSqlite
) -> None:
    """Rows meet the tables that they were written for; a source without a stamp meets the newest."""
    source = make_sqlite(STAMPED.format(stamp) if stamp else "CREATE TABLE t (id)")
    settings = dryad_settings(source, database)
    await _make(target, source, database, schema_mode="alembic")
    assert await _revision(database) == (stamp or alembic_project(settings.alembic_config).head())
    groves = await database.fetch("SELECT to_regclass('public.groves') IS NOT NULL AS there")
    assert groves[0]["there"] is (stamp is None)
    await _make(target, source, database, schema_mode="alembic")  # as a next run does


async def test_a_revision_that_nobody_knows(target: Target, database: Database, make_sqlite: MakeSqlite) -> None:
    """It is named, before the target has a table."""
    source = make_sqlite(STAMPED.format("beef"))
    with pytest.raises(ConfigurationError, match="at Alembic revision beef"):
        await _make(target, source, database, schema_mode="alembic")
    assert await database.fetch("SELECT FROM pg_tables WHERE schemaname = 'public'") == []


MAKE = """
import asyncio, asyncpg, os
async def make():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.execute("CREATE TABLE IF NOT EXISTS made (id int); INSERT INTO made VALUES (1), (2)")
    await connection.close()
asyncio.run(make())
"""


async def test_a_command_makes_them(
    target: Target, database: Database, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """It gets the target's URL; rows that it leaves in an empty database are counted once, not again by a next run."""
    program = tmp_path / "make it.py"
    program.write_text(MAKE)
    source = make_sqlite("CREATE TABLE made (id)")
    for _ in range(2):
        command = f"{sys.executable} '{program}'"
        await _make(target, source, database, schema_mode="command", schema_command=command)
    async with target.connect() as connection:
        seeds = await loads.seeds(connection)
        assert {name: seed.rows for name, seed in seeds.items()} == {TableName("public", "made"): 2}
        assert await state.recall(connection, MIGRATION, "began_empty") is True


async def test_a_command_that_fails(target: Target, database: Database, make_sqlite: MakeSqlite) -> None:
    """Its code and its last line are told."""
    command = f"""{sys.executable} -c "print('first'); print('no such thing'); raise SystemExit(3)" """
    with pytest.raises(TargetRefused, match="ended with 3: no such thing"):
        await _make(target, make_sqlite("CREATE TABLE t (id)"), database, schema_mode="command", schema_command=command)


async def test_tables_of_somebody(target: Target, database: Database, make_sqlite: MakeSqlite) -> None:
    """Where tables were before the migration began, no row in them is taken for one that may give way."""
    await database.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    source = make_sqlite("CREATE TABLE t (id)")
    await _make(target, source, database)
    async with target.connect() as connection:
        assert await state.recall(connection, MIGRATION, "began_empty") is False
        assert await loads.seeds(connection) == {}
        assert await state.recall(connection, MIGRATION, "catalog")


async def test_another_run_has_taken_over(target: Target, database: Database, make_sqlite: MakeSqlite) -> None:
    """Then nothing is written down about the schema any more."""
    await begin_ledger(target, 8)
    with pytest.raises(GaveUp, match="taken over"):
        await _make(target, make_sqlite("CREATE TABLE t (id)"), database)
    async with target.connect() as connection:
        assert await state.recall(connection, MIGRATION, "catalog") is None
