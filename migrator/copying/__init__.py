"""Moves rows from SQLite to PostgreSQL's COPY, a record batch at a time."""
