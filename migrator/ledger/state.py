"""Reads and writes the ledger's facts about a whole migration: its source, its owner, and its completion."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger.migration import Migration
from migrator.ledger.schema import now, state
from migrator.runtime.wording import counted

SOURCE = "source"
"""The name of the fact that holds the fingerprint of the source file."""

COMPLETED = "completed"
"""The name of the fact that every row is copied and verified."""

READY = "ready"
"""The name of the fact that nothing remains to be done: all rows are verified, and the schema is the newest."""

REHEARSED = "rehearsed"
"""The name of the fact that the rows were brought in a rehearsal, and the application still writes to the source."""

REFRESHED = "refreshed"
"""The name of the fact that holds what the last refresh has done (``LastRefresh``)."""

VALUE = state.c.value


class LastRefresh(Struct, frozen=True):
    """What the last refresh has done, and which state of the source the target holds since."""

    as_of: datetime
    """When the source was in the state that the target holds, by the server's clock."""
    passes: int
    """How many refreshes the run has done: one, or with ``--watch`` more."""
    seconds: float
    inserted: int
    updated: int
    deleted: int
    loaded_anew: int
    """Tables that were loaded anew."""
    unchanged: int
    """Tables that had not changed."""

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values, as the ledger stores them."""
        return asdict(self) | {"as_of": self.as_of.isoformat(), "seconds": round(self.seconds, 3)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Return the facts that ``to_json`` has turned into ``fields``."""
        return cls(**{**fields, "as_of": datetime.fromisoformat(fields["as_of"])})

    def words(self) -> str:
        """Return in words what the refresh has done."""
        anew = f", {counted(self.loaded_anew, 'table')} loaded anew" if self.loaded_anew else ""
        return f"{self.inserted:,} inserted, {self.updated:,} updated, {self.deleted:,} deleted{anew}"


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


async def last_refresh(connection: AsyncConnection, migration: Migration) -> LastRefresh | None:
    """Return what the last refresh has done, or None if there was none."""
    fields = await recall(connection, migration, REFRESHED)
    return LastRefresh.from_json(fields) if fields else None


async def write_refresh(connection: AsyncConnection, migration: Migration, done: LastRefresh) -> None:
    """Write what a refresh has done."""
    await remember(connection, migration, REFRESHED, done.to_json())


async def server_time(connection: AsyncConnection) -> datetime:
    """Return the time by the server's clock."""
    moment: datetime = (await connection.execute(sa.select(now))).scalar_one()
    return moment
