"""Dryad on both databases, for tests: ``engines`` are empty, ``dryads`` have its schema."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy
from alembic import command
from alembic.config import Config
from fix_postgres import Database
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from migrator.dryad import ALEMBIC_INI
from migrator.engine import Settings, create_engine

Engines = tuple[AsyncEngine, AsyncEngine]
OLD = "0003"
"""An older revision than the newest, from which there is something to upgrade."""


def alembic(connection: Connection, verb: str, revision: str) -> None:
    """Run ``upgrade``, ``downgrade`` or ``stamp`` on the connection."""
    config = Config(ALEMBIC_INI, attributes={"connection": connection})
    getattr(command, verb)(config, revision)


async def migrate(engine: AsyncEngine, verb: str, revision: str) -> None:
    """Run an Alembic command on a connection of the engine's."""
    async with engine.connect() as connection:
        await connection.run_sync(alembic, verb, revision)


@pytest_asyncio.fixture
async def engines(tmp_path: Path, database: Database) -> AsyncIterator[Engines]:
    """Give the application's engine twice: on a SQLite file that is not there yet, and on an empty PostgreSQL."""
    sqlite = create_engine(Settings(DATABASE_URL=f"sqlite:///{tmp_path}/dryad.db", DATABASE_URL_FILE=None))
    postgres = create_engine(Settings(DATABASE_URL=database.url, DATABASE_URL_FILE=None))
    yield sqlite, postgres
    await sqlite.dispose()
    await postgres.dispose()


@pytest_asyncio.fixture
async def dryads(engines: Engines) -> Engines:
    """Give both engines with Dryad's newest schema and no rows but the system account."""
    for engine in engines:
        await migrate(engine, "upgrade", "head")
    return engines


@pytest.fixture
def old_file(dryad_file: Path) -> Path:
    """Give a Dryad database as an older version of the application has left it."""
    engine = sqlalchemy.create_engine(f"sqlite:///{dryad_file}")
    with engine.connect() as connection:
        alembic(connection, "downgrade", OLD)
        connection.commit()
    engine.dispose()
    return dryad_file
