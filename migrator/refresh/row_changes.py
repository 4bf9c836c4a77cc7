"""
Finds the rows of a table that came, went or changed.

Of each row of both sides the hash and the place are at hand, or are read now: the rowid in the source, and the ctid in
the target, where nobody writes meanwhile. What differs goes into a scratch database of SQLite's, from which the
copier's own scan selects the rows to send.
"""

import asyncio
import time
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from migrator.concurrency.blocking import BlockingConnection, call_in_worker
from migrator.concurrency.pool import WorkerPool, gather_or_cancel
from migrator.names import quote_sqlite
from migrator.planning.plan import TablePlan
from migrator.refresh.key_ranges import of_source, of_target, target_key
from migrator.refresh.row_hashes import SIDES, RowHashes
from migrator.refresh.sample import LEAST_ROWS
from migrator.refresh.survey import Surveyed
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.source.chunks import identity_of
from migrator.source.scan import ScanSession
from migrator.source.schema import SourceTable
from migrator.verification.comparison import Comparison
from migrator.verification.digest import EMPTY, Digest, KnownDigest, total


class RowChanges(Struct, frozen=True):
    """The changed rows of one table; ``prefix`` begins the names of the scratch tables with their places."""

    table: TablePlan
    prefix: str
    inserted: int
    updated: int
    deleted: int
    digest: KnownDigest | None = None
    """The digest of the source's table as it is now; None if more has to be read for it."""
    sent_digest: Digest = EMPTY
    """The digest of the source's rows that are sent, in the same forms."""
    seconds: float = 0.0
    """The time that finding them took."""
    read: int | None = None
    """The rows of the source that were read for it; None for all."""

    @property
    def sent(self) -> str:
        """The scratch table with the places of the source's rows that are sent, in the column ``identity``."""
        return f"{self.prefix} sent"

    @property
    def gone(self) -> str:
        """The scratch table with the places of the target's rows that are deleted: ``part`` and ``place``."""
        return f"{self.prefix} gone"

    @property
    def total(self) -> int:
        """The number of rows that differ."""
        return self.inserted + self.updated + self.deleted

    def is_most_of(self, rows: int, share: float) -> bool:
        """Return whether more than a share of the ``rows`` differs, so that loading the table anew takes less time."""
        return rows >= LEAST_ROWS and self.total > rows * share


class Ends(Struct, frozen=True):
    """How both ends are read."""

    sessions: WorkerPool[BlockingConnection[ScanSession]]
    readers: WorkerPool[BlockingConnection[ReadOnlySession]]
    target: TargetAddress
    batch_bytes: int

    async def read(self, rows: RowHashes, comparison: Comparison) -> None:
        """Keep the hashes of the rows of both sides, which are read at the same time."""

        def read_source(session: ScanSession) -> None:
            rows.read_source(session, self.target, comparison)

        await gather_or_cancel(
            (
                call_in_worker(self.sessions, read_source),
                call_in_worker(self.readers, rows.read_target, comparison),
            )
        )


async def stage_changes(rows: RowHashes, ends: Ends, found: Surveyed, into: tuple[Path, str]) -> RowChanges | None:
    """
    Find the changed rows of a table and stage their places; ``into`` is the scratch database and the tables' prefix.

    ``rows`` may have the hashes of both sides already; otherwise both are read here. Returns None if the rows can't be
    told apart. Raises an ExceptionGroup of the errors of reading either side, and of ``duckdb.Error`` for a value that
    the form of its column can't read.
    """
    started = time.monotonic()
    comparison = _of_sent(found, ends.batch_bytes)
    if not (found.hashed and rows.has_both(found.name)):
        for side in SIDES:
            rows.begin(side, comparison)
        await ends.read(rows, _in_doubt(comparison, found))
    differing = await asyncio.to_thread(rows.differing, comparison, *into)
    rows.forget(found.name)
    if differing is None:
        return None
    now = differing.source
    if found.doubt is not None:
        now = total([found.doubt.before.without(differing.gone), differing.sent])
        if now.rows != found.check.table_size.rows:
            return None
    is_whole = not comparison.by_server and not found.plan.computed
    return RowChanges(
        found.plan,
        into[1],
        differing.inserted,
        differing.updated,
        differing.deleted,
        KnownDigest(comparison, now) if is_whole else None,
        differing.sent,
        time.monotonic() - started,
        differing.source.rows if found.doubt is not None else None,
    )


def _of_sent(found: Surveyed, batch_bytes: int) -> Comparison:
    """
    Return the comparison of the columns that are sent. The target computes the others from these.

    In the forms of the last run, every row that has not changed has the same form on both sides.
    """
    table = found.plan
    earlier = found.comparison or Comparison(
        table.source, table.target, table.pairs, found.check.table_size, batch_bytes
    )
    return replace(
        earlier,
        source=table.source,
        pairs=earlier.pairs[: len(table.columns)],
        table_size=found.check.table_size,
        target_condition=found.target_condition,
    )


def _in_doubt(comparison: Comparison, found: Surveyed) -> Comparison:
    """Return the comparison of the rows that may have changed: of all, unless it is known which may."""
    key = target_key(found.plan)
    if found.doubt is None or key is None:
        return comparison
    return replace(
        comparison,
        source=of_source(found.plan.source, found.doubt.ranges),
        target_condition=of_target(found.name, key, found.doubt.ranges),
    )


def only(table: SourceTable, rows: str) -> SourceTable:
    """Return the source table, from which only the rows are read whose identities are in the scratch table ``rows``."""
    condition = f"{identity_of(table)} IN (SELECT identity FROM {rows})"
    conditions = filter(None, (table.selection.not_dropped, condition))
    selection = replace(table.selection, not_dropped=" AND ".join(conditions))
    return replace(table, selection=selection)


def in_schema(schema: str, name: str) -> str:
    """Return the name of a scratch table as it stands in a statement of SQLite's."""
    return f"{quote_sqlite(schema)}.{quote_sqlite(name)}"
