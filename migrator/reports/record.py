"""
Records what a command does, from the events of its log, so that a report can be made of it however the command ends.

The events are the job's own account of itself, and a contract (``events.py``). So a report needs nothing that a failed
or stopped command could no longer return.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct, field

from migrator.events import Event

MOST_WARNINGS: Final = 500
"""Warnings that are recorded: a server that goes away again and again must not fill the memory."""

Fields = Mapping[str, Any]


class StageRecord(Struct):
    """A stage, as far as it came. ``seconds`` is None until it has ended well."""

    stage: str
    started_at: str
    ended_at: str | None = None
    seconds: float | None = None
    attempts: int = 1


class Record(Struct):
    """
    What a command has done so far. It is called with each event of the log, from any thread.

    Its size grows with the number of tables, columns and stages, and not with the rows.
    """

    run_id: str = ""
    command: str | None = None
    settings: Fields = field(default_factory=dict)
    """The settings without secrets."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    found: Fields = field(default_factory=dict)
    """What the command has returned, as JSON values; empty if it has returned nothing."""
    migration: str | None = None
    server_version: str | None = None
    source: Fields | None = None
    stages: list[StageRecord] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the events say about each table, by its name."""
    findings: dict[tuple[Any, ...], Fields] = field(default_factory=dict)
    rules: list[Fields] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    refreshed: dict[str, Fields] = field(default_factory=dict)
    """What a refresh has done with each table, by its name."""
    warnings: list[Fields] = field(default_factory=list)
    warnings_left_out: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, event: Fields) -> None:
        """Take in one event, whose secrets are masked."""
        take = _TAKEN.get(event.get("event", ""))
        with self._lock:
            if take is not None:
                take(self, event)
            elif event.get("level") == "warning":
                self._warn(event)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no event in while the block reads the record."""
        with self._lock:
            yield

    def _begin_stage(self, event: Fields) -> None:
        self.stages.append(StageRecord(event["stage"], event["timestamp"]))

    def _end_stage(self, event: Fields) -> None:
        for stage in reversed(self.stages):
            if stage.stage == event.get("stage"):
                stage.ended_at, stage.seconds = event["timestamp"], event["seconds"]
                stage.attempts = event.get("attempts", 1)
                return

    def _retry(self, event: Fields) -> None:
        for stage in reversed(self.stages):
            if stage.stage == event.get("stage") and stage.ended_at is None:
                stage.attempts += 1
                break
        self._warn(event)

    def _table(self, event: Fields) -> dict[str, Any]:
        return self.tables.setdefault(event["table"], {})

    def _check(self, event: Fields) -> None:
        self._table(event).update(checked=True, rows=event["rows"])

    def _begin_copy(self, event: Fields) -> None:
        self._table(event)["copy_started_at"] = event["timestamp"]

    def _copy(self, event: Fields) -> None:
        copied = {"copied_at": event["timestamp"], "copy_seconds": event["seconds"], "bytes": event["bytes"]}
        self._table(event).update(copied, rows=event["rows"])

    def _verify(self, event: Fields) -> None:
        verified = {"verified_at": event["timestamp"], "verify_seconds": event["seconds"], "digest": event["digest"]}
        self._table(event).update(verified, rows=event["rows"])

    def _find(self, event: Fields) -> None:
        if "code" not in event and event["event"] == Event.VALUES_REMARKED:  # a line about a whole table
            event = {**event, "code": "worth_knowing", "refuses": False}
        self.findings[event["table"], event.get("column"), event.get("code"), event.get("reason")] = event

    def _skip(self, event: Fields) -> None:
        self.skipped[event["table"]] = event["reason"]

    def _rule(self, event: Fields) -> None:
        self.rules.append(event)

    def _server(self, event: Fields) -> None:
        self.server_version = event["version"]

    def _source(self, event: Fields) -> None:
        self.source = event

    def _migration(self, event: Fields) -> None:
        self.migration = event["migration"]

    def _warn(self, event: Fields) -> None:
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(event)
        else:
            self.warnings_left_out += 1

    def _refresh(self, event: Fields) -> None:
        self.refreshed[event["table"]] = event

    def _forget_stages(self, _event: Fields) -> None:
        """Forget the stages of the refresh before: a watch may go on for days."""
        self.stages.clear()

    def _nothing(self, event: Fields) -> None:
        """Take nothing: the report has it from elsewhere."""

    @classmethod
    def taken(cls) -> Mapping[str, Callable[["Record", Fields], None]]:
        """Return, by event, what is done with it; any other warning is recorded as a warning."""
        return {
            Event.STAGE_STARTED: cls._begin_stage,
            Event.STAGE_FINISHED: cls._end_stage,
            Event.RETRY_SCHEDULED: cls._retry,
            Event.TABLE_CHECKED: cls._check,
            Event.TABLE_BEGUN: cls._begin_copy,
            Event.TABLE_COPIED: cls._copy,
            Event.TABLE_VERIFIED: cls._verify,
            Event.TABLE_REFRESHED: cls._refresh,
            Event.TABLE_SKIPPED: cls._skip,
            Event.VALUES_REFUSED: cls._find,
            Event.VALUES_REMARKED: cls._find,
            Event.ROWS_IN_THE_WAY: cls._find,
            Event.VALUES_REWRITTEN: cls._rule,
            Event.ROWS_LEFT_BEHIND: cls._rule,
            Event.ROWS_ORPHANED: cls._rule,
            Event.SERVER_READY: cls._server,
            Event.SOURCE_OPENED: cls._source,
            Event.MIGRATION_CHOSEN: cls._migration,
            Event.JOB_STOPPING: cls._nothing,
            Event.WATCH_CHANGED: cls._forget_stages,
        }


_TAKEN: Final = Record.taken()
