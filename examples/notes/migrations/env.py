"""Alembic's own template for an application without asyncio, shortened; DATABASE_URL says where the database is."""

import os

from alembic import context
from notes.models import Base
from sqlalchemy import create_engine, pool


def migrate() -> None:
    """Run the migrations on a connection of their own."""
    engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()


migrate()
