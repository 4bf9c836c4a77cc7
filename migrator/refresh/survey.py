"""
Finds the tables of the source that hold other rows than the last run has carried. Reads only the source.

Each table is scanned once. Its digest is computed by the recipe in the ledger and compared with the digest there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import duckdb

from migrator.concurrency.blocking import BlockingConnection, blocking_pool, call_in_worker
from migrator.concurrency.pool import WorkerPool, gather_or_cancel
from migrator.errors import SourceUnreadable
from migrator.ledger import carried, loads
from migrator.ledger.carried import Carried, Recorded
from migrator.ledger.loads import CopiedTable
from migrator.ledger.run_ledger import RunLedger
from migrator.monitoring.tracker import Tracker
from migrator.names import TableName
from migrator.planning.plan import Plan, TablePlan
from migrator.planning.rules import Rules
from migrator.planning.table_terms import terms_of
from migrator.preflight.checker import measured
from migrator.preflight.table_check import TableCheck
from migrator.reports.refresh_report import Way
from migrator.runtime.limits import Limits
from migrator.source.chunks import Chunk
from migrator.source.database import Source
from migrator.source.scan import ScanSession
from migrator.target.database import Target
from migrator.verification import digest
from migrator.verification.comparison import Comparison, in_fast_form
from migrator.verification.digest import Digest
from migrator.verification.recipe import Recipe, Size, reader


@dataclass(frozen=True, slots=True)
class RefreshContext:
    """The databases, the plan and the limits of a refresh."""

    source: Source
    run: RunLedger
    plan: Plan
    rules: Rules
    limits: Limits
    tracker: Tracker
    lock_seconds: float
    """How long the refresh waits for the locks of the target's tables."""

    @property
    def target(self) -> Target:
        """The target."""
        return self.run.target


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A planned table, what the ledger knows of it, and whether the source still holds the same rows."""

    plan: TablePlan
    check: TableCheck
    """The table's size and its chunks."""
    way: Way
    known: Carried | None = None
    copied: CopiedTable | None = None
    """None if no earlier run has loaded all rows of the table."""
    comparison: Comparison | None = None
    """The comparison of the last run, by which both sides can be digested again; None if it can't be made again."""
    reason: str = ""

    @property
    def name(self) -> TableName:
        """The name of the target's table."""
        return self.plan.name

    @property
    def was_compared(self) -> bool:
        """Whether a run has compared the target's rows since they were written, so that its digest is known."""
        return self.comparison is not None and self.copied is not None and self.copied.digest is not None


async def survey(context: RefreshContext) -> list[Surveyed]:
    """
    Return every planned table with the way by which it gets the source's rows, in the plan's order.

    A table with the way ``CHANGED`` may still turn out to be better loaded anew. Raises SourceUnreadable.
    """
    async with context.target.connect() as connection:
        known = await carried.read(connection, context.run.migration)
        copied = await loads.copied(connection, context.run.migration)
        begun = await loads.begun(connection, context.run.migration)
    tables = context.plan.tables
    async with blocking_pool(context.limits.jobs, partial(BlockingConnection, context.source.session)) as sessions:
        checks = await measured(sessions, tables, context.limits)
        context.tracker.expect("refresh", {str(name): check.table_size.rows for name, check in checks.items()})
        looking = _Looking(context, sessions, known, copied)
        return await gather_or_cancel(
            looking.at(Surveyed(table, checks[table.name], Way.NEW), begun=table.name in begun) for table in tables
        )


@dataclass(frozen=True, slots=True)
class _Looking:
    context: RefreshContext
    sessions: WorkerPool[BlockingConnection[ScanSession]]
    known: Mapping[TableName, Carried]
    copied: Mapping[TableName, CopiedTable]

    async def at(self, found: Surveyed, *, begun: bool) -> Surveyed:
        name = found.name
        self.context.tracker.begin_table("refresh", str(name))
        surveyed = await self._of_begun(found) if begun else found
        self.context.tracker.finish_table("refresh", str(name))
        return surveyed

    async def _of_begun(self, found: Surveyed) -> Surveyed:
        known, copied = self.known.get(found.name), self.copied.get(found.name)
        found = replace(found, known=known, copied=copied)
        recorded = known.recorded if known else None
        if known is None:
            return replace(found, way=Way.LOADED_ANEW, reason="the ledger is of an earlier version")
        if columns := known.terms.other_columns(terms_of(found.plan.source, self.context.rules)):
            return replace(found, way=Way.LOADED_ANEW, reason=", ".join(columns))
        if recorded is None or recorded.recipe["reader"] != reader():
            reason = "its digest is missing or of another version"
            return replace(found, way=Way.CHANGED if copied else Way.LOADED_ANEW, reason=reason)
        now = None
        if found.check.table_size.rows == recorded.rows:  # else a scan would tell nothing more
            try:
                now = await self._digest(Recipe.from_json(recorded.recipe), found)
            except* (SourceUnreadable, duckdb.Error):
                pass  # a value is of another kind than the values before; preflight will raise for a damaged file
        is_equal = now is not None and now.hexadecimal() == recorded.digest
        if copied is None:
            way = Way.NEW if is_equal else Way.LOADED_ANEW
            return replace(found, way=way, reason="" if is_equal else "its last load was not finished")
        comparison = await call_in_worker(self.sessions, as_recorded, found, recorded, self.context.limits.batch_bytes)
        return replace(found, way=Way.UNCHANGED if is_equal else Way.CHANGED, comparison=comparison)

    async def _digest(self, recipe: Recipe, found: Surveyed) -> Digest:
        size = Size(found.check.table_size, self.context.limits.batch_bytes)

        def of_chunk(session: ScanSession, chunk: Chunk) -> Digest:
            return recipe.digest(session, found.plan.source, size, chunk)

        digests = await gather_or_cancel(call_in_worker(self.sessions, of_chunk, chunk) for chunk in found.check.chunks)
        return digest.total(digests)


def as_recorded(session: ScanSession, found: Surveyed, recorded: Recorded, batch_bytes: int) -> Comparison | None:
    """
    Return the comparison that has the recipe in the ledger; None if neither form of the comparison has it now.

    Blocks while JSON documents are sampled. Raises SourceUnreadable.
    """
    table = found.plan
    # The number of buckets depends on the number of rows that were there.
    size = replace(found.check.table_size, rows=recorded.rows)
    canonical = Comparison(table.source, table.target, table.pairs, size, batch_bytes)
    if Recipe.of(canonical).to_json() == recorded.recipe:
        return canonical
    fast = in_fast_form(session, canonical)
    return fast if Recipe.of(fast).to_json() == recorded.recipe else None


def names_of(tables: Sequence[Surveyed], *ways: Way) -> list[TableName]:
    """Return the names of the tables with one of these ways."""
    return [table.name for table in tables if table.way in ways]
