"""Reads what a run is doing: a line a stage and table in work, which the run overwrites (``progress_writer``)."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger.migration import Migration
from migrator.ledger.schema import holds, progress


class Work(Struct, frozen=True):
    """What a run is doing in one stage, or with one table of a stage."""

    stage: str
    table: str
    """The table with its schema; empty for the stage as a whole."""
    unit: str
    """What is counted: ``rows``, ``keys`` or ``tables``; empty if nothing is."""
    done: int
    of: int | None
    bytes: int
    rate: float | None
    """Units a second; None as long as nothing can be said."""
    seconds_left: float | None
    waiting: str | None = None
    """What the run waits for, such as a server that refused the connection."""


class RunProgress(Struct, frozen=True):
    """What a run was doing at one moment."""

    run_id: UUID
    written_at: datetime
    work: tuple[Work, ...]

    def but(self, stages: Collection[str]) -> "RunProgress":
        """Return the progress without what is about some stages."""
        return replace(self, work=tuple(work for work in self.work if work.stage not in stages))

    def tables(self) -> list[Work]:
        """Return the tables in work."""
        return [work for work in self.work if work.table]

    def of_stage(self, stage: str) -> Work | None:
        """Return what the stage as a whole has done, or None if it isn't under way."""
        return next((work for work in self.work if work.stage == stage and not work.table), None)

    def waits(self) -> list[str]:
        """Return what the run waits for."""
        return [work.waiting for work in self.work if work.waiting]


async def forget_progress(connection: AsyncConnection, migration: Migration) -> None:
    """Delete what an earlier run of the migration has left, because it was killed."""
    await connection.execute(progress.delete().where(progress.c.migration == migration.name))


async def progress_of(connection: AsyncConnection, migration: Migration, run_id: UUID) -> RunProgress | None:
    """Return what a run wrote last; None if it wrote nothing, or an earlier version made the ledger."""
    if migration.unnamed or not await holds(connection, progress):
        return None
    chosen = sa.select(progress).where(progress.c.migration == migration.name, progress.c.run_id == run_id)
    lines = (await connection.execute(chosen)).all()
    if not lines:
        return None
    work = sorted(
        (
            Work(
                line.stage,
                line.table_name,
                line.unit,
                line.done,
                line.of,
                line.bytes,
                line.rate,
                line.seconds_left,
                line.waiting,
            )
            for line in lines
        ),
        key=lambda one: (one.stage, one.table),
    )
    return RunProgress(run_id, max(line.written_at for line in lines), tuple(work))
