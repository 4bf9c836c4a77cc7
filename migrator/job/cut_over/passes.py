"""Notes what a refresh has done, and which state of the source the target holds since."""

import time
from datetime import datetime
from typing import Self

from msgspec import Struct

from migrator.job.recorder import RunRecorder
from migrator.ledger import state
from migrator.ledger.state import LastRefresh
from migrator.reports.run_report import Report
from migrator.target.database import Target


class Moment(Struct, frozen=True):
    """The beginning of a refresh, before the source is read."""

    server_time: datetime
    began: float
    """By the job's own clock, in seconds."""

    @classmethod
    async def now(cls, target: Target) -> Self:
        """Return the present moment."""
        async with target.connect() as connection:
            return cls(await state.server_time(connection), time.monotonic())

    @property
    def seconds(self) -> float:
        """The time since then, in seconds."""
        return time.monotonic() - self.began


async def note(recorder: RunRecorder, moment: Moment, report: Report, passes: int = 1) -> LastRefresh:
    """Write into the ledger what a refresh has done that began at ``moment``, and return it."""
    tables = report.refreshed
    last = LastRefresh(
        moment.server_time,
        passes,
        moment.seconds,
        sum(table.inserted for table in tables),
        sum(table.updated for table in tables),
        sum(table.deleted for table in tables),
        sum(table.is_loaded for table in tables),
        sum(table.is_unchanged for table in tables),
    )

    async def write() -> None:
        async with recorder.run.transaction() as connection:
            await state.write_refresh(connection, recorder.run.migration, last)

    await recorder.step("refreshed", write)
    return last
