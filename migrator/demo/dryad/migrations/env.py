"""
Runs Dryad's migrations for each of Alembic's commands, on a database or (with ``--sql``) without.

The database is the connection that a program has put into ``config.attributes["connection"]``, or else
``sqlalchemy.url`` of the ini file, or else the application's own ``DATABASE_URL``. The last two need an event loop.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from logging.config import fileConfig
from typing import Literal

from alembic import context
from sqlalchemy import Connection

from migrator.demo.dryad.models import Base
from migrator.engine import Settings, create_engine

config = context.config


def settings() -> Settings:
    """Return the application's settings, with the ini file's URL if it has one."""
    url = config.get_main_option("sqlalchemy.url")
    return Settings(DATABASE_URL=url, DATABASE_URL_FILE=None) if url else Settings()


def migrate_offline() -> None:
    """Print the SQL of the migrations."""
    context.configure(
        url=settings().get_database_url(),
        target_metadata=Base.metadata,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
    with context.begin_transaction():
        context.run_migrations()


def migrate(connection: Connection) -> None:
    """Run the migrations on a connection."""
    with foreign_keys_off(connection):
        context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()


@contextmanager
def foreign_keys_off(connection: Connection) -> Iterator[None]:
    """
    Switch SQLite's foreign keys off during the block. On PostgreSQL it does nothing.

    Batch mode changes a table by dropping it and creating a new table in its place. With foreign keys on, the drop
    would first delete the table's rows and, by CASCADE, the rows of every table that refers to it. At the end of the
    block the setting is as before, also after an error; committed changes of the migrations stay.
    Raises RuntimeError, before anything is changed, if foreign keys are on and a transaction is open: the PRAGMA has no
    effect inside a transaction (https://sqlite.org/pragma.html#pragma_foreign_keys).
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    in_transaction = connection.in_transaction()
    enforced = bool(connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one())
    if not in_transaction:
        connection.commit()  # The PRAGMA has begun a transaction, which Alembic would not commit.
    if not enforced:
        yield
        return
    if in_transaction:
        raise RuntimeError("foreign keys are on and a transaction is open: hand over a connection without one")
    _enforce_foreign_keys(connection, "OFF")
    try:
        yield
    finally:
        connection.rollback()
        _enforce_foreign_keys(connection, "ON")


def _enforce_foreign_keys(connection: Connection, switch: Literal["ON", "OFF"]) -> None:
    connection.exec_driver_sql(f"PRAGMA foreign_keys={switch}")
    connection.commit()


async def migrate_application_database() -> None:
    """Open the database that the settings name, and run the migrations on it."""
    engine = create_engine(settings())
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


# The ini file sets up logging only for Alembic's command line. A program keeps its own set-up.
if config.cmd_opts is not None and config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)

given = config.attributes.get("connection")
if context.is_offline_mode():
    migrate_offline()
elif given is not None:
    migrate(given)
else:
    asyncio.run(migrate_application_database())
