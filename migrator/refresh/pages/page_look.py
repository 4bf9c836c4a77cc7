"""
Looks at the pages of the source's large tables, to learn which of their rows may have changed since the last run.

A run that has compared a table leaves in the ledger which pages held its rows (``refresh/pages/compared.py``). The rows
on pages that are as they were need not be read again.
"""

import asyncio
from collections.abc import Mapping

from msgspec import Struct

from migrator.concurrency.blocking import BlockingConnection, call_in_worker
from migrator.concurrency.pool import WorkerPool
from migrator.ledger.migration import Migration
from migrator.names import TableName
from migrator.planning.plan import TablePlan
from migrator.refresh.key_ranges import KeyRange, target_key
from migrator.refresh.pages import compared
from migrator.refresh.pages.compared import Compared
from migrator.refresh.pages.leaf_pages import definition_of, leaf_pages, page_file
from migrator.refresh.pages.page_hashes import PageHashes
from migrator.source.database import Source
from migrator.source.scan import ScanSession
from migrator.source.schema import SourceTable
from migrator.target.database import Target
from migrator.verification.digest import Digest

LEAST_ROWS = 10_000
"""A smaller table is read in less time than its pages are found."""

_MOST_IN_DOUBT = 0.75
"""The share of a table's pages above which all its rows are read: that takes less time than reading most of them."""


class Doubt(Struct, frozen=True):
    """The rows of a table that may have changed since it was compared. All others are as they were."""

    ranges: tuple[KeyRange, ...]
    """The ranges of keys that hold them at both ends; none if no row of the source has changed."""
    before: Digest
    """The digest of the rows that both sides held then."""
    known: Compared
    """What the ledger knows of that comparison."""


class PageLook(Struct, frozen=True):
    """Looks at the pages of tables; at several at the same time."""

    source: Source
    target: Target
    migration: Migration
    sessions: WorkerPool[BlockingConnection[ScanSession]]
    pages: PageHashes
    known: Mapping[TableName, Compared]

    async def at(self, table: TablePlan, digest: str) -> Doubt | None:
        """
        Return which rows of a table may have changed; None if all have to be read.

        ``digest`` is the one that source and target had after the last run. Raises SourceUnreadable.
        """
        known = self.known.get(table.name)
        if known is None or known.digest != digest or not has_pages(table.source):
            return None
        self.pages.begin("then", table.name)
        async with self.target.connect() as connection:
            async for entries in compared.pages(connection, self.migration, table.name):
                await asyncio.to_thread(self.pages.add, "then", table.name, entries)
        return await call_in_worker(self.sessions, self._look, table, known)

    def _look(self, session: ScanSession, table: TablePlan, known: Compared) -> Doubt | None:
        file = page_file(self.source, session)
        if file is None or definition_of(session, file, table.source) != known.definition:
            return None
        self.pages.begin("now", table.name)
        for entries in leaf_pages(session, file, table.source):
            self.pages.add("now", table.name, entries)
        before = Digest.from_bytes(known.buckets)
        if page_file(self.source, session) != file or before.hexadecimal() != known.digest:
            return None
        if self.pages.are_same(table.name):
            return Doubt((), before, known)
        if target_key(table) is None:
            return None
        found = self.pages.in_doubt(table.name, file)
        if found is None or found.share > _MOST_IN_DOUBT:
            return None
        return Doubt(tuple(found.ranges), before, known)


def is_large(rows: int) -> bool:
    """Return whether a table has so many rows that its pages are looked at."""
    return rows >= LEAST_ROWS


def has_pages(table: SourceTable) -> bool:
    """Return whether a table's carried rows are exactly those on its pages, with the values that are there."""
    return not (table.schema or table.condition or table.selection.set_null)
