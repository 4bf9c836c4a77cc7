"""
Proves the tables that a refresh has written, without reading again what it has not written.

Every row of both sides was compared before the refresh wrote, while nobody else could write, or by an earlier run if it
is in no doubt (``pages``): without the rows that go and with those that come, the target's digest is the source's.
Three things are left to prove. PostgreSQL says of every row which transaction has written it, so no row was added,
changed or removed but by the job; the number of deleted rows was checked when they were deleted; and the rows that were
written are read back and compared with the source's.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

import duckdb
import structlog
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.concurrency.blocking import blocking_pool, call_in_worker
from migrator.concurrency.pool import gather_or_cancel
from migrator.errors import GaveUp
from migrator.events import Event
from migrator.ledger import loads
from migrator.names import TableName
from migrator.refresh.locks import have_room, locked_to_read
from migrator.refresh.row_changes import RowChanges
from migrator.refresh.standing import Standing
from migrator.refresh.survey import RefreshContext, Surveyed
from migrator.refresh.writing import Writing
from migrator.reports.refresh_report import Way
from migrator.sessions.reader import ReadOnlySession, read_only_connection
from migrator.target.database import own_rows
from migrator.verification import digest
from migrator.verification.compare_table import TableResult

log = structlog.get_logger()


class Written(Struct, frozen=True):
    """Tables that can be proved after a transaction: changed ones, and unchanged ones that its locks have covered."""

    changes: Sequence[RowChanges]
    unchanged: Mapping[TableName, TableResult]
    transaction: int
    """The number of the transaction that has written the rows, as ``xmin`` has it."""

    @property
    def names(self) -> list[TableName]:
        """The names of all these tables."""
        return [*(change.table.name for change in self.changes), *self.unchanged]

    def without(self, tables: Collection[TableName]) -> "Written":
        """Return the same without unchanged tables that are proved already."""
        return replace(self, unchanged={name: one for name, one in self.unchanged.items() if name not in tables})


NOTHING = Written((), {}, 0)


async def to_read_back(
    connection: AsyncConnection, tables: Sequence[Surveyed], writing: Writing, standing: Standing
) -> Written:
    """
    Return the tables that are proved after the transaction without reading them as a whole.

    There are none if a table is loaded by the usual way: the stages that load it drop and restore foreign keys, also of
    tables that keys connect with it over others, and wait for ever where a table is locked to the end.
    """
    if any(table.way in {Way.NEW, Way.LOADED_ANEW} for table in tables):
        return NOTHING
    compared = {table.name for table in tables if table.was_compared}
    return Written(
        [change for change in writing.changes if change.digest is not None],
        {name: result for name, result in standing.equal.items() if name in compared},
        await _own_transaction(connection),
    )


async def _own_transaction(connection: AsyncConnection) -> int:
    """Return the number of the connection's transaction, as ``xmin`` has it in the rows that it writes."""
    statement = text("SELECT CAST(CAST(pg_current_xact_id() AS xid) AS text)")
    return int(str(await connection.scalar(statement)))


async def analyze(connection: AsyncConnection, changes: Sequence[RowChanges]) -> None:
    """Gather the statistics of changed tables in the transaction that has written them."""
    if names := [change.table.name.quoted for change in changes if change.total]:
        await connection.exec_driver_sql(f"ANALYZE {', '.join(names)}")


async def read_back(context: RefreshContext, written: Written, held: AsyncExitStack) -> dict[TableName, TableResult]:
    """
    Return the results of the tables that are proved; the others have to be compared as a whole.

    Call it after the transaction has ended. Until ``held`` is closed, nobody writes to the tables that are proved.
    Raises the errors of reading the target.
    """
    async with AsyncExitStack() as attempt:
        async with context.target.connect() as connection:
            if not written.names or not await have_room(connection, written.names):
                return {}
        try:
            locked = await attempt.enter_async_context(
                locked_to_read(context.target, written.names, context.lock_seconds)
            )
        except GaveUp:
            return {}  # somebody is writing: the comparison of the whole tables tells what
        rows_of = await loads.loaded(locked, context.run.migration)
        touched = await loads.touched_since(locked, await own_rows(locked, written.names), rows_of)
        proved = {name: result for name, result in written.unchanged.items() if str(name) not in touched}
        changes = [change for change in written.changes if str(change.table.name) not in touched]
        async with blocking_pool(context.limits.jobs, partial(read_only_connection, context.target.address)) as readers:
            results = await gather_or_cancel(
                call_in_worker(readers, _result, change, written.transaction) for change in changes
            )
        proved |= {result.table: result for result in results if result is not None}
        if set(proved) != set(written.names):
            return {}  # the locks would keep the others from being analyzed
        held.push_async_exit(attempt.pop_all())
    return proved


def _result(session: ReadOnlySession, change: RowChanges, transaction: int) -> TableResult | None:
    """Return the result of a table whose written rows are those that were to be sent; None if they are not."""
    if change.digest is None:
        return None
    started = time.monotonic()
    comparison, both = change.digest.comparison, change.digest.digest
    conditions = (comparison.target_condition, f"xmin = '{transaction}'::xid")
    of_written = replace(comparison, target_condition=" AND ".join(f"({part})" for part in conditions if part))
    try:
        if change.total and digest.of_target(session, of_written) != change.sent_digest:
            return None
    except duckdb.Error:
        return None  # a value has no fast form
    seconds = time.monotonic() - started
    name = change.table.name
    log.info(
        Event.TABLE_VERIFIED, table=str(name), rows=both.rows, seconds=round(seconds, 3), digest=both.hexadecimal()
    )
    return TableResult(name, both, both, None, seconds)
