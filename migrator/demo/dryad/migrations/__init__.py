"""Dryad's Alembic environment: the revisions that build its schema, on SQLite and on PostgreSQL."""
