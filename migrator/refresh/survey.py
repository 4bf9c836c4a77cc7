"""
Finds the tables of the source that hold other rows than the last run has carried.

Each table is scanned once, or not at all if a sample shows that much of it has changed. Its digest is computed by the
recipe in the ledger and compared with the digest there. The hashes of its rows are kept until then, so that the rows
that differ are found without another scan.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Self

import duckdb
from msgspec import Struct
from msgspec.structs import replace

from migrator.concurrency.blocking import BlockingConnection, blocking_pool, call_in_worker
from migrator.concurrency.pool import WorkerPool, gather_or_cancel
from migrator.errors import SourceUnreadable
from migrator.ledger import carried, kept, loads
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
from migrator.refresh import sample
from migrator.refresh.pages import compared
from migrator.refresh.pages.page_hashes import PageHashes
from migrator.refresh.pages.page_look import Doubt, PageLook, is_large
from migrator.refresh.row_hashes import SIDES, RowHashes, has_places
from migrator.reports.refresh_report import Way
from migrator.runtime.limits import Limits
from migrator.sessions.reader import ReadOnlySession, read_only_connection
from migrator.source.chunks import Chunk
from migrator.source.database import Source
from migrator.source.scan import ScanSession
from migrator.target.database import Target
from migrator.verification import digest
from migrator.verification.comparison import Comparison, in_fast_form
from migrator.verification.digest import Digest, opened_in_memory
from migrator.verification.recipe import Recipe, Size, reader


class RefreshContext(Struct, frozen=True):
    """The databases, the plan and the limits of a refresh."""

    source: Source
    run: RunLedger
    plan: Plan
    rules: Rules
    limits: Limits
    tracker: Tracker
    lock_seconds: float
    """How long the refresh waits for the locks of the target's tables."""
    changed_only: bool = False
    """Whether rows that nobody has written since they were compared aren't read again."""

    @property
    def target(self) -> Target:
        """The target."""
        return self.run.target


class Surveyed(Struct, frozen=True):
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
    hashed: bool = False
    """Whether ``RowHashes`` has the hashes of the source's rows, in the forms of ``comparison``."""
    target_condition: str = ""
    """PostgreSQL's SQL that is true for the target's rows that the source's are compared with; empty for all rows."""
    doubt: Doubt | None = None
    """The rows that may have changed; None if all have to be read."""
    share: float = 0.0
    """About the share of the source's rows that have changed; 0 if that isn't known."""
    pages_are_others: bool = False
    """Whether what the ledger has of the table's pages is of no use any more."""

    @property
    def name(self) -> TableName:
        """The name of the target's table."""
        return self.plan.name

    @property
    def is_unchanged(self) -> bool:
        """Whether the source's table is as the last run carried it."""
        return self.way is Way.UNCHANGED

    @property
    def was_compared(self) -> bool:
        """Whether a run has compared the target's rows since they were written, so that its digest is known."""
        return self.comparison is not None and self.copied is not None and self.copied.digest is not None


class Stores(Struct, frozen=True):
    """What was read of the tables, until the refresh has ended."""

    rows: RowHashes
    pages: PageHashes

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Self]:
        """Yield empty stores, which last as long as the block."""
        with opened_in_memory(_MEGABYTES) as duck:
            yield cls(RowHashes(duck), PageHashes(duck))


_MEGABYTES = 64
"""
The memory for the hashes of all tables. A row takes about 24 bytes a side, so larger tables go to disk.

Measured at 300 MB, 1 % changed: 64 take 1.03 of the CPU that 256 take, and the job 316 MB in place of 494.
"""


async def survey(context: RefreshContext, stores: Stores) -> list[Surveyed]:
    """
    Return every planned table with the way by which it gets the source's rows, in the plan's order.

    ``stores`` get the hashes of the source's rows in tables with the way ``CHANGED``, where they can be told apart.
    Such a table may still turn out to be better loaded anew. Raises SourceUnreadable.
    """
    async with context.target.connect() as connection:
        known = await carried.read(connection, context.run.migration)
        copied = await loads.copied(connection, context.run.migration)
        begun = await loads.begun(connection, context.run.migration)
        merged = await kept.merged_conditions(connection)
        shown = await compared.read(connection, context.run.migration) if context.changed_only else {}
    tables = context.plan.tables
    async with (
        blocking_pool(context.limits.jobs, partial(BlockingConnection, context.source.session)) as sessions,
        blocking_pool(1, partial(read_only_connection, context.target.address)) as readers,
    ):
        checks = await measured(sessions, tables, context.limits)
        context.tracker.expect("refresh", {str(name): check.table_size.rows for name, check in checks.items()})
        look = PageLook(context.source, context.target, context.run.migration, sessions, stores.pages, shown)
        looking = _Looking(context, sessions, readers, stores.rows, look, known, copied)
        found = await gather_or_cancel(
            looking.looked_at(
                Surveyed(table, checks[table.name], Way.NEW, target_condition=merged.get(table.name, "")),
                begun=table.name in begun,
            )
            for table in tables
        )
        most = sample.most((table.share, table.check.table_size.rows) for table, _ in found)
        return await gather_or_cancel(looking.decided(table, recorded, most) for table, recorded in found)


class _Looking(Struct, frozen=True):
    context: RefreshContext
    sessions: WorkerPool[BlockingConnection[ScanSession]]
    readers: WorkerPool[BlockingConnection[ReadOnlySession]]
    rows: RowHashes
    look: PageLook
    known: Mapping[TableName, Carried]
    copied: Mapping[TableName, CopiedTable]

    async def looked_at(self, found: Surveyed, *, begun: bool) -> tuple[Surveyed, Recorded | None]:
        """Return what is known of a table before its rows are read, and its last digest if its rows have to decide."""
        self.context.tracker.begin_table("refresh", str(found.name))
        return await self._of_begun(found) if begun else (found, None)

    async def decided(self, found: Surveyed, recorded: Recorded | None, most: float) -> Surveyed:
        """Return a table with its way; one of which more than the share ``most`` has changed is loaded anew."""
        surveyed = await self._by_digest(found, recorded, most) if recorded else found
        self.context.tracker.finish_table("refresh", str(found.name))
        return surveyed

    async def _of_begun(self, found: Surveyed) -> tuple[Surveyed, Recorded | None]:
        known, copied = self.known.get(found.name), self.copied.get(found.name)
        found = replace(found, known=known, copied=copied)
        recorded = known.recorded if known else None
        if known is None:
            return replace(found, way=Way.LOADED_ANEW, reason="the ledger is of an earlier version"), None
        if columns := known.terms.other_columns(terms_of(found.plan.source, self.context.rules)):
            return replace(found, way=Way.LOADED_ANEW, reason=", ".join(columns)), None
        if recorded is None or recorded.recipe["reader"] != reader():
            reason = "its digest is missing or of another version"
            return replace(found, way=Way.CHANGED if copied else Way.LOADED_ANEW, reason=reason), None
        if copied is not None:
            comparison = await call_in_worker(
                self.sessions, as_recorded, found, recorded, self.context.limits.batch_bytes
            )
            hashed = comparison is not None and _can_be_hashed(found, comparison)
            found = replace(found, comparison=comparison, hashed=hashed)
        if found.hashed:
            found = replace(found, doubt=await self._doubt(found, recorded))
            found = replace(found, pages_are_others=found.doubt is None and found.name in self.look.known)
            found = replace(found, share=await self._changed(found, recorded))
        return found, recorded

    async def _by_digest(self, found: Surveyed, recorded: Recorded, most: float) -> Surveyed:
        if found.share > most and (found.doubt is None or most < sample.MOST):
            reason = f"about {found.share * 100:.0f} % of its rows have changed"
            return replace(found, way=Way.LOADED_ANEW, hashed=False, doubt=None, reason=reason)
        if found.doubt is not None:
            return replace(found, way=Way.CHANGED if found.doubt.ranges else Way.UNCHANGED, hashed=False)
        now = None
        if found.hashed or found.check.table_size.rows == recorded.rows:  # else a scan would tell nothing more
            try:
                now = await (self._hashed(found) if found.hashed else self._digest(recorded, found))
            except* (SourceUnreadable, duckdb.Error):
                # A value is of another kind than the values before; preflight will raise for a damaged file.
                found = replace(found, hashed=False)
        is_equal = now is not None and now.hexadecimal() == recorded.digest
        if found.copied is None:
            way = Way.NEW if is_equal else Way.LOADED_ANEW
            return replace(found, way=way, reason="" if is_equal else "its last load was not finished")
        if found.hashed and is_equal:
            self.rows.forget(found.name)
        return replace(found, way=Way.UNCHANGED if is_equal else Way.CHANGED, hashed=found.hashed and not is_equal)

    async def _doubt(self, found: Surveyed, recorded: Recorded) -> Doubt | None:
        """Return which rows of a table may have changed; None if all have to be read."""
        rows, is_recorded = found.check.table_size.rows, found.copied and found.copied.digest == recorded.digest
        if not is_recorded or not is_large(rows) or found.target_condition:
            return None
        doubt = await self.look.at(found.plan, recorded.digest)
        # Where the pages are as they were, so is their number of rows.
        return None if doubt and not doubt.ranges and rows != doubt.before.rows else doubt

    async def _changed(self, found: Surveyed, recorded: Recorded) -> float:
        """Return about the share of a table's rows that have changed; 0 if that isn't known yet."""
        rows = found.check.table_size.rows
        if rows < sample.LEAST_ROWS or found.target_condition or (found.doubt and not found.doubt.ranges):
            return 0.0
        more_or_less = abs(rows - recorded.rows) / rows
        return more_or_less if more_or_less > sample.MOST else await self._share(found)

    async def _share(self, found: Surveyed) -> float:
        """Return about the share of a table's rows that have changed, by a sample; 0 if none can be taken."""
        rows, comparison = found.check.table_size.rows, found.comparison
        if comparison is None:
            return 0.0
        chunks = await call_in_worker(self.sessions, sample.ranges, found.plan, rows)
        if not chunks:
            return 0.0
        of_sample = replace(comparison, target_condition=sample.target_condition(found.plan, chunks))
        for side in SIDES:
            self.rows.begin(side, of_sample)

        def read_source(session: ScanSession) -> None:
            for chunk in chunks:
                self.rows.read_source(session, self.context.target.address, of_sample, chunk)

        try:
            await call_in_worker(self.sessions, read_source)
            await call_in_worker(self.readers, self.rows.read_target, of_sample)
            return await asyncio.to_thread(self.rows.share, of_sample)
        except (SourceUnreadable, duckdb.Error):
            return 0.0  # a value is of another kind than the values before
        finally:
            self.rows.forget(found.name)

    async def _hashed(self, found: Surveyed) -> Digest:
        """Keep the hashes of the source's rows, and return their digest."""
        comparison, address = found.comparison, self.context.target.address
        assert comparison is not None  # noqa: S101 - ``hashed`` says so
        self.rows.begin("source", comparison)

        def of_chunk(session: ScanSession, chunk: Chunk) -> None:
            self.rows.read_source(session, address, comparison, chunk)

        await gather_or_cancel(call_in_worker(self.sessions, of_chunk, chunk) for chunk in found.check.chunks)
        return await call_in_worker(self.sessions, lambda _session: self.rows.digest("source", comparison))

    async def _digest(self, recorded: Recorded, found: Surveyed) -> Digest:
        """Return the digest of the source's rows, which needs no form that the target's rows have, too."""
        recipe = Recipe.from_json(recorded.recipe)
        size = Size(found.check.table_size, self.context.limits.batch_bytes)

        def of_chunk(session: ScanSession, chunk: Chunk) -> Digest:
            return recipe.digest(session, found.plan.source, size, chunk)

        digests = await gather_or_cancel(call_in_worker(self.sessions, of_chunk, chunk) for chunk in found.check.chunks)
        return digest.total(digests)


def _can_be_hashed(found: Surveyed, comparison: Comparison) -> bool:
    """Return whether the rows that ``comparison`` compares are those that are sent, and have places."""
    return not comparison.by_server and not found.plan.computed and has_places(found.plan.source)


def as_recorded(session: ScanSession, found: Surveyed, recorded: Recorded, batch_bytes: int) -> Comparison | None:
    """
    Return the comparison that has the recipe in the ledger; None if neither form of the comparison has it now.

    Blocks while JSON documents are sampled. Raises SourceUnreadable.
    """
    table = found.plan
    # The number of buckets depends on the number of rows that were there.
    size = replace(found.check.table_size, rows=recorded.rows)
    canonical = Comparison(
        table.source, table.target, table.pairs, size, batch_bytes, target_condition=found.target_condition
    )
    if Recipe.of(canonical).to_json() == recorded.recipe:
        return canonical
    fast = in_fast_form(session, canonical)
    return fast if Recipe.of(fast).to_json() == recorded.recipe else None


def names_of(tables: Sequence[Surveyed], *ways: Way) -> list[TableName]:
    """Return the names of the tables with one of these ways."""
    return [table.name for table in tables if table.way in ways]
