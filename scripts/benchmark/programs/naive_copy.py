"""
A migration as it is written at home, and honestly: ``naive_copy.py SOURCE URL``.

Tables are reflected from the target and filled in the order of their foreign keys, a thousand rows at a time. Values
whose type asyncpg takes no text for are converted one by one.
"""

import asyncio
import json
import sqlite3
import sys
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, Boolean, DateTime, MetaData, Numeric, Table, Uuid, insert, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.types import Float, TypeEngine

BATCH = 1000


def converter(kind: TypeEngine[Any]) -> Callable[[Any], Any] | None:
    """Return what turns SQLite's value into one that asyncpg takes; None where it takes it as it is."""
    if isinstance(kind, DateTime) and kind.timezone:
        return lambda value: datetime.fromisoformat(value).replace(tzinfo=UTC)
    if isinstance(kind, DateTime):
        return datetime.fromisoformat
    if isinstance(kind, Numeric) and not isinstance(kind, Float):
        return lambda value: Decimal(str(value))
    for family, convert in ((Uuid, uuid.UUID), (JSON, json.loads), (Boolean, bool)):
        if isinstance(kind, family):
            return convert
    return None


def converted(row: sqlite3.Row, converters: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """Return a row as the values of an INSERT."""
    values = dict(row)
    for name, convert in converters.items():
        if values[name] is not None:
            values[name] = convert(values[name])
    return values


async def main(source_path: str, url: str) -> None:
    """Copy every table."""
    source = sqlite3.connect(source_path)
    source.row_factory = sqlite3.Row
    engine = create_async_engine(url)
    metadata = MetaData()
    async with engine.connect() as connection:
        await connection.run_sync(metadata.reflect)
    for table in metadata.sorted_tables:
        await copy(source, engine, table)
    async with engine.begin() as connection:
        await connection.execute(text("ANALYZE"))
    await engine.dispose()
    source.close()


async def copy(source: sqlite3.Connection, engine: Any, table: Table) -> None:  # noqa: ANN401 - an AsyncEngine
    """Copy one table in one transaction."""
    converters = {column.name: found for column in table.columns if (found := converter(column.type))}
    rows = source.execute(f"SELECT * FROM {table.name}")
    async with engine.begin() as connection:
        while batch := rows.fetchmany(BATCH):
            await connection.execute(insert(table), [converted(row, converters) for row in batch])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
