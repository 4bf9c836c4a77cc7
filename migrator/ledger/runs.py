"""Reads and writes the ledger's lines about runs and their stages."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger.migration import Migration
from migrator.ledger.run_ledger import RunLedger
from migrator.ledger.schema import now, runs, stages
from migrator.source.file import Fingerprint


class RunInfo(Struct, frozen=True):
    """The facts about a run that are known when it starts."""

    version: str
    source: Fingerprint
    settings: Mapping[str, Any]
    """The settings of the run, without secrets."""


class RunLine(Struct, frozen=True):
    """A line of the ledger about a run."""

    id: UUID
    version: str
    started_at: datetime
    ended_at: datetime | None
    exit_code: int | None
    message: str | None


class StageLine(Struct, frozen=True):
    """A line of the ledger about a stage of a run."""

    stage: str
    started_at: datetime
    ended_at: datetime | None


async def begin_run(connection: AsyncConnection, run: RunLedger, info: RunInfo) -> None:
    """Write the line of a run that starts. Does nothing if the line exists, from a try whose answer was lost."""
    values = {"id": run.run_id, "version": info.version, "source": asdict(info.source), "settings": dict(info.settings)}
    line = insert(runs).values(values | {"migration": run.migration.name})
    await connection.execute(line.on_conflict_do_nothing())


async def end_run(connection: AsyncConnection, run: RunLedger, *, exit_code: int | None, message: str) -> None:
    """Write how a run ended."""
    line = runs.update().where(runs.c.id == run.run_id)
    await connection.execute(line.values(ended_at=now, exit_code=exit_code, message=message))


async def begin_stage(connection: AsyncConnection, run: RunLedger, stage: str) -> None:
    """Write that a stage starts."""
    line = insert(stages).values(run_id=run.run_id, stage=stage)
    upsert = line.on_conflict_do_update(constraint=stages.primary_key, set_={"started_at": now, "ended_at": None})
    await connection.execute(upsert)


async def end_stage(connection: AsyncConnection, run: RunLedger, stage: str) -> None:
    """Write that a stage is done."""
    line = stages.update().where(stages.c.run_id == run.run_id, stages.c.stage == stage)
    await connection.execute(line.values(ended_at=now))


async def last_runs(connection: AsyncConnection, migration: Migration, limit: int) -> list[RunLine]:
    """Return the newest runs of the migration, the newest first."""
    newest = migration.lines(runs).order_by(runs.c.started_at.desc()).limit(limit)
    lines = (await connection.execute(newest)).all()
    return [RunLine(r.id, r.version, r.started_at, r.ended_at, r.exit_code, r.message) for r in lines]


async def settings_of(connection: AsyncConnection, run_id: UUID) -> dict[str, Any]:
    """Return the settings of a run, without secrets."""
    settings: dict[str, Any] = (
        await connection.execute(sa.select(runs.c.settings).where(runs.c.id == run_id))
    ).scalar_one()
    return settings


async def stages_of(connection: AsyncConnection, run_id: UUID) -> list[StageLine]:
    """Return the stages of a run in the order in which they began."""
    chosen = sa.select(stages).where(stages.c.run_id == run_id).order_by(stages.c.started_at)
    lines = (await connection.execute(chosen)).all()
    return [StageLine(row.stage, row.started_at, row.ended_at) for row in lines]
