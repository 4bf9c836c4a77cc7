"""Alembic projects of every make: whatever their env.py does, the target gets the revisions that were asked for."""

import logging
import os
from pathlib import Path

import pytest
from alembic_projects import ASYNCHRONOUS, COOKBOOK, SYNCHRONOUS, project, tables, target_of
from fix_job import catalogs
from fix_postgres import Database

from migrator.errors import ConfigurationError
from migrator.schema.alembic import AlembicProject

pytestmark = pytest.mark.one_server

FROM_IMPORT = ASYNCHRONOUS.replace("import asyncio", "from asyncio import run").replace("asyncio.run(", "run(")
ENVIRONMENT_ASYNC = """
import asyncio, os
from sqlalchemy.ext.asyncio import create_async_engine
from alembic import context
def migrate(connection):
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()
asyncio.run(main())
"""
BOTH = """
import asyncio
from sqlalchemy.ext.asyncio import async_engine_from_config
from alembic import context
config = context.config
def do_run_migrations(connection):
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
async def run_async():
    connectable = async_engine_from_config(config.get_section(config.config_ini_section), prefix="sqlalchemy.")
    async with connectable.connect() as connection:
        await connection.run_sync(do_run_migrations)
connectable = config.attributes.get("connection", None)
if connectable is None:
    asyncio.run(run_async())
else:
    do_run_migrations(connectable)
"""
READS_OTHER_ATTRIBUTES = ASYNCHRONOUS.replace(
    "config = context.config", "config = context.config\nloud = config.attributes.get('configure_logger', True)"
)
ENVS = {
    "synchronous": SYNCHRONOUS,
    "asynchronous": ASYNCHRONOUS,
    "asynchronous, by from-import": FROM_IMPORT,
    "the cookbook's": COOKBOOK,
    "a connection or its own loop": BOTH,
    "asynchronous, and reads attributes": READS_OTHER_ATTRIBUTES,
    "DATABASE_URL, asynchronous": ENVIRONMENT_ASYNC,
}


@pytest.mark.parametrize("env", ENVS)
async def test_every_kind_of_env(env: str, tmp_path: Path, database: Database) -> None:
    """First a revision in the middle, then the head, each through the project's own env.py."""
    ini = project(tmp_path, ENVS[env], {"one": None, "two": "one", "three": "two"})
    found = AlembicProject(ini)
    target = target_of(database)
    await found.upgrade(target, ["two"])
    assert await tables(database) == {"t_one", "t_two", "alembic_version"}
    await found.upgrade(target, ["three"])
    assert await tables(database) == {"t_one", "t_two", "t_three", "alembic_version"}
    before = await catalogs(database)
    await found.upgrade(target, ["three"])
    assert await catalogs(database) == before


async def test_a_project_in_pyproject(tmp_path: Path, database: Database) -> None:
    """Alembic reads [tool.alembic] of a pyproject.toml as well; the setting may name that file."""
    project(tmp_path, COOKBOOK, {"one": None})
    (tmp_path / "alembic.ini").unlink()
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\nname = "x"\n[tool.alembic]\nscript_location = "%(here)s/mig rations"\n')
    await AlembicProject(pyproject).upgrade(target_of(database), ["one"])
    assert "t_one" in await tables(database)


async def test_several_heads(tmp_path: Path) -> None:
    """There is no newest revision then: the heads are named, and how to merge them."""
    ini = project(tmp_path, SYNCHRONOUS, {"one": None, "left": "one", "right": "one"})
    with pytest.raises(ConfigurationError, match=r"2 heads: left, right"):
        AlembicProject(ini).head()


async def test_what_a_project_knows(tmp_path: Path) -> None:
    """A revision of another application is not known; a project without any has no head."""
    found = AlembicProject(project(tmp_path, SYNCHRONOUS, {"one": None}))
    assert (found.head(), found.knows("one"), found.knows("stranger")) == ("one", True, False)
    (tmp_path / "empty").mkdir()
    assert AlembicProject(project(tmp_path / "empty", SYNCHRONOUS, {})).head() is None


@pytest.mark.parametrize("ini", ["[alembic]\nscript_location = nowhere\n", "[alembic]\n", "[other]\n", "not an ini"])
async def test_a_configuration_that_leads_nowhere(ini: str, tmp_path: Path) -> None:
    """It is one of the settings that is wrong, so the job ends with 2 before it waits for anything."""
    path = project(tmp_path, SYNCHRONOUS, {"one": None}, ini=ini)
    with pytest.raises(ConfigurationError, match="leads to no migrations"):
        AlembicProject(path)


async def test_a_database_of_a_revision_that_is_unknown(tmp_path: Path, database: Database) -> None:
    """The target was migrated by a newer image: Alembic refuses, and so does the job, in one line."""
    found = AlembicProject(project(tmp_path, COOKBOOK, {"one": None}))
    await database.execute(
        "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('new')"
    )
    with pytest.raises(ConfigurationError, match="Can't locate revision identified by 'new'"):
        await found.upgrade(target_of(database), ["one"])


async def test_a_failing_migration_leaves_nothing_behind(tmp_path: Path, database: Database) -> None:
    """The transaction is rolled back, so the next run begins where this one did."""
    ini = project(tmp_path, COOKBOOK, {"one": None, "two": "one"})
    await database.execute("CREATE TABLE t_two (id int)")
    with pytest.raises(Exception, match='"t_two" already exists'):
        await AlembicProject(ini).upgrade(target_of(database), ["two"])
    assert await tables(database) == {"t_two"}


async def test_the_environment_is_as_before(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DATABASE_URL is the application's own outside the migrations."""
    monkeypatch.setenv("DATABASE_URL", "sqlite:///mine.db")
    await AlembicProject(project(tmp_path, ENVIRONMENT_ASYNC, {"one": None})).upgrade(target_of(database), ["one"])
    assert os.environ["DATABASE_URL"] == "sqlite:///mine.db"


async def test_an_env_that_sets_up_logging_leaves_the_log_as_it_is(tmp_path: Path, database: Database) -> None:
    """Its handlers would write to stderr past the redaction, so whatever logging it configures is not configured."""
    own_logging = "import logging.config\nlogging.config.dictConfig({'version': 1, 'root': {'handlers': []}})\n"
    ini = project(tmp_path, own_logging + COOKBOOK, {"0001": None})
    handlers = list(logging.getLogger().handlers)
    target = target_of(database)
    try:
        await AlembicProject(ini).upgrade(target, ["0001"])
    finally:
        await target.close()
    assert logging.getLogger().handlers == handlers
