"""Leaves in the ledger what a later refresh needs, so that it reads only what may have changed (``page_look``)."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.concurrency.prefetch import prefetch
from migrator.ledger import carried
from migrator.ledger.migration import Migration
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName
from migrator.planning.plan import TablePlan
from migrator.refresh.pages import compared
from migrator.refresh.pages.compared import Compared
from migrator.refresh.pages.leaf_pages import PageFile, definition_of, leaf_pages, page_file
from migrator.refresh.pages.page_hashes import PageHashes
from migrator.refresh.pages.page_look import has_pages, is_large
from migrator.source.database import Source
from migrator.source.scan import ScanSession
from migrator.source.schema import SourceTable
from migrator.verification.compare_table import TableResult
from migrator.verification.digest import Digest

_PIECE = 1 << 16
"""The entries of one line of the ledger, which are a megabyte."""


async def remember_read(
    connection: AsyncConnection,
    migration: Migration,
    pages: PageHashes,
    tables: Mapping[TableName, tuple[Compared, Digest]],
) -> None:
    """
    Write the pages that were read of changed tables, and the digests of the rows that they hold now.

    ``tables`` has what was known of each before. Call it in the transaction that writes the changed rows.
    """
    for name, (before, digest) in tables.items():
        now = Compared(digest.hexadecimal(), digest.to_bytes(), before.definition, before.shape)
        await compared.write(connection, migration, name, now, prefetch(pages.now(name, _PIECE)))


async def remember(source: Source, run: RunLedger, tables: Sequence[TablePlan], results: Sequence[TableResult]) -> None:
    """
    Read the pages of large tables that are compared, and write them, unless the ledger has them already.

    The source must be in the state that was compared. Raises SourceUnreadable, and GaveUp if another run has taken
    over.
    """
    digests = {result.table: result.source for result in results if result.equal}
    async with run.target.connect() as connection:
        lines = await carried.read(connection, run.migration)
        known = await compared.read(connection, run.migration)
        shapes = await compared.shapes(connection, list(digests))
    due: list[tuple[TablePlan, Digest]] = []
    for table in tables:
        digest, line = digests.get(table.name), lines.get(table.name)
        if digest is None or not is_large(digest.rows) or line is None or line.recorded is None:
            continue
        is_known = table.name in known and known[table.name].digest == line.recorded.digest
        if digest.hexadecimal() == line.recorded.digest and has_pages(table.source) and not is_known:
            due.append((table, digest))
    with ExitStack() as opened:
        session = await asyncio.to_thread(opened.enter_context, source.session()) if due else None
        for table, digest in due:
            if session is not None and table.name in shapes:
                await _remember(_Reading(source, session), run, table, (digest, shapes[table.name]))


class _Reading(Struct, frozen=True):
    source: Source
    session: ScanSession

    def facts(self, table: SourceTable) -> tuple[PageFile, str] | None:
        """Return the pages of the file, and the hash of the table's definition; None if the pages can't be read."""
        file = page_file(self.source, self.session)
        return None if file is None else (file, definition_of(self.session, file, table))


async def _remember(reading: _Reading, run: RunLedger, table: TablePlan, compared_as: tuple[Digest, str]) -> None:
    digest, shape = compared_as
    facts = await asyncio.to_thread(reading.facts, table.source)
    if facts is None:
        return
    file, definition = facts
    known = Compared(digest.hexadecimal(), digest.to_bytes(), definition, shape)
    async with run.transaction() as connection:
        entries = prefetch(leaf_pages(reading.session, file, table.source))
        await compared.write(connection, run.migration, table.name, known, entries)
        if await asyncio.to_thread(reading.facts, table.source) != facts:
            await compared.forget(connection, run.migration, table.name)
