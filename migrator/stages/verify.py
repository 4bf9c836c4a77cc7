"""
Stage ``verify``: every value of every row, at both ends, compared by code that had no part in the copying.

It writes nothing but the ledger's note that a table was found equal, and that only when the job asks for it.
"""

import asyncio
import time
from dataclasses import dataclass, replace

import structlog

from migrator import digest, ledger
from migrator.digest import Digest, Pair
from migrator.errors import Mismatch
from migrator.events import Event
from migrator.findings import Profile
from migrator.names import TableName
from migrator.plan import Plan, TablePlan
from migrator.progress import Progress
from migrator.source import Source
from migrator.survey import measure
from migrator.target import Target

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison of one table came to."""

    table: TableName
    source: Digest
    target: Digest
    seconds: float

    @property
    def equal(self) -> bool:
        """Whether both ends hold the same rows, each as often."""
        return self.source == self.target

    def difference(self) -> str:
        """Return in words how the ends differ."""
        if self.source.rows != self.target.rows:
            return f"{self.table}: {self.source.rows} rows in the source, {self.target.rows} in the target"
        differing = len(self.source.differing(self.target))
        return f"{self.table}: {self.source.rows} rows on both sides, but values differ (in {differing} of its buckets)"


async def verify(  # noqa: PLR0913 - both ends, the plan, and how to go about it
    source: Source,
    target: Target,
    plan: Plan,
    *,
    jobs: int,
    batch_bytes: int,
    progress: Progress,
    note: bool = False,
) -> list[Verdict]:
    """
    Compare all planned tables, the rows counted and the values digested, and return a verdict for each.

    Raises Mismatch, after all tables have been looked at, naming those that differ. With ``note`` the ledger learns of
    the tables that are equal.
    """
    at_once = asyncio.Semaphore(jobs)

    async def in_turn(table: TablePlan) -> Verdict:
        async with at_once:
            profile = await asyncio.to_thread(_measured, source, table)
            verdict = await _compare(source, target, table, profile, batch_bytes)
            progress.advance(str(table.name), verdict.source.rows)
            return verdict

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(in_turn(table)) for table in plan.tables]
    verdicts = [task.result() for task in tasks]
    if note:
        await _note(target, [verdict for verdict in verdicts if verdict.equal])
    _refuse([verdict for verdict in verdicts if not verdict.equal], verdicts)
    return verdicts


def _measured(source: Source, table: TablePlan) -> Profile:
    with source.session() as session:
        return measure(session, table)


async def _compare(source: Source, target: Target, table: TablePlan, profile: Profile, batch_bytes: int) -> Verdict:
    started = time.monotonic()
    verdict = await _digest_both(source, target, table, profile, batch_bytes)
    verdict = replace(verdict, seconds=time.monotonic() - started)
    if verdict.equal:
        log.info(
            Event.TABLE_VERIFIED, table=str(table.name), rows=verdict.source.rows, seconds=round(verdict.seconds, 3)
        )
    else:
        log.error(
            Event.TABLE_DIFFERS,
            table=str(table.name),
            source_rows=verdict.source.rows,
            target_rows=verdict.target.rows,
            buckets=len(verdict.source.differing(verdict.target)),
        )
    return verdict


async def _digest_both(source: Source, target: Target, table: TablePlan, profile: Profile, batch_bytes: int) -> Verdict:
    pairs = [Pair(column.source, column.target) for column in table.columns]
    ours, theirs = await asyncio.gather(
        asyncio.to_thread(
            digest.of_source,
            source,
            table.source,
            pairs,
            key=table.target.key,
            profile=profile,
            batch_bytes=batch_bytes,
        ),
        asyncio.to_thread(
            digest.of_target,
            target.address.libpq_uri(),
            table.target,
            pairs,
            key=table.target.key,
            batch_bytes=batch_bytes,
        ),
    )
    return Verdict(table.name, ours, theirs, 0.0)


async def _note(target: Target, verdicts: list[Verdict]) -> None:
    async with target.transaction() as connection:
        for verdict in verdicts:
            await ledger.write_verified(connection, verdict.table, verdict.source.hexadecimal())


def _refuse(differing: list[Verdict], verdicts: list[Verdict]) -> None:
    if differing:
        raise Mismatch(
            f"{len(differing)} of {len(verdicts)} tables differ: "
            + "; ".join(verdict.difference() for verdict in differing),
            next_step="do not switch the application over; find out who wrote to either side after the copy",
            tables=[str(verdict.table) for verdict in differing],
        )
