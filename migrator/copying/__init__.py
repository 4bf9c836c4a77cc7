"""Copies rows from SQLite into PostgreSQL with COPY, a record batch at a time."""
