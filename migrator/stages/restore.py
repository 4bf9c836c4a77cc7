"""
Stage ``restore`` makes dropped keys and indexes again, with their exact definitions: keys first, foreign keys last.

Every entry that ``park`` dropped is restored in the transaction that writes this into the ledger. An entry that can't
be restored (because of an orphan or a duplicate) is reported after all others have been tried, and stays in the ledger
for the next run.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.orphans import orphans_of
from migrator.concurrency.pool import WorkerPool, gather_or_cancel
from migrator.concurrency.replay_queue import ReplayQueue
from migrator.errors import TargetRefused
from migrator.ledger import parked
from migrator.ledger.parked import FOREIGN_KEY, INDEX, Parked
from migrator.ledger.run_ledger import RunLedger
from migrator.monitoring.tracker import Tracker
from migrator.names import TableName, quote_postgres
from migrator.runtime.retry import is_transient, sqlstate_of
from migrator.sessions.connections import in_transaction, is_open

_SORT_MEMORY = "256MB"
"""The most memory for sorting an index. More makes it slower: the processor's caches hold less of what is sorted."""

_SHARE_OF_MEMORY = 4
"""All indexes that are made at the same time get a quarter (the divisor is 4) of the memory that the server has."""

_PARALLEL_WORKERS = 2
"""The parallel workers for an index. With them the server takes less CPU in all, not only less time."""


async def restore(
    run: RunLedger,
    jobs: int,
    copied: ReplayQueue[TableName] | None = None,
    done: ReplayQueue[TableName] | None = None,
    tracker: Tracker | None = None,
) -> int:
    """
    Restore everything that is parked, at most ``jobs`` tables at a time, and return the number of entries.

    ``tracker`` counts the entries.

    A table's keys and indexes are restored when ``copied`` yields the table, or at once without ``copied``; then
    ``done`` gets the table. Foreign keys are restored last, because they need the keys of two tables. Raises
    TargetRefused with the list of entries that are still missing and the reasons, and GaveUp, in an ExceptionGroup, if
    another run has taken over.
    """
    target = run.target
    async with target.connect() as connection:
        entries = await parked.still_parked(connection, run.migration)
    restoring = _Restoring(run, tracker or Tracker(), jobs)
    restoring.tracker.expect("restore", Counter(str(entry.table) for entry in entries), unit="keys")
    keys = _by_table(entry for entry in entries if entry.kind != FOREIGN_KEY)
    foreign_keys = _by_table(entry for entry in entries if entry.kind == FOREIGN_KEY)
    failures: list[str] = []
    planned: set[TableName] = set()
    async with WorkerPool(jobs, target.connect, is_open) as workers:

        async def bring_back(table: TableName, entries: Sequence[Parked]) -> None:
            failed = await restoring.bring_back(workers, entries, is_last=not keys) if entries else []
            failures.extend(failed)
            if done and table in planned and not failed:
                await done.add(table)

        async with asyncio.TaskGroup() as group:
            async for table in copied or ReplayQueue.of(keys):
                planned.add(table)
                group.create_task(bring_back(table, keys.pop(table, ())))
            for table, remaining in keys.items():  # tables of another plan
                group.create_task(bring_back(table, remaining))
        # One after the other: each locks two tables, and two that lock the same tables in turn would deadlock.
        for remaining in foreign_keys.values():
            failures += await restoring.bring_back(workers, remaining)
    if failures:
        raise TargetRefused(
            f"{len(failures)} of {len(entries)} keys and indexes could not be restored: {'; '.join(failures)}",
            next_step="Correct the rows in the source and start over with --restart, or correct them in the target and "
            "run again: what is missing is in the ledger.",
            missing=failures,
        )
    return len(entries)


def _by_table(entries: Iterable[Parked]) -> dict[TableName, list[Parked]]:
    by_table: dict[TableName, list[Parked]] = {}
    for entry in entries:
        by_table.setdefault(entry.table, []).append(entry)
    return by_table


class _Restoring(Struct, frozen=True):
    """Restores the entries of one run, and counts them."""

    run: RunLedger
    tracker: Tracker
    sessions: int
    """The sessions that restore entries at the same time, and share the server's memory."""

    async def bring_back(
        self, workers: WorkerPool[AsyncConnection], entries: Sequence[Parked], *, is_last: bool = False
    ) -> list[str]:
        """
        Restore one table's entries, and return the failures. ``is_last``: no other table's keys are left to restore.

        Indexes are made side by side, so that the table that comes last to its end doesn't leave the server's other
        processors idle. Entries with an ALTER TABLE come one after the other: each makes its index under a lock that
        others share, and then needs the table for itself, so that two of them would wait for each other. They come
        before the other indexes, except for the last table: while others are copied, one sort at a time takes less CPU.
        """
        table = str(entries[0].table)
        plain = [[entry] for entry in entries if _is_plain_index(entry)]
        others = [entry for entry in entries if not _is_plain_index(entry)]
        first, beside = ([], [others, *plain]) if is_last else (others, plain)
        self.tracker.begin_table("restore", table)
        failures = await self._in_turn(workers, first)
        made = await gather_or_cancel(self._in_turn(workers, turn) for turn in beside)
        self.tracker.leave_table("restore", table)
        return [*failures, *(failure for failed in made for failure in failed)]

    async def _in_turn(self, workers: WorkerPool[AsyncConnection], entries: Sequence[Parked]) -> list[str]:
        failures: list[str] = []
        if not entries:
            return failures
        async with workers.worker() as connection:
            for entry in entries:
                if failure := await _restore_entry(connection, entry, self):
                    failures.append(failure)
                self.tracker.advance("restore", str(entry.table), 1)
        return failures


def _is_plain_index(entry: Parked) -> bool:
    """Return whether an entry only makes an index: its statements need no lock that another index of the table has."""
    return entry.kind == INDEX and not any(statement.startswith("ALTER TABLE") for statement in entry.statements)


_NOT_ABOUT_ROWS = frozenset({"25", "53", "57", "58"})
"""Classes of SQLSTATE that rows don't cause: read-only, out of room or memory, an intervention, the system."""


async def _restore_entry(connection: AsyncConnection, entry: Parked, restoring: _Restoring) -> str | None:
    """Restore one entry and its ledger line in one transaction; return why it can't be restored, or None."""
    try:
        async with in_transaction(connection):
            sharing = _SHARE_OF_MEMORY * restoring.sessions
            await connection.execute(
                text(_SETTINGS), {"most": _SORT_MEMORY, "sharing": sharing, "workers": _PARALLEL_WORKERS}
            )
            if not await _is_back(connection, entry):
                for statement in entry.statements:
                    await connection.exec_driver_sql(statement)
            await restoring.run.hold(connection)
            await parked.write_restored(connection, entry)
    except DBAPIError as error:
        if is_transient(error) or (sqlstate_of(error) or "")[:2] in _NOT_ABOUT_ROWS:
            raise
        refusal = getattr(error.orig, "__cause__", None) or error.orig
        detail = getattr(refusal, "detail", None)
        summary = str(refusal).partition("\nDETAIL:")[0]
        message = f"{entry.kind} {entry.name!r} of {entry.table}: {summary}" + (f" ({detail})" if detail else "")
        # The orphans have the same keys in the source, so their keys help to correct it.
        orphans = entry.kind == FOREIGN_KEY and await orphans_of(
            connection, entry.table, entry.name, entry.statements[0]
        )
        return f"{message}; {orphans}" if orphans else message
    return None


# PostgreSQL tells nobody how much memory it has. Its planner is told (effective_cache_size): by default 4 GB, and half
# to three quarters of the memory where somebody, or a provider, has set it. What an administrator allows is a minimum.
_SETTINGS = """
SELECT set_config('maintenance_work_mem', greatest(
           pg_size_bytes(current_setting('maintenance_work_mem')),
           least(pg_size_bytes(:most), pg_size_bytes(current_setting('effective_cache_size')) / :sharing)
       ) / 1024 || 'kB', true),
       set_config('max_parallel_maintenance_workers', greatest(
           current_setting('max_parallel_maintenance_workers')::int, :workers)::text, true),
       set_config('search_path', '', true)
"""


async def _is_back(connection: AsyncConnection, entry: Parked) -> bool:
    """Return whether an operator, or migrations that ran again, have restored the entry as it was."""
    parameters = {
        "index": TableName(entry.table.schema, entry.name).quoted,
        "table": entry.table.quoted,
        "name": entry.name,
        "alter": f"ALTER TABLE {entry.table.quoted} ADD CONSTRAINT {quote_postgres(entry.name)} ",
        "statements": list(entry.statements),
    }
    return bool(await connection.scalar(text(_IS_BACK), parameters))


_IS_BACK = """
SELECT EXISTS (
    SELECT FROM pg_index
    WHERE indexrelid = to_regclass(:index) AND pg_get_indexdef(indexrelid) = ANY (CAST(:statements AS text[]))
) OR EXISTS (
    SELECT FROM pg_constraint
    WHERE conrelid = to_regclass(:table) AND conname = :name
      AND CAST(:alter AS text) || pg_get_constraintdef(oid) = ANY (CAST(:statements AS text[]))
)
"""
