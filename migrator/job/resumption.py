"""
Decides whether a run may continue earlier runs: their rows must be present, and source and settings the same.

This is decided before anything else: a run under other settings would leave tables of the earlier run unfinished.
"""

import asyncio
from collections.abc import Collection, Mapping

import structlog
from msgspec import Struct
from msgspec.structs import asdict, replace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import RowsInTheWay, SourceChanged, TargetRefused
from migrator.events import Event
from migrator.job import lost_rows
from migrator.job.source_changes import Reading, TableChange, changes_of, in_words
from migrator.ledger import carried, history, loads, state
from migrator.ledger.carried import Carried
from migrator.ledger.history import SourceIdentity
from migrator.ledger.loads import CopyProgress
from migrator.ledger.migration import Migration
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName
from migrator.planning.table_terms import terms_under
from migrator.selection import recorded
from migrator.selection.left_behind import without_orphans
from migrator.selection.references import Reference
from migrator.source.file import TOUCHED, Fingerprint
from migrator.target.database import own_rows, row_counts
from migrator.target.glances import glance
from migrator.target.lock_room import lock_room

log = structlog.get_logger()


class _Left(Struct, frozen=True):
    """What earlier runs of a migration have left in the ledger and in the target."""

    before: Fingerprint | None
    """Fingerprint of the source that they read; None if it isn't known."""
    known: SourceIdentity | None
    begun: Mapping[TableName, CopyProgress]
    brought: Mapping[TableName, Carried]
    references: tuple[Reference, ...]
    """The foreign keys with a rule for their orphans, as the tables were copied."""
    lost: Mapping[TableName, str]
    """Tables that hold none of the copied rows, each with the reason; they don't count as begun."""


async def go_on_with(run: RunLedger, reading: Reading, origin: SourceIdentity, schema: str | None) -> None:
    """
    Write the source into the ledger; raise if an earlier run has begun with another source or under other settings.

    ``origin`` is the source's identity, and ``schema`` the target schema if the settings name it. A table whose rows
    are gone counts as not begun. Raises SourceChanged for a source that holds other rows, TargetRefused for another
    source or other settings, RowsInTheWay if a partly copied table has lost some of its rows, and GaveUp if another run
    has taken over.
    """
    async with run.transaction() as connection:
        earlier = await _left(connection, run.migration, tell=True)
        await loads.forget_rows(connection, run.migration, list(earlier.lost))
        if earlier.before is None or not earlier.begun:
            await history.write_identity(connection, run.migration, origin)
            await state.remember(connection, run.migration, state.SOURCE, asdict(origin.fingerprint))
            return
    await _refuse(earlier, run.migration, reading, origin, schema)
    lacks_identity = earlier.before.file is None
    if lacks_identity or earlier.before.differences(origin.fingerprint):
        async with run.transaction() as connection:
            if lacks_identity:
                await history.write_identity(connection, run.migration, origin)
            await state.remember(connection, run.migration, state.SOURCE, asdict(origin.fingerprint))


async def go_on_to_refresh(run: RunLedger, reading: Reading, origin: SourceIdentity, schema: str | None) -> None:
    """
    Decide whether a refresh may continue earlier runs: their settings must be the same, and the source the same file.

    The file may hold other rows: the stage ``refresh`` finds them. Rows that the server has lost in a crash count as
    not copied. Raises TargetRefused, RowsInTheWay if tables have been emptied or made anew, and GaveUp if another run
    has taken over.
    """
    async with run.transaction() as connection:
        earlier = await _left(connection, run.migration, tell=True)
        if earlier.before is None or not earlier.begun:
            await history.write_identity(connection, run.migration, origin)
            await state.remember(connection, run.migration, state.SOURCE, asdict(origin.fingerprint))
        crashed = await lost_rows.emptied(connection, run.migration)
        emptied = {str(name): reason for name, reason in earlier.lost.items() if name not in crashed}
        if emptied and await state.recall(connection, run.migration, state.COMPLETED):
            raise RowsInTheWay(
                "somebody has taken away what the last run has copied, so the target can't be refreshed: "
                + ", ".join(f"{name} ({reason})" for name, reason in emptied.items()),
                next_step="Find out who did. To copy all rows again, run with --restart --force, which empties the "
                "tables first.",
                tables=emptied,
            )
        if earlier.lost:
            await loads.forget_rows(connection, run.migration, list(earlier.lost))
            await history.reopen(connection, run.migration)
    _refuse_refresh(earlier, run.migration, reading, origin, schema)


def _refuse_refresh(
    earlier: _Left, migration: Migration, reading: Reading, origin: SourceIdentity, schema: str | None
) -> None:
    """Raise TargetRefused if what earlier runs have copied can't be refreshed from this source, or so set."""
    _refuse_other_settings(earlier.begun, earlier.brought, reading, schema)
    history.refuse_another(migration, earlier.known, origin)
    names = {table.name for table in reading.contents.all_tables}
    gone = [table.terms.source for table in earlier.brought.values() if table.terms.source not in names]
    if gone:
        raise TargetRefused(
            f"the source no longer has tables that an earlier run has copied: {', '.join(sorted(gone))}",
            next_step="Bring the file back that has them. If the application has given these tables up, start over "
            "with --restart.",
            tables=sorted(gone),
        )


async def look_to_refresh(
    connection: AsyncConnection, migration: Migration, reading: Reading, origin: SourceIdentity, schema: str | None
) -> None:
    """Raise the errors that ``go_on_to_refresh`` would raise about source and settings, and write nothing."""
    _refuse_refresh(await _left(connection, migration, tell=False), migration, reading, origin, schema)


async def look(
    connection: AsyncConnection, migration: Migration, reading: Reading, origin: SourceIdentity, schema: str | None
) -> None:
    """Raise the errors that ``go_on_with`` would raise, and write nothing."""
    earlier = await _left(connection, migration, tell=False)
    await _refuse(earlier, migration, reading, origin, schema)


async def _left(connection: AsyncConnection, migration: Migration, *, tell: bool) -> _Left:
    """Return what earlier runs have left; with ``tell`` lost rows are logged."""
    known = await history.read_identity(connection, migration)
    stored = await state.recall(connection, migration, state.SOURCE)
    # An interrupted reset has removed the file's state from the ledger, but not the file's identity.
    before = Fingerprint(**stored) if stored is not None else known.fingerprint if known is not None else None
    # A ledger of an earlier version has no terms.
    brought = {} if migration.unnamed else await carried.read(connection, migration)
    begun = await loads.begun(connection, migration)
    lost = await _lost(connection, begun, await loads.copied(connection, migration), brought)
    for name, reason in lost.items():
        if tell and (rows := begun[name].brought.rows):
            log.warning(Event.ROWS_LOST, table=str(name), rows=rows, reason=reason)
    present = {name: progress for name, progress in begun.items() if name not in lost}
    references = (await recorded.read(connection, migration)).references if brought else ()
    brought = {name: table for name, table in brought.items() if name in present}
    return _Left(before, known, present, brought, references, lost)


async def _refuse(
    earlier: _Left, migration: Migration, reading: Reading, origin: SourceIdentity, schema: str | None
) -> None:
    """Raise if begun tables can't be completed from this source, or under these settings."""
    if earlier.before is None or not earlier.begun:
        return
    _refuse_other_settings(earlier.begun, earlier.brought, reading, schema)
    file_changes = history.changes_of_file(migration, earlier.known, earlier.before, origin)
    if not file_changes:
        return
    sure = bool(earlier.before.differences(origin.fingerprint, but=_SURE_BUT))
    # A file at another path may be another database of the same size and with the same number of commits.
    elsewhere = earlier.known is not None and earlier.known.path != origin.path
    changes = await _changes(earlier, reading, sure=sure, elsewhere=elsewhere)
    if not changes:
        return
    history.refuse_another(migration, earlier.known, origin)
    raise SourceChanged(
        f"the source is not the one that an earlier run began with: {in_words(changes)} ({', '.join(file_changes)})",
        next_step="Run with --refresh, which brings what has changed. Or bring that file back, or give up what was "
        "copied and start over with --restart.",
        changes=file_changes,
        tables=[change.facts() for change in changes],
    )


_SURE_BUT = (*TOUCHED, "file")
"""Fields that also differ after the file was copied or its permissions were changed."""


async def _changes(earlier: _Left, reading: Reading, *, sure: bool, elsewhere: bool) -> list[TableChange]:
    """
    Return the begun tables whose source holds other rows now.

    A table whose rows can't be compared counts as changed if it is ``sure`` that somebody has written to the file, or
    if the file is ``elsewhere``, at another path. Otherwise verification will find any difference.
    """
    begun, brought = earlier.begun, earlier.brought
    tables = {table.name: table for table in reading.contents.tables}
    comparable = [copied for copied in brought.values() if copied.recorded is not None]
    contents = await asyncio.to_thread(without_orphans, reading.source, reading.contents, earlier.references)
    changes = await changes_of(replace(reading, contents=contents), comparable)
    if not sure and not elsewhere:
        return changes
    unknown = [str(name) for name in begun if name not in brought]
    unknown += [copied.terms.source for copied in brought.values() if copied.recorded is None]
    changes += [TableChange(name, "nobody can tell whether it is the same") for name in unknown]
    for name, progress in begun.items() if sure else ():
        table = tables.get(brought[name].terms.source) if name in brought else None
        # VACUUM may change rowids if no column is the rowid (SQLite, "VACUUM"), and chunks are ranges of rowids.
        if progress.left and table is not None and table.rowid is not None and table.rowid_alias is None:
            changes.append(TableChange(table.name, "it is half there, and its rows may have moved in the file"))
    return changes


def _refuse_other_settings(
    begun: Collection[TableName], brought: Mapping[TableName, Carried], reading: Reading, schema: str | None
) -> None:
    """Raise TargetRefused if a begun table would now be skipped, or continued in another way."""
    changes = []
    for name in begun:
        if schema is not None and name.schema != schema:
            changes.append(f"{name} (the target schema is {schema!r} now)")
            continue
        if name not in brought:  # an earlier version wrote no terms; verification will find differences
            continue
        terms = brought[name].terms
        if reading.rules.of_table(terms.source).exclude:
            changes.append(f"table {terms.source} (excluded now)")
        else:
            changes += terms.other_rules(terms_under(terms, reading.rules))
    if changes := list(dict.fromkeys(changes)):  # the naming style is named once, not with each table
        raise TargetRefused(
            f"an earlier run has begun these under other settings: {'; '.join(changes)}",
            next_step="Give the settings of that run again, or give up what was copied and start over with --restart.",
            changes=changes,
        )


async def _lost(
    connection: AsyncConnection,
    begun: Mapping[TableName, CopyProgress],
    copied: Collection[TableName],
    brought: Mapping[TableName, Carried],
) -> dict[TableName, str]:
    """
    Return the tables that hold none of the copied rows, each with the reason: dropped, made anew, or emptied.

    A crash empties UNLOGGED tables. Raises RowsInTheWay for a partly copied table that has lost some of its rows:
    nobody can tell which rows remain.
    """
    filled = {name: progress.brought.rows for name, progress in begun.items() if progress.brought.rows}
    relations = await _relations(connection, list(begun))
    counts = await row_counts(connection, [name for name in filled if name not in copied])
    nonempty = await _holding_rows(connection, [name for name in filled if name in copied])
    lost: dict[TableName, str] = {}
    for name in begun:
        known = brought[name].relation if name in brought else None
        if name not in relations:
            lost[name] = "the table is not there any more"
        elif known is not None and known != relations[name]:
            lost[name] = "the table was made anew"
        elif name in filled and name not in counts and name not in nonempty:
            lost[name] = "the table is empty"
    for name, rows in counts.items():
        missing = filled[name] - rows
        if name not in lost and missing > 0:
            raise RowsInTheWay(
                f"{name} was copied in part, and {missing} of the {filled[name]} rows that were copied are gone",
                next_step="Give up what was copied and start over with --restart --force.",
                tables={str(name): rows},
            )
    return lost


async def _relations(connection: AsyncConnection, names: list[TableName]) -> dict[TableName, int]:
    result = await connection.execute(text(_RELATIONS), {"names": [name.quoted for name in names]})
    return {names[row.place - 1]: row.relation for row in result}


_RELATIONS = """
SELECT place, to_regclass(name)::oid::bigint AS relation
FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS given(name, place) WHERE to_regclass(name) IS NOT NULL
"""


async def _holding_rows(connection: AsyncConnection, names: list[TableName]) -> set[TableName]:
    """Return the tables that hold at least one row. Scans none of them."""
    sql_names = await own_rows(connection, names)
    holding = set()
    for group in (await lock_room(connection, list(sql_names))).few(list(sql_names)):
        async with glance(connection):
            for name in group:
                result = await connection.exec_driver_sql(f"SELECT EXISTS (SELECT FROM {sql_names[name]})")
                if result.scalar():
                    holding.add(name)
    return holding
