"""Finds the changed rows of all tables, and decides which tables are loaded anew instead."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import duckdb
from msgspec.structs import replace
from sqlalchemy import text

from migrator.concurrency.blocking import BlockingConnection, blocking_pool
from migrator.concurrency.pool import gather_or_cancel
from migrator.errors import SourceUnreadable
from migrator.refresh.row_changes import Ends, RowChanges, stage_changes
from migrator.refresh.row_hashes import RowHashes, has_places
from migrator.refresh.survey import RefreshContext, Surveyed
from migrator.refresh.writing import Writing
from migrator.reports.refresh_report import Way
from migrator.sessions.reader import read_only_connection

SHARE = 0.5
"""The share of changed rows above which a table is loaded anew, if both sides were read to find them: measured. Before
that, a sample decides (``refresh/sample.py``)."""


async def find_changes(
    context: RefreshContext, rows: RowHashes, tables: Sequence[Surveyed]
) -> tuple[Writing, list[Surveyed]]:
    """
    Find the changed rows; return what is to be written, and the tables with the way that was decided.

    The places of the rows are in a scratch database, which every session of the source sees that is opened from now
    on. Raises the errors of reading either side.
    """
    scratch, schema = context.source.scratch_database()
    await asyncio.to_thread(scratch.write_bytes, b"")
    jobs, address = context.limits.jobs, context.target.address
    async with (
        blocking_pool(jobs, partial(BlockingConnection, context.source.session)) as sessions,
        blocking_pool(jobs, partial(read_only_connection, address)) as readers,
    ):
        finding = _Finding(context, rows, Ends(sessions, readers, address, context.limits.batch_bytes))
        decided = await gather_or_cancel(
            finding.of_table(table, (scratch, str(number))) for number, table in enumerate(tables)
        )
    context.source.attach(scratch, schema)
    emptied = [table.name for table, _ in decided if table.way is Way.LOADED_ANEW]
    held = {table.name: table.check.table_size.rows for table, _ in decided}
    changes = [found for _, found in decided if found is not None]
    return Writing(changes, emptied, held, scratch, schema), [table for table, _ in decided]


class _Finding:
    """Finds the changed rows of one table after the other."""

    def __init__(self, context: RefreshContext, rows: RowHashes, ends: Ends) -> None:
        self._context = context
        self._rows = rows
        self._ends = ends

    async def of_table(self, table: Surveyed, into: tuple[Path, str]) -> tuple[Surveyed, RowChanges | None]:
        """Return a table with the way that is decided, and the changed rows if these are carried one by one."""
        if table.way is not Way.CHANGED:
            return table, None
        found: RowChanges | None = None
        if has_places(table.plan.source) and not await _has_rules(self._context, table):
            found = await self._staged(table, into)
        rows = table.check.table_size.rows
        if found is None:
            reason = table.reason or "its rows can't be told apart"
        elif found.is_most_of(rows, SHARE):
            reason = f"{found.total} of its {rows} rows have changed"
        else:
            return table, found
        return replace(table, way=Way.LOADED_ANEW, reason=reason), None

    async def _staged(self, table: Surveyed, into: tuple[Path, str]) -> RowChanges | None:
        """Return the changed rows of a table; None if a value has no form by which the sides can be compared."""
        scratch, number = into
        whole = replace(table, doubt=None)
        attempts = [*([table] if table.doubt else []), whole, replace(whole, comparison=None, hashed=False)]
        for attempt, surveyed in enumerate(attempts):
            found, is_readable = None, True
            try:
                found = await stage_changes(self._rows, self._ends, surveyed, (scratch, f"{number}.{attempt}"))
            except* (SourceUnreadable, duckdb.Error):
                is_readable = False  # a value is of another kind than the values before: the canonical forms read it
            if found is not None or (is_readable and surveyed.doubt is None):
                return found
        return None


async def _has_rules(context: RefreshContext, table: Surveyed) -> bool:
    """Return whether the target's table has rules (CREATE RULE), which change what DELETE does."""
    async with context.target.connect() as connection:
        return bool(
            await connection.scalar(
                text("SELECT EXISTS (SELECT FROM pg_rewrite WHERE ev_class = CAST(:name AS regclass))"),
                {"name": table.name.quoted},
            )
        )
