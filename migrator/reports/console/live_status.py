"""Shows how far a migration is, again and again: redrawn on a terminal, and as events elsewhere."""

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

import structlog
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from migrator.events import Event
from migrator.reports.console.status import page
from migrator.reports.status import Status
from migrator.status.state import MigrationStatus

log = structlog.get_logger()


class StatusScreen(AbstractContextManager["StatusScreen"], Protocol):
    """Shows a status until the next one comes."""

    def show(self, status: Status) -> None:
        """Show what the ledger says now."""

    def show_lost(self, reason: str, seconds_left: float) -> None:
        """Show that the server doesn't answer, and how long it is still waited for."""


class RedrawnStatus:
    """
    Draws the page again and again in the same place, on stderr.

    The page is taken away at the end: the command then prints the last one as its report.
    """

    def __init__(self) -> None:
        """Draw on stderr, because stdout is for the report. Log lines are printed above the page."""
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True, vertical_overflow="crop")
        self._last: Status | None = None

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave a clean terminal."""
        self._live.stop()

    def show(self, status: Status) -> None:
        """Draw the page."""
        self._last = status
        self._live.update(Group(page(status), Text("\nCtrl-C ends this view, not the run.", "dim")), refresh=True)

    def show_lost(self, reason: str, seconds_left: float) -> None:
        """Draw the last page, with what the server said, or didn't say."""
        lost = Text(f"\nthe server doesn't answer ({reason}); trying for another {seconds_left:.0f} s", "yellow")
        self._live.update(Group(*([page(self._last)] if self._last else []), lost), refresh=True)


class StatusEvents:
    """Logs an event when something has changed, and otherwise every ``seconds`` while a run is under way."""

    def __init__(self, seconds: float) -> None:
        """Log at least every ``seconds`` while a run is under way; 0 means only when something has changed."""
        self._seconds = seconds
        self._last: dict[str, object] = {}
        self._at = float("-inf")
        self._lost = ""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; nothing has to be taken away."""

    def show(self, status: Status) -> None:
        """Log the state of each migration, if it isn't as it was or enough time has passed."""
        fields = _changing(status)
        self._lost = ""
        moves = self._seconds and status.one is not None and status.one.progress is not None
        if fields == self._last and not (moves and time.monotonic() - self._at >= self._seconds):
            return
        self._last, self._at = fields, time.monotonic()
        log.info(Event.STATUS, **fields, **(_moving(status.one) if status.one else {}))

    def show_lost(self, reason: str, seconds_left: float) -> None:
        """Log that the server doesn't answer, once for each reason."""
        if reason != self._lost:
            self._lost = reason
            log.warning(Event.SERVER_LOST, reason=reason, seconds_left=round(seconds_left))


def _changing(status: Status) -> dict[str, object]:
    """Return what only changes in steps."""
    one = status.one
    if one is None:
        return {"state": str(status.state), "migrations": {found.name: str(found.state) for found in status.migrations}}
    under_way = [stage.stage for stage in one.stages if stage.ended_at is None] if not status.has_ended else []
    fields: dict[str, object] = {"migration": one.name, "state": str(one.state), "stages": under_way}
    if one.tables_total or one.tables:
        fields |= {"tables": one.tables_total, "copied": len(one.tables), "verified": one.tables_verified}
    if status.unknown:
        fields["reason"] = status.unknown
    return fields


def _moving(found: MigrationStatus) -> dict[str, object]:
    """Return what changes all the time: the tables in work."""
    if found.progress is None:
        return {}
    in_work = [
        {
            name: value
            for name, value in (
                ("table", work.table),
                ("stage", work.stage),
                ("done", work.done),
                ("of", work.of),
                ("rate", None if work.rate is None else round(work.rate)),
                ("seconds_left", None if work.seconds_left is None else round(work.seconds_left)),
            )
            if value is not None
        }
        for work in found.progress.tables()
    ]
    waiting = found.progress.waits()
    return ({"in_work": in_work} if in_work else {}) | ({"waiting": waiting} if waiting else {})
