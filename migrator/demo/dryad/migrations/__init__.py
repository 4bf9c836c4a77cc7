"""Dryad's Alembic environment, with the revisions that build its schema in SQLite and in PostgreSQL."""
