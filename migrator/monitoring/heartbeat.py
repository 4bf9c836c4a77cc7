"""Writes events about how far a run is, so that a log that nobody watches on a terminal shows life as well."""

from collections.abc import Iterator
from typing import Any, Final

import structlog

from migrator.events import Event
from migrator.monitoring.snapshot import Snapshot, StageProgress, TableProgress, count_fields
from migrator.monitoring.tracker import Tracker

log = structlog.get_logger()

MOST_TABLES: Final = 4
"""The number of tables in work that are named, for each stage: those with the most left."""


def write_progress(tracker: Tracker) -> None:
    """Write an event for each stage or step that is under way, and for the largest of its tables in work."""
    for fields in progress_events(tracker.snapshot()):
        log.info(Event.PROGRESS, **fields)


def progress_events(snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    """Yield the fields of each event."""
    waiting = {pause.what: pause.line() for pause in snapshot.pauses}
    for stage in snapshot.under_way:
        fields: dict[str, Any] = {"step" if stage.is_step else "stage": stage.stage, "seconds": round(stage.seconds, 1)}
        if line := waiting.pop(stage.stage, None):
            fields["waiting"] = line
        yield fields | count_fields(stage, stage.unit)
        for table in largest(stage)[:MOST_TABLES]:
            yield {"stage": stage.stage, "table": table.table, **count_fields(table, stage.unit)}
    for what, line in waiting.items():
        yield {"stage": what, "waiting": line}
    if held := snapshot.held:
        yield {"step": "watch", "refreshes": held.passes, "behind_seconds": round(held.behind_seconds, 1)}


def largest(stage: StageProgress) -> list[TableProgress]:
    """Return the tables in work, those with the most left first."""
    return sorted(stage.tables, key=lambda table: table.done - table.of)
