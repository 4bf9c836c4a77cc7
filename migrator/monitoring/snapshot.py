"""Defines the state of a run at one moment, as readers get it from the tracker. All values are immutable."""

from enum import StrEnum
from typing import Any

from msgspec import Struct


class State(StrEnum):
    """How far a stage is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class TableProgress(Struct, frozen=True):
    """A table in work in one stage."""

    table: str
    """The name with its schema, such as ``public.notes``."""
    done: int
    """The rows that are done, or the keys in a stage that counts keys."""
    of: int
    bytes: int
    rate: float | None
    """Units per second, measured over the last seconds; None as long as nothing can be said."""
    seconds_left: float | None
    seconds: float
    """The time since the stage began with the table."""


class TableSpan(Struct, frozen=True):
    """The time that a stage has spent on a table, from its first row to its last, and what it has counted."""

    stage: str
    table: str
    unit: str
    done: int
    bytes: int
    began: float
    """The start, in seconds after the start of the run."""
    seconds: float


class StageProgress(Struct, frozen=True):
    """A stage that is under way or has ended, or (``is_step``) a short action that belongs to no stage."""

    stage: str
    state: State
    seconds: float
    """The time since the stage began, or the time that it took."""
    began: float
    """The start, in seconds after the start of the run."""
    unit: str
    """What the stage counts: ``rows``, ``keys`` or ``tables``; empty if it counts nothing."""
    done: int
    of: int
    """How many units there are in all; 0 if the stage counts nothing, or doesn't know it yet."""
    bytes: int
    rate: float | None
    seconds_left: float | None
    attempts: int
    tables: tuple[TableProgress, ...]
    """The tables in work, those that were begun first in front."""
    is_step: bool = False

    @property
    def fraction(self) -> float | None:
        """The part that is done, from 0 to 1, and below 1 while work goes on; None if nothing is counted."""
        if self.state is State.DONE:
            return 1.0
        return min(self.done / self.of, 0.99) if self.of else None


class Pause(Struct, frozen=True):
    """A pause after a try that failed."""

    what: str
    """The stage or the step that is tried again."""
    reason: str
    """What failed, in a few words: ``db.example:5432 refused the connection``."""
    attempt: int
    """The number of the try that failed."""
    pause_seconds: float
    """The length of the pause, in seconds."""
    attempts: int | None = None
    """The largest number of tries; None if only the time is limited."""
    seconds: float = 0.0
    """The time since the first try."""
    limit_seconds: float | None = None
    """The time for all tries; None if only their number is limited."""

    @property
    def seconds_left(self) -> float | None:
        """The seconds until no other try is made, or None without such a limit."""
        return None if self.limit_seconds is None else max(0.0, self.limit_seconds - self.seconds)

    def line(self) -> str:
        """Return one line for people."""
        if self.limit_seconds is not None:
            left = self.seconds_left or 0.0
            return f"{self.reason}; trying for {duration(self.limit_seconds)}, {duration(left)} left"
        tries = f"try {self.attempt + 1}" + (f" of {self.attempts}" if self.attempts else "")
        return f"{self.reason}; {tries} in {duration(self.pause_seconds)}"


class Held(Struct, frozen=True):
    """Which state of the source the target holds, while ``--watch`` goes on refreshing."""

    passes: int
    """How many refreshes there were."""
    inserted: int
    """Rows that the last refresh has inserted; ``updated`` and ``deleted`` likewise."""
    updated: int
    deleted: int
    seconds: float
    """The time that the last refresh took."""
    behind_seconds: float
    """The time since the source was in that state; 0 if it hasn't changed since."""


class Snapshot(Struct, frozen=True):
    """What a run is doing at one moment."""

    seconds: float
    """The time since the run began."""
    stages: tuple[StageProgress, ...]
    """All stages that have begun, in the order of their starts, and the steps that are under way."""
    pauses: tuple[Pause, ...]
    """The pauses that are under way."""
    last_pause: Pause | None
    """The latest pause, which may be over."""
    held: Held | None = None
    """None unless ``--watch`` has refreshed the target."""

    @property
    def under_way(self) -> tuple[StageProgress, ...]:
        """The stages and steps that are under way; stages that overlap are all here."""
        return tuple(stage for stage in self.stages if stage.state is State.RUNNING)

    def to_json(self) -> dict[str, Any]:
        """Return what is under way as JSON values, without values of rows and without the text of the last error."""
        return {
            "seconds": round(self.seconds, 1),
            "stages": [_stage_fields(stage) for stage in self.under_way],
            "waiting": [pause.line() for pause in self.pauses],
        }


def _stage_fields(stage: StageProgress) -> dict[str, Any]:
    return {
        "stage": stage.stage,
        "seconds": round(stage.seconds, 1),
        **count_fields(stage, stage.unit),
        "tables": [{"table": table.table, **count_fields(table, stage.unit)} for table in stage.tables],
    }


def count_fields(count: StageProgress | TableProgress, unit: str) -> dict[str, Any]:
    """Return a count as fields of the log and the ledger; fields about which nothing is known are left out."""
    if not unit:
        return {}
    fields: dict[str, Any] = {unit: count.done, "of": count.of}
    if count.bytes:
        fields["bytes"] = count.bytes
    if count.rate is not None:
        fields["rate"] = round(count.rate, 1)
    if count.seconds_left is not None:
        fields["seconds_left"] = round(count.seconds_left)
    return fields


def duration(seconds: float) -> str:
    """Return a time as people say it: ``0.4 s``, ``31 s``, ``2 min``, ``4 min 10 s``, ``1 h 12 min``."""
    if seconds < 10:  # noqa: PLR2004 - below, tenths tell something
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 120:  # noqa: PLR2004 - two minutes
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")
