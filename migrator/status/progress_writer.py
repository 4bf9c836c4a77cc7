"""
Writes every few seconds what a run is doing into the ledger, for ``migrator status`` in another terminal or pod.

It can't fail, slow or block the run. Each time it logs in, writes in a short transaction of its own with limits, and is
gone: a session that stayed open could take the last one that a server, a role or a pooler has to give. If something
goes wrong, the next time may be better, and the line that is there gets old.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import structlog
from msgspec import Struct
from msgspec.structs import astuple, replace

from migrator.events import Event
from migrator.ledger.run_ledger import RunLedger
from migrator.monitoring.heartbeat import largest
from migrator.monitoring.snapshot import Snapshot
from migrator.monitoring.tracker import Tracker
from migrator.sessions.login import login
from migrator.status.progress import Work

log = structlog.get_logger()

SECONDS_BETWEEN_WRITES: Final = 5.0
"""A run that is over before this writes nothing."""

_LONGEST_SECONDS: Final = 3.0
"""The longest time for a write, with its login."""

_MOST_TABLES: Final = 20
"""The number of tables that are written for each stage: those with the most left."""


class ProgressWriter(Struct):
    """Writes the snapshots of a run's tracker into the ledger while the run works."""

    run: RunLedger
    tracker: Tracker
    clean: Callable[[str], str]
    """Removes secrets from a text."""
    seconds: float = SECONDS_BETWEEN_WRITES
    """The time between two writes."""
    _is_written: bool = False
    _has_failed: bool = False
    """Whether the last write failed."""

    async def keep_writing(self) -> None:
        """Write until the task is cancelled."""
        while True:
            await asyncio.sleep(self.seconds)
            await self._write(self._lines())

    async def clear(self) -> None:
        """Delete what was written. If the server doesn't answer, the lines stay: nobody reads those of an ended run."""
        if self._is_written and not self._has_failed:
            await self._write([])

    async def _write(self, lines: Sequence[Work]) -> None:
        values = [(self.run.migration.name, self.run.run_id, *astuple(line)) for line in lines]
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                connection = await login(self.run.target.address)
                try:
                    # Not asyncpg's transaction: after an error that would wait for the answer to a ROLLBACK.
                    await connection.execute(_BEGIN)
                    await connection.execute(_DELETE, self.run.migration.name)
                    await connection.executemany(_INSERT, values)
                    await connection.execute("COMMIT")
                finally:
                    connection.terminate()
        except Exception as error:  # noqa: BLE001 - the run has other ways to learn of it, and goes on
            self._has_failed = True
            log.debug(Event.LEDGER_UNWRITTEN, reason=f"{type(error).__name__}: {self.clean(str(error))}")
        else:
            self._is_written, self._has_failed = True, False

    def _lines(self) -> list[Work]:
        return [
            replace(line, waiting=self.clean(line.waiting).replace("\0", "\\0")) if line.waiting else line
            for line in work_of(self.tracker.snapshot())
        ]


def work_of(snapshot: Snapshot) -> Iterator[Work]:
    """Yield a line for each stage under way, for its largest tables, and for what is waited for."""
    waiting = {pause.what: pause.line() for pause in snapshot.pauses}
    for stage in snapshot.under_way:
        if stage.is_step:
            continue
        yield Work(
            stage.stage,
            "",
            stage.unit,
            stage.done,
            stage.of or None,
            stage.bytes,
            stage.rate,
            stage.seconds_left,
            waiting.pop(stage.stage, None),
        )
        for table in largest(stage)[:_MOST_TABLES]:
            yield Work(
                stage.stage,
                table.table,
                stage.unit,
                table.done,
                table.of or None,
                table.bytes,
                table.rate,
                table.seconds_left,
            )
    for what, line in waiting.items():
        yield Work(what, "", "", 0, None, 0, None, None, line)


# Nothing waits for this transaction to reach a disk or a standby: its rows are old in a few seconds anyway.
_BEGIN = "BEGIN; SET LOCAL statement_timeout = '2s'; SET LOCAL lock_timeout = '1s'; SET LOCAL synchronous_commit = off"

_DELETE = "DELETE FROM migrator.progress WHERE migration = $1"

_INSERT = """
INSERT INTO migrator.progress
    (migration, run_id, stage, table_name, unit, done, "of", bytes, rate, seconds_left, waiting)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING
"""
