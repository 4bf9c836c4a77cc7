"""
The job's memory: schema ``migrator`` in the target itself.

What was done is written in the transaction that did it, so the ledger is true whenever somebody looks. It is read by
``status`` and by the next run, which goes on from here.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import GaveUp
from migrator.ledger.migration import Migration
from migrator.ledger.schema import now, state

SOURCE = "source"
"""Fingerprint of the file whose rows are brought."""

OWNER = "owner"
"""The run that may write."""

COMPLETED = "completed"
"""Written when every row is verified."""

READY = "ready"
"""Written when nothing is left to do: rows verified, newest schema reached."""


async def remember(connection: AsyncConnection, migration: Migration, name: str, value: object) -> None:
    """Write a fact about the migration, in place of what was known under that name."""
    line = insert(state).values(migration=migration.name, name=name, value=value)
    again = line.on_conflict_do_update(constraint=state.primary_key, set_={"value": value, "written_at": now})
    await connection.execute(again)


async def recall(connection: AsyncConnection, migration: Migration, name: str) -> Any:  # noqa: ANN401 - JSON
    """Return a fact about the migration, or None if nothing was written under that name."""
    return await connection.scalar(_fact(migration, name).with_only_columns(state.c.value))


async def completed_at(connection: AsyncConnection, migration: Migration) -> datetime | None:
    """Return when the migration was found complete, or None."""
    completed = _fact(migration, COMPLETED).with_only_columns(state.c.written_at)
    moment: datetime | None = await connection.scalar(completed)
    return moment


def _fact(migration: Migration, name: str) -> sa.Select[Any]:
    return migration.lines(state).where(state.c.name == name)


async def check_owner(connection: AsyncConnection, migration: Migration, run_id: UUID) -> None:
    """
    Hold this run's right to write until the transaction ends; raises GaveUp if another run has taken over.

    The advisory lock lives and dies with one connection. Should that be lost while others still work, a second job may
    begin; then this keeps the first one from writing another line.
    """
    line = _fact(migration, OWNER).with_only_columns(state.c.value).with_for_update(read=True)
    owner = await connection.scalar(line)
    if owner != str(run_id):
        raise GaveUp(
            f"another run has taken over: {owner}, of the migration {migration.name!r}",
            next_step="Wait for it to end; `migrator status` shows how far it is.",
        )
