"""Reads the source, a SQLite database. Nothing here writes to it."""
