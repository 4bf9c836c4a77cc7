"""
The way back as it is written at home: ``naive_back.py URL OLD NEW``.

The new file gets the old file's schema. Each table is selected from PostgreSQL, a thousand rows at a time, and inserted
with the values as SQLAlchemy's types for SQLite would store them. Nothing is compared.
"""

import asyncio
import sqlite3
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

BATCH = 1000


def converted(value: object) -> object:
    """Return a value as Python's sqlite3 takes it."""
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, UUID) else value


async def main(url: str, old: str, new: str) -> None:
    """Write the new file."""
    pattern, target = sqlite3.connect(old), sqlite3.connect(new)
    tables = [name for (name,) in pattern.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    made = pattern.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type = 'index'").fetchall()
    for (statement,) in made:
        if not statement.upper().startswith("CREATE INDEX"):
            target.execute(statement)
    connection = await asyncpg.connect(url)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for table in tables:
            await copy(connection, target, table)
    await connection.close()
    for (statement,) in made:
        if statement.upper().startswith("CREATE INDEX"):
            target.execute(statement)
    target.commit()
    target.close()


async def copy(connection: Any, target: sqlite3.Connection, table: str) -> None:  # noqa: ANN401 - asyncpg's
    """Copy one table."""
    columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
    statement = f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"
    cursor = await connection.cursor(f"SELECT {', '.join(columns)} FROM {table}")
    while rows := await cursor.fetch(BATCH):
        target.executemany(statement, [tuple(map(converted, row)) for row in rows])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
