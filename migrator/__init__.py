"""Moves an application from SQLite to PostgreSQL and proves that every value arrived."""

from importlib.metadata import version

__version__ = version("migrator")
