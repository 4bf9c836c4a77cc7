"""
Alembic runs this file for each of its commands, with a database or (``--sql``) without.

Which database: the connection that a program has put into ``config.attributes["connection"]``, else ``sqlalchemy.url``
of the ini file, else the application's own ``DATABASE_URL``. Only the first needs no event loop of its own.
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
    """Return the application's settings, with the ini file's URL where it has one."""
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
    Switch SQLite's foreign keys off for a while; PostgreSQL is left alone.

    Batch mode changes a table by dropping it and putting another in its place. With foreign keys on, the drop would
    first delete the table's rows and, by CASCADE, those of every table that refers to it. On return they are as they
    were, also after an error; what the migrations committed until then stays.
    Raises RuntimeError, before anything is changed, when foreign keys are on and a transaction is open: the PRAGMA has
    no effect inside one (https://sqlite.org/pragma.html#pragma_foreign_keys).
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    in_transaction = connection.in_transaction()
    enforced = bool(connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one())
    if not in_transaction:
        connection.commit()  # Asking has begun one, and Alembic would leave it to its owner to commit.
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
    """Open the database that the settings name, and run the migrations there."""
    engine = create_engine(settings())
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


# Only the command line leaves logging to the ini file; a program has its own, which stays as it is.
if config.cmd_opts is not None and config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)

given = config.attributes.get("connection")
if context.is_offline_mode():
    migrate_offline()
elif given is not None:
    migrate(given)
else:
    asyncio.run(migrate_application_database())
