"""
Finds out whether the target's tables are as the last run has left them.

A table is, if its digest is the ledger's, or if every row was written by a transaction of the job and none is missing.
The first also holds after VACUUM FULL or a restore; the second also where no digest can be computed again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import duckdb
from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.concurrency.blocking import BlockingConnection, blocking_pool, call_in_worker
from migrator.concurrency.pool import WorkerPool, gather_or_cancel
from migrator.errors import RowsInTheWay
from migrator.ledger import loads
from migrator.ledger.loads import LoadedRows
from migrator.names import TableName
from migrator.refresh.pages import compared
from migrator.refresh.row_hashes import RowHashes
from migrator.refresh.survey import RefreshContext, Surveyed
from migrator.sessions.reader import ReadOnlySession, read_only_connection
from migrator.target.database import own_rows
from migrator.verification import digest
from migrator.verification.compare_table import TableResult
from migrator.verification.comparison import ALL_BLOCKS, BlockRange, Comparison, block_ranges
from migrator.verification.digest import Digest


class Standing(Struct, frozen=True):
    """The target's tables as they are now."""

    equal: Mapping[TableName, TableResult] = field(default_factory=dict)
    """Unchanged tables in which every value of the target was compared with the digest that the source still has."""
    touched: Mapping[TableName, str] = field(default_factory=dict)
    """Tables that somebody has written to, each with the numbers of rows in words."""
    as_compared: frozenset[TableName] = frozenset()
    """Tables that hold what the last comparison has found in them."""

    def without_doubt(self, tables: Sequence[Surveyed]) -> list[Surveyed]:
        """Return the tables; of one that isn't as it was compared, all rows have to be read."""
        return [table if table.name in self.as_compared else replace(table, doubt=None) for table in tables]


async def standing_of(context: RefreshContext, rows: RowHashes, tables: Sequence[Surveyed]) -> Standing:
    """
    Return the standing of the loaded ``tables``. Nobody may write to them meanwhile: see ``locks``.

    ``rows`` gets the hashes of the target's rows where it has those of the source's. Raises the errors of reading the
    target.
    """
    loaded = [table for table in tables if table.known is not None]
    async with context.target.connect() as connection:
        rows_of = await loads.loaded(connection, context.run.migration)
        unwritten = await _unwritten(connection, [table for table in loaded if table.doubt], rows_of)
    async with blocking_pool(context.limits.jobs, partial(read_only_connection, context.target.address)) as readers:
        reading = _Reading(readers, rows)
        read = [
            table
            for table in loaded
            if table.comparison is not None
            and (table.is_unchanged or table.hashed or table.doubt)
            and table.name not in unwritten
        ]
        digests = await gather_or_cancel(reading.of_table(table) for table in read)
        # Tables that are as the last run left them, by their digests.
        standing = {table.name: both for table, both in zip(read, digests, strict=True) if both is not None} | unwritten
        doubtful = [table for table in loaded if table.name not in standing]
        async with context.target.connect() as connection:
            present = await own_rows(connection, [table.name for table in doubtful])
            touched = await loads.touched_since(connection, present, rows_of) if present else {}
        # An UPDATE that changes no value, or a restore of the database, is no change.
        second = [
            table
            for table in doubtful
            if str(table.name) in touched and not (table.is_unchanged or table.hashed or table.doubt)
        ]
        digests = await gather_or_cancel(reading.of_table(table) for table in second)
    as_before = {str(table.name) for table, both in zip(second, digests, strict=True) if both is not None}
    return Standing(
        {
            table.name: TableResult(table.name, both, both, None)
            for table in loaded
            if table.is_unchanged and (both := standing.get(table.name)) is not None
        },
        {
            table.name: touched[str(table.name)]
            for table in doubtful
            if str(table.name) in touched and str(table.name) not in as_before
        },
        frozenset(standing),
    )


async def _unwritten(
    connection: AsyncConnection, tables: Sequence[Surveyed], rows_of: Mapping[TableName, LoadedRows]
) -> dict[TableName, Digest]:
    """
    Return the digest of each table that holds what the last comparison has found, by PostgreSQL's own records.

    Every row was written by a transaction of the job, none is missing, and the catalogs describe the columns as they
    did. So no value was read to learn it.
    """
    names = [table.name for table in tables]
    if not names:
        return {}
    shapes = await compared.shapes(connection, names)
    touched = await loads.touched_since(connection, await own_rows(connection, names), rows_of)
    return {
        table.name: table.doubt.before
        for table in tables
        if table.doubt and table.doubt.known.shape == shapes.get(table.name) and str(table.name) not in touched
    }


class _Reading(Struct, frozen=True):
    """Reads tables of the target."""

    readers: WorkerPool[BlockingConnection[ReadOnlySession]]
    rows: RowHashes

    async def of_table(self, table: Surveyed) -> Digest | None:
        """Return the digest of a table if it is as the last run left it; None if that isn't known."""
        comparison = table.comparison
        if comparison is None or table.copied is None:
            return None
        ranges: Sequence[BlockRange] = (ALL_BLOCKS,)
        if len(table.check.chunks) > 1:
            ranges = await call_in_worker(self.readers, block_ranges, comparison.target, len(table.check.chunks))
        found: Digest | None = None
        try:
            found = await (self._hashed if table.hashed else self._digest)(comparison, ranges)
        except* duckdb.Error:
            self.rows.forget(table.name)  # somebody has written a value that the form can't read
        return found if found is not None and found.hexadecimal() == _expected(table) else None

    async def _digest(self, comparison: Comparison, ranges: Sequence[BlockRange]) -> Digest:
        def of_blocks(session: ReadOnlySession, blocks: BlockRange) -> Digest:
            return digest.of_target(session, comparison, blocks)

        return digest.total(
            await gather_or_cancel(call_in_worker(self.readers, of_blocks, blocks) for blocks in ranges)
        )

    async def _hashed(self, comparison: Comparison, ranges: Sequence[BlockRange]) -> Digest:
        """Keep the hashes of the target's rows, and return their digest."""
        self.rows.begin("target", comparison)

        def of_blocks(session: ReadOnlySession, blocks: BlockRange) -> None:
            self.rows.read_target(session, comparison, blocks)

        await gather_or_cancel(call_in_worker(self.readers, of_blocks, blocks) for blocks in ranges)
        return await asyncio.to_thread(self.rows.digest, "target", comparison)


def _expected(table: Surveyed) -> str | None:
    """Return the digest that the target's table has if it is as the last run left it; None if it isn't known."""
    if table.copied is not None and table.copied.digest is not None:
        return table.copied.digest
    # The last run was interrupted before it could compare the rows. It has sent those that the source's digest is of.
    is_same = table.known is not None and table.comparison is not None and not table.comparison.by_server
    return table.known.recorded.digest if is_same and table.known and table.known.recorded else None


def refuse_touched(touched: Mapping[TableName, str]) -> None:
    """Raise RowsInTheWay if somebody has written to the target since the last run."""
    if not touched:
        return
    listed = ", ".join(f"{name} ({rows})" for name, rows in sorted(touched.items()))
    raise RowsInTheWay(
        f"somebody has written to the target since the last run, so it can't be refreshed: {listed}",
        next_step="Leave the target as it is if the application has started on it: then it has taken over. If nobody "
        "needs what was written, run with --restart --force, which copies all rows anew. If the application's own "
        "migrations have changed these rows after the copy (stage upgrade), add --rehearsal to every run but the last.",
        tables={str(name): rows for name, rows in touched.items()},
    )
