"""Reads and writes the ledger's facts about a migration as a whole: its source, its owner, whether it is complete."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger.migration import Migration
from migrator.ledger.schema import now, state

SOURCE = "source"
"""The fingerprint of the file whose rows are copied."""

COMPLETED = "completed"
"""Written when every row is verified."""

READY = "ready"
"""Written when nothing is left to do: rows verified, newest schema reached."""


VALUE = state.c.value


async def remember(connection: AsyncConnection, migration: Migration, name: str, value: object) -> None:
    """Write a fact about the migration, in place of what was known under that name."""
    line = insert(state).values(migration=migration.name, name=name, value=value)
    again = line.on_conflict_do_update(constraint=state.primary_key, set_={"value": value, "written_at": now})
    await connection.execute(again)


async def recall(connection: AsyncConnection, migration: Migration, name: str) -> Any:  # noqa: ANN401 - JSON
    """Return a fact about the migration, or None if nothing was written under that name."""
    return await connection.scalar(fact(migration, name).with_only_columns(state.c.value))


async def completed_at(connection: AsyncConnection, migration: Migration) -> datetime | None:
    """Return when the migration was found complete, or None."""
    completed = fact(migration, COMPLETED).with_only_columns(state.c.written_at)
    moment: datetime | None = await connection.scalar(completed)
    return moment


def fact(migration: Migration, name: str) -> sa.Select[Any]:
    """Return a SELECT of the line of a fact."""
    return migration.lines(state).where(state.c.name == name)
