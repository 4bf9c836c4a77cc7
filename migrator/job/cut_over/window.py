"""Estimates how long a refresh takes, from the figures of the runs before, which the ledger has."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger import loads, runs, state
from migrator.ledger.loads import CopiedTable
from migrator.ledger.migration import Migration
from migrator.ledger.runs import StageLine
from migrator.monitoring.snapshot import duration
from migrator.names import TableName
from migrator.reports.refresh_report import TableRefresh, Window

_LOOKED_AT_RUNS = 20

_DEARER = 3
"""How much more a row costs that is found by its key and written with keys and indexes in place, than in a copy."""


async def window_of(
    connection: AsyncConnection, migration: Migration, tables: Sequence[TableRefresh], looked_seconds: float
) -> Window | None:
    """
    Return about how long a refresh of the ``tables`` takes; None if the ledger has no figures.

    ``looked_seconds`` is the time that it took just now to find what has changed. The figures are those of the last
    refresh, if there was one, and otherwise those of the run that copied the tables.
    """
    copied = await loads.copied(connection, migration)
    last = await state.last_refresh(connection, migration)
    for line in await runs.last_runs(connection, migration, _LOOKED_AT_RUNS):
        stages = {stage.stage: stage for stage in await runs.stages_of(connection, line.id)}
        if (verified := stages.get("verify")) is None or verified.ended_at is None:
            continue
        jobs = max(1, int((await runs.settings_of(connection, line.id)).get("jobs", 1)))
        loading = _loading(tables, copied) / jobs
        if last is not None:
            basis = f"the last refresh, which took {duration(last.seconds)}"
            return Window(max(last.seconds, looked_seconds) + loading, basis, looked_seconds)
        comparing = _comparing(stages, copied, jobs)
        return Window(looked_seconds + comparing + loading, f"the run of {_day(line.started_at)}", looked_seconds)
    return None


def _loading(tables: Sequence[TableRefresh], copied: Mapping[TableName, CopiedTable]) -> float:
    """Return the working time in seconds for the rows that are written, by how long each row took in the copy."""
    rows, seconds = sum(table.rows for table in copied.values()), sum(table.seconds for table in copied.values())
    average = seconds / rows if rows else 0.0

    def each(table: TableRefresh) -> float:
        before = copied.get(table.table)
        return before.seconds / before.rows if before and before.rows else average

    return sum(each(table) * (table.rows if table.is_loaded else table.changes * _DEARER) for table in tables)


def _comparing(stages: Mapping[str, StageLine], copied: Mapping[TableName, CopiedTable], jobs: int) -> float:
    """Return the time in seconds that the comparison took beside the copy, with which it shares its sessions."""
    verified, copy = stages["verify"], stages.get("copy", stages["verify"])
    end = verified.ended_at or verified.started_at
    whole = (end - copy.started_at).total_seconds()
    after_copy = (end - (copy.ended_at or copy.started_at)).total_seconds()
    return max(after_copy, whole - sum(table.seconds for table in copied.values()) / jobs, 0.0)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}"
