"""Reads and writes the ledger's facts about a whole migration: its source, its owner, and its completion."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger.migration import Migration
from migrator.ledger.schema import now, state

SOURCE = "source"
"""The name of the fact that holds the fingerprint of the source file."""

COMPLETED = "completed"
"""The name of the fact that every row is copied and verified."""

READY = "ready"
"""The name of the fact that nothing remains to be done: all rows are verified, and the schema is the newest."""

REHEARSED = "rehearsed"
"""The name of the fact that the rows were brought in a rehearsal, and the application still writes to the source."""

VALUE = state.c.value


async def remember(connection: AsyncConnection, migration: Migration, name: str, value: object) -> None:
    """Write a fact about the migration. It replaces the fact of the same name."""
    line = insert(state).values(migration=migration.name, name=name, value=value)
    upsert = line.on_conflict_do_update(constraint=state.primary_key, set_={"value": value, "written_at": now})
    await connection.execute(upsert)


async def recall(connection: AsyncConnection, migration: Migration, name: str) -> Any:  # noqa: ANN401 - JSON
    """Return a fact about the migration, or None if nothing was written under that name."""
    return await connection.scalar(fact(migration, name).with_only_columns(state.c.value))


async def drop(connection: AsyncConnection, migration: Migration, name: str) -> None:
    """Delete a fact about the migration, if it is there."""
    await connection.execute(state.delete().where(state.c.migration == migration.name, state.c.name == name))


async def completed_at(connection: AsyncConnection, migration: Migration) -> datetime | None:
    """Return the time at which the migration was completed, or None if it isn't complete."""
    completed = fact(migration, COMPLETED).with_only_columns(state.c.written_at)
    moment: datetime | None = await connection.scalar(completed)
    return moment


def fact(migration: Migration, name: str) -> sa.Select[Any]:
    """Return a SELECT of the line that holds a fact."""
    return migration.lines(state).where(state.c.name == name)
