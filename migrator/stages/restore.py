"""
Stage ``restore`` makes dropped keys and indexes again, with their exact definitions: keys first, foreign keys last.

Every entry that ``park`` dropped is restored in the transaction that writes this into the ledger. An entry that can't
be restored (because of an orphan or a duplicate) is reported after all others have been tried, and stays in the ledger
for the next run.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.orphans import orphans_of
from migrator.concurrency.pool import WorkerPool
from migrator.concurrency.replay_queue import ReplayQueue
from migrator.errors import TargetRefused
from migrator.ledger import parked
from migrator.ledger.parked import FOREIGN_KEY, Parked
from migrator.ledger.run_ledger import RunLedger
from migrator.monitoring.tracker import Tracker
from migrator.names import TableName, quote_postgres
from migrator.runtime.retry import is_transient, sqlstate_of
from migrator.sessions.connections import in_transaction, is_open

_MAINTENANCE_MEMORY = "256MB"
"""Memory for sorting an index; with the default of 64 MB the sort uses the disk from about two million rows."""


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
    restoring = _Restoring(run, tracker or Tracker())
    restoring.tracker.expect("restore", Counter(str(entry.table) for entry in entries), unit="keys")
    keys = _by_table(entry for entry in entries if entry.kind != FOREIGN_KEY)
    foreign_keys = _by_table(entry for entry in entries if entry.kind == FOREIGN_KEY)
    failures: list[str] = []
    planned: set[TableName] = set()
    async with WorkerPool(jobs, target.connect, is_open) as workers:

        async def bring_back(table: TableName, entries: Sequence[Parked]) -> None:
            failed = await restoring.bring_back(workers, entries) if entries else []
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


@dataclass(frozen=True, slots=True)
class _Restoring:
    """Restores the entries of one run, and counts them."""

    run: RunLedger
    tracker: Tracker

    async def bring_back(self, workers: WorkerPool[AsyncConnection], entries: Sequence[Parked]) -> list[str]:
        """Restore one table's entries one by one, as ALTER TABLEs would wait for each other; return the failures."""
        failures, table = [], str(entries[0].table)
        async with workers.worker() as connection:
            self.tracker.begin_table("restore", table)
            for entry in entries:
                if failure := await _restore_entry(connection, entry, self.run):
                    failures.append(failure)
                self.tracker.advance("restore", table, 1)
            self.tracker.leave_table("restore", table)
        return failures


_NOT_ABOUT_ROWS = frozenset({"25", "53", "57", "58"})
"""Classes of SQLSTATE that rows don't cause: read-only, out of room or memory, an intervention, the system."""


async def _restore_entry(connection: AsyncConnection, entry: Parked, run: RunLedger) -> str | None:
    """Restore one entry and its ledger line in one transaction; return why it can't be restored, or None."""
    try:
        async with in_transaction(connection):
            await connection.execute(
                text("SELECT set_config('maintenance_work_mem', :memory, true), set_config('search_path', '', true)"),
                {"memory": _MAINTENANCE_MEMORY},
            )
            if not await _is_back(connection, entry):
                for statement in entry.statements:
                    await connection.exec_driver_sql(statement)
            await run.hold(connection)
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
