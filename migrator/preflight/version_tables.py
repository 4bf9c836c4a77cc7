"""Compares the versions of the application's schema that the bookkeeping tables of both sides record."""

from collections.abc import Sequence

import structlog

from migrator.bookkeeping.versions import VersionsDiffer, difference, versions
from migrator.events import Event
from migrator.names import find_match, quote_postgres
from migrator.source.database import Source
from migrator.source.schema import SourceDatabase, SourceTable
from migrator.target.database import Target
from migrator.target.schema import TargetDatabase, TargetTable

log = structlog.get_logger()


async def differing_versions(
    source: Source, contents: SourceDatabase, target: Target, existing: TargetDatabase
) -> list[VersionsDiffer]:
    """
    Return how the bookkeeping tables that both sides keep differ; log a warning for each.

    A table that the target doesn't have counts as one without versions. A table of this name and other columns isn't
    the same tool's, and isn't compared.
    """
    found = [
        await _difference(source, table, target, existing.tables)
        for table in contents.bookkeeping
        if table.version_table and table.version_table.version
    ]
    differing = [entry for entry in found if entry]
    for entry in differing:
        log.warning(Event.VERSIONS_DIFFER, table=entry.table, reason=entry.reason, next_step=entry.next_step)
    return differing


async def _difference(
    source: Source, table: SourceTable, target: Target, existing: Sequence[TargetTable]
) -> VersionsDiffer | None:
    kind = table.version_table
    if kind is None:
        return None
    async with source.connect() as connection:
        there = await versions(connection, table.origin, kind, [(c.name, c.quoted) for c in table.columns])
    by_name = {entry.name.name: entry for entry in existing}
    match = by_name.get(find_match(table.name, by_name) or "")
    here: frozenset[str] | None = frozenset()
    if match is not None:
        columns = [(column.name, quote_postgres(column.name)) for column in match.columns]
        if not kind.fits(table.name.lower(), frozenset(name.lower() for name, _ in columns)):
            return None
        async with target.connect() as connection:
            here = await versions(connection, match.name.quoted, kind, columns)
    if there is None or here is None:
        return None
    return difference(table.name, kind, there, here)
