"""The job vanishes while the application's own migrations run, or has to take back what they have changed."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from fix_dryad import OLD, alembic
from fix_job import catalogs, contents, quick_flags
from fix_postgres import Database, database_on
from fix_warm import Zygote
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from migrator.demo.dryad import ALEMBIC_INI
from migrator.schema.alembic import AlembicProject

FLAGS = ("--schema", "alembic", "--alembic-config", ALEMBIC_INI, *quick_flags())
TABLES = ("users", "messages", "groves")
# Revision 0004 makes an index of this name, and has to wait until it is known who has it.
IN_THE_WAY = "CREATE TABLE uq_messages_conversation_id_position ()"


@pytest.mark.one_server
@pytest.mark.parametrize("stage", ["schema", "upgrade"])
async def test_killed_in_the_middle_of_a_revision(
    stage: str, request: pytest.FixtureRequest, database: Database, warm: Zygote
) -> None:
    """The next run finishes: the newest revision, and schema and rows like those of a run that nobody disturbed."""
    source = request.getfixturevalue("old_file" if stage == "upgrade" else "dryad_file")
    holder = await asyncpg.connect(database.url)
    try:
        async with asyncio.timeout(60):
            await holder.execute("BEGIN; " + IN_THE_WAY)
            job = warm.start("run", "--source", source, *FLAGS, MIGRATOR_TARGET_URL=database.url)
            job.until(lambda event: event["event"] == "stage.started" and event["stage"] == stage)
            while not await database.fetch(_WAITING, holder.get_server_pid()):
                pass
            job.kill()
            job.ended()
    finally:
        await holder.close()
    ended = warm("run", "--source", source, *FLAGS, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    with database_on(database.server) as peaceful:
        assert warm("run", "--source", source, *FLAGS, MIGRATOR_TARGET_URL=peaceful.url).code == 0
        assert await _state(database) == await _state(peaceful)
    assert (await database.fetch("SELECT version_num FROM alembic_version"))[0][0] == AlembicProject(ALEMBIC_INI).head()


_WAITING = "SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"


async def _state(database: Database) -> dict[str, list[str]]:
    found = await catalogs(database) | {t: await contents(database, t) for t in TABLES}
    return {name: [row.replace(database.role, "owner") for row in rows] for name, rows in found.items()}


@pytest.mark.one_server
async def test_reset_after_the_upgrade(old_file: Path, database: Database, warm: Zygote) -> None:
    """
    What a migration has rewritten counts as the application's: it stays unless its removal is forced.

    The schema stays at the newest revision. Rows of the older one don't fit any more, and the next run says so before
    it writes; once the application's migrations were taken back, it does everything again.
    """
    target = {"MIGRATOR_TARGET_URL": database.url}
    assert warm("run", "--source", old_file, *FLAGS, **target).code == 0
    done = await _state(database)
    refused = warm("reset", "--yes", *quick_flags(), **target)
    assert (refused.code, refused.message.partition(": public.messages")[0]) == (
        4,
        "tables have been written to since they were filled",
    )
    assert await _state(database) == done
    assert warm("reset", "--yes", "--force", *quick_flags(), **target).code == 0
    assert await contents(database, "messages") == []
    early = warm("run", "--source", old_file, *FLAGS, **target)
    assert (early.code, early.failure["columns"]) == (4, ["public.messages.position"])
    await _take_back(database)
    again = warm("run", "--source", old_file, *FLAGS, **target)
    assert again.code == 0, again.stderr
    assert {t: await contents(database, t) for t in TABLES} == {t: done[t] for t in TABLES}


async def _take_back(database: Database) -> None:
    engine = create_async_engine(make_url(database.url).set(drivername="postgresql+asyncpg"))
    async with engine.begin() as connection:
        await connection.run_sync(alembic, "downgrade", OLD)
    await engine.dispose()
