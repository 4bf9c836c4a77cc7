"""
Finds the tables of a source that no longer hold the rows that were copied. Reads only the source.

A file whose counters have changed need not hold other rows: VACUUM, a checkpoint and a new index change the file, too.
So the source's digests are computed again, by the recipe in the ledger, and compared with the digests in the ledger.
"""

from collections.abc import Sequence
from functools import partial

import duckdb
from msgspec import Struct

from migrator.concurrency.blocking import BlockingConnection, blocking_pool, call_in_worker
from migrator.concurrency.pool import WorkerPool, gather_or_cancel
from migrator.errors import SourceUnreadable
from migrator.ledger.carried import Carried
from migrator.planning.rules import Rules
from migrator.planning.table_terms import terms_of
from migrator.source.database import Source
from migrator.source.scan import ScanSession
from migrator.source.schema import SourceDatabase, SourceTable
from migrator.verification.recipe import Recipe, can_repeat, size_of


class TableChange(Struct, frozen=True):
    """A table of the source that has changed since it was copied."""

    table: str
    what: str
    before: int | None = None
    """Number of rows that were copied; None if it isn't known."""
    now: int | None = None
    """Number of rows now; None if the table is gone."""

    def line(self) -> str:
        """Return the change in one line for people."""
        counts = f"{'?' if self.before is None else self.before} rows then, {'?' if self.now is None else self.now} now"
        return f"{self.table}: {counts}" + (f", {self.what}" if self.what else "")

    def facts(self) -> dict[str, object]:
        """Return the change as fields for the log."""
        return {"table": self.table, "what": self.what, "rows_then": self.before, "rows_now": self.now}


class Reading(Struct, frozen=True):
    """A source in its present state, and how to read it."""

    source: Source
    contents: SourceDatabase
    rules: Rules
    jobs: int
    batch_bytes: int


async def changes_of(reading: Reading, brought: Sequence[Carried]) -> list[TableChange]:
    """
    Return the ``brought`` tables that now hold other rows, have other columns, or are gone.

    Reads each of these tables that still exists, ``reading.jobs`` tables at a time. Raises SourceUnreadable.
    """
    tables = {table.name: table for table in reading.contents.all_tables}
    async with blocking_pool(reading.jobs, partial(BlockingConnection, reading.source.session)) as workers:
        changes = await gather_or_cancel(
            _change(workers, reading, table, tables.get(table.terms.source)) for table in brought
        )
    return [change for change in changes if change]


async def new_tables(reading: Reading, names: Sequence[str]) -> list[TableChange]:
    """Return a change for each of these tables of the source, none of which was copied."""
    tables = {table.name: table for table in reading.contents.tables}
    async with blocking_pool(reading.jobs, partial(BlockingConnection, reading.source.session)) as workers:
        rows = await gather_or_cancel(call_in_worker(workers, _rows, tables[name]) for name in names)
    return [TableChange(name, "the table is new", 0, count) for name, count in zip(names, rows, strict=True)]


async def _change(
    workers: WorkerPool[BlockingConnection[ScanSession]], reading: Reading, brought: Carried, table: SourceTable | None
) -> TableChange | None:
    terms, recorded = brought.terms, brought.recorded
    before = recorded.rows if recorded else None
    if table is None:
        return TableChange(terms.source, "the table is gone", before)
    if columns := terms.other_columns(terms_of(table, reading.rules)):
        return TableChange(terms.source, ", ".join(columns), before, await call_in_worker(workers, _rows, table))
    if recorded is None or not can_repeat(recorded.recipe):
        reason = (
            "the digest of what was brought is missing or of another version, so nobody can tell whether it changed"
        )
        return TableChange(terms.source, reason, before, await call_in_worker(workers, _rows, table))
    recipe = Recipe.from_json(recorded.recipe)
    try:
        rows, digest = await call_in_worker(workers, _digest, recipe, table, reading.batch_bytes)
    except (SourceUnreadable, duckdb.Error):
        # A value is of another kind than the values before. If the whole file is unreadable, the count raises, too.
        return TableChange(
            terms.source, "with values of another kind", before, await call_in_worker(workers, _rows, table)
        )
    if digest == recorded.digest:
        return None
    return TableChange(terms.source, "" if rows != before else "other values", before, rows)


def _digest(session: ScanSession, recipe: Recipe, table: SourceTable, batch_bytes: int) -> tuple[int, str]:
    digest = recipe.digest(session, table, size_of(session, table, batch_bytes))
    return digest.rows, digest.hexadecimal()


def _rows(session: ScanSession, table: SourceTable) -> int:
    [row] = session.ask(f"SELECT count(*) AS rows FROM {table.origin}")
    return int(row["rows"])


def in_words(changes: Sequence[TableChange]) -> str:
    """Return the changes as one line, the first few of them in full."""
    shown = "; ".join(change.line() for change in changes[:_SHOWN])
    return f"{shown}; and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else shown


_SHOWN = 10
