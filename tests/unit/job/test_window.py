"""How long a refresh is said to take: from the copy's figures by table, the comparison's, and the last refresh's."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from fix_job import MIGRATION, begin_ledger
from fix_postgres import Database

from migrator.copying import ledger_lines
from migrator.job.cut_over.window import window_of
from migrator.ledger import state
from migrator.ledger.loads import CopyStats
from migrator.ledger.schema import runs, stages
from migrator.ledger.state import LastRefresh
from migrator.names import TableName
from migrator.reports.refresh_report import TableRefresh, Way, Window
from migrator.sessions.url import from_url
from migrator.target.database import Target

pytestmark = pytest.mark.one_server
BEGAN = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
SLOW, FAST, LATER = (TableName("public", name) for name in ("slow", "fast", "later"))
LOOKED = 3.0
JOBS = 2

CALM = (TableRefresh(SLOW, "slow", Way.UNCHANGED, 1000), TableRefresh(FAST, "fast", Way.UNCHANGED, 1000))
SOME = (TableRefresh(SLOW, "slow", Way.CHANGED, 1000, 1000, inserted=50, updated=30, deleted=20), CALM[1])
MOST = (CALM[0], TableRefresh(FAST, "fast", Way.LOADED_ANEW, 3000, 1000, inserted=2000))
MORE = (*CALM, TableRefresh(LATER, "later", Way.NEW, 400))


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger in which single runs can be written."""

    target: Target

    async def run(self, number: int, seconds: Mapping[str, tuple[float, float | None]]) -> None:
        """Write a run, each newer than the one before, with the seconds at which its stages began and ended."""
        began = BEGAN + timedelta(days=number)
        entry = {"id": UUID(int=number), "migration": MIGRATION.name, "version": "0", "source": {}, "started_at": began}
        async with self.target.transaction() as connection:
            await connection.execute(runs.insert().values(**entry, settings={"jobs": JOBS}))
            for stage, (first, last) in seconds.items():
                ended = None if last is None else began + timedelta(seconds=last)
                line = {"stage": stage, "started_at": began + timedelta(seconds=first), "ended_at": ended}
                await connection.execute(stages.insert().values(run_id=UUID(int=number), **line))

    async def window(self, tables: tuple[TableRefresh, ...]) -> Window | None:
        """Return what is said about these tables."""
        async with self.target.connect() as connection:
            return await window_of(connection, MIGRATION, tables, LOOKED)


@pytest.fixture
async def ledger(database: Database) -> AsyncIterator[Ledger]:
    """Give a ledger of two tables of 1,000 rows, one of which took 10 ms a row and the other 2 ms, and of no run."""
    target = Target(from_url(database.url, {}))
    run = await begin_ledger(target)
    ledger = Ledger(target)
    await ledger.run(run.run_id.int, {})
    async with target.transaction() as connection:
        await ledger_lines.write_copied(
            connection, run, {SLOW: CopyStats(1000, 1, 10.0), FAST: CopyStats(1000, 1, 2.0)}
        )
    yield ledger
    await target.close()


async def test_by_the_figures_of_the_first_run(ledger: Ledger) -> None:
    """What it takes to look and to compare, and the rows to be written by what a row of that table took."""
    assert await ledger.window(CALM) is None
    await ledger.run(1, {"copy": (2, 10), "verify": (3, None)})
    assert await ledger.window(CALM) is None, "a run that has compared nothing says nothing"
    # Two sessions worked from 2 to 20. Of these 18 s, each copied for 6 s (12 s in all), and compared for the rest.
    await ledger.run(2, {"copy": (2, 10), "verify": (3, 20)})
    await ledger.run(3, {"wait": (0, 1)})
    calm, some, most, more = [await ledger.window(tables) for tables in (CALM, SOME, MOST, MORE)]
    assert calm == Window(LOOKED + 12, "the run of 2026-03-03 22:30 UTC", LOOKED)
    assert some is not None
    assert most is not None
    assert more is not None
    assert some.seconds - calm.seconds == pytest.approx(100 * 0.010 * 3 / JOBS), "found by key, three times as dear"
    assert most.seconds - calm.seconds == pytest.approx(3000 * 0.002 / JOBS), "all its rows, and not only the changed"
    assert more.seconds - calm.seconds == pytest.approx(400 * 0.006 / JOBS), "a new one is like all together"


async def test_by_the_last_refresh(ledger: Ledger) -> None:
    """Where there was a refresh, its time counts; less than it has just taken to look is never promised."""
    await ledger.run(1, {"copy": (2, 10), "verify": (3, 20)})
    for seconds, expected in ((40.0, 40.0), (1.0, LOOKED)):
        async with ledger.target.transaction() as connection:
            await state.write_refresh(connection, MIGRATION, LastRefresh(BEGAN, 1, seconds, 5, 0, 0, 0, 1))
        found = await ledger.window(CALM)
        assert found == Window(expected, found.basis if found else "", LOOKED)
        assert "the last refresh, which took" in found.basis
