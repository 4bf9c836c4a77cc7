"""Moves an application from SQLite to PostgreSQL and proves that every value arrived."""

__version__ = "0.1.0"
