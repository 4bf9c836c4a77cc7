"""
Decides whether a run may go on from earlier ones: their rows must be present, source and settings the same.

Settled before anything else is done: a run under other settings would leave behind what the earlier one has begun.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import RowsInTheWay, SourceChanged, TargetRefused
from migrator.events import Event
from migrator.job.source_changes import Reading, TableChange, changes_of, in_words
from migrator.ledger import carried, history, loads, state
from migrator.ledger.carried import Carried
from migrator.ledger.history import SourceIdentity
from migrator.ledger.loads import CopyProgress
from migrator.ledger.migration import Migration
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName
from migrator.planning.table_terms import terms_under
from migrator.source.file import TOUCHED, Fingerprint
from migrator.target.database import own_rows, row_counts
from migrator.target.glances import glance
from migrator.target.lock_room import lock_room

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Left:
    """What earlier runs have left of a migration."""

    before: Fingerprint | None
    """Of the source that they read; None where nothing of it is known."""
    known: SourceIdentity | None
    begun: Mapping[TableName, CopyProgress]
    brought: Mapping[TableName, Carried]
    lost: Mapping[TableName, str]
    """Tables that hold nothing of what was brought, each with the reason; they don't count as begun."""


async def go_on_with(run: RunLedger, reading: Reading, origin: SourceIdentity, schema: str | None) -> None:
    """
    Remember the source; raise if an earlier run has begun with another one, or under other settings.

    ``schema`` is that of the target's tables, where the settings name it. A table whose rows are gone counts as not
    begun. Raises SourceChanged for a source that holds other rows, TargetRefused for another source or other settings,
    RowsInTheWay if some rows of a table that is half there are gone, and GaveUp if another run has taken over.
    """
    async with run.transaction() as connection:
        left = await _left(connection, run.migration, tell=True)
        await loads.forget_rows(connection, run.migration, list(left.lost))
        if left.before is None or not left.begun:
            await history.write_identity(connection, run.migration, origin)
            await state.remember(connection, run.migration, state.SOURCE, asdict(origin.fingerprint))
            return
    await _refuse(left, run.migration, reading, origin, schema)
    kept_less = left.before.file is None
    if kept_less or left.before.differences(origin.fingerprint):
        async with run.transaction() as connection:
            if kept_less:
                await history.write_identity(connection, run.migration, origin)
            await state.remember(connection, run.migration, state.SOURCE, asdict(origin.fingerprint))


async def look(
    connection: AsyncConnection, migration: Migration, reading: Reading, origin: SourceIdentity, schema: str | None
) -> None:
    """Raise what ``go_on_with`` would raise, and write nothing."""
    left = await _left(connection, migration, tell=False)
    await _refuse(left, migration, reading, origin, schema)


async def _left(connection: AsyncConnection, migration: Migration, *, tell: bool) -> _Left:
    """Return what earlier runs have left; with ``tell`` the log says which rows are gone."""
    known = await history.read_identity(connection, migration)
    kept = await state.recall(connection, migration, state.SOURCE)
    # A reset that was cut short has forgotten the state of the file, and not which file it was.
    before = Fingerprint(**kept) if kept is not None else known.fingerprint if known is not None else None
    # A ledger of an earlier version kept no terms.
    brought = {} if migration.unnamed else await carried.read(connection, migration)
    begun = await loads.begun(connection, migration)
    lost = await _lost(connection, begun, await loads.copied(connection, migration), brought)
    for name, reason in lost.items():
        if tell and (rows := begun[name].brought.rows):
            log.warning(Event.ROWS_LOST, table=str(name), rows=rows, reason=reason)
    there = {name: so_far for name, so_far in begun.items() if name not in lost}
    return _Left(before, known, there, {name: one for name, one in brought.items() if name in there}, lost)


async def _refuse(
    left: _Left, migration: Migration, reading: Reading, origin: SourceIdentity, schema: str | None
) -> None:
    """Raise if what was begun can't be gone on with from this source, or under these settings."""
    if left.before is None or not left.begun:
        return
    _refuse_other_settings(left.begun, left.brought, reading, schema)
    words = history.changes_of_file(migration, left.known, left.before, origin)
    if not words:
        return
    sure = bool(left.before.differences(origin.fingerprint, but=_SURE_BUT))
    # A file at another path may be another one of equal size, by equally many commits.
    elsewhere = left.known is not None and left.known.path != origin.path
    changes = await _changes(left, reading, sure=sure, elsewhere=elsewhere)
    if not changes:
        return
    history.refuse_another(migration, left.known, origin)
    raise SourceChanged(
        f"the source is not the one that an earlier run began with: {in_words(changes)} ({', '.join(words)})",
        next_step="Bring that file back, or give up what was copied and start over with --restart.",
        changes=words,
        tables=[change.facts() for change in changes],
    )


_SURE_BUT = (*TOUCHED, "file")
"""By these alone a file differs that was copied, or whose rights were changed."""


async def _changes(left: _Left, reading: Reading, *, sure: bool, elsewhere: bool) -> list[TableChange]:
    """
    Return which of the tables that were begun hold something else now.

    One whose rows can't be compared counts as changed if it is ``sure`` that somebody has written to the file, or if
    the file lies ``elsewhere``; otherwise verification sees to it.
    """
    begun, brought = left.begun, left.brought
    tables = {table.name: table for table in reading.contents.tables}
    can_tell = [one for one in brought.values() if one.recorded is not None]
    changes = await changes_of(reading, can_tell)
    if not sure and not elsewhere:
        return changes
    unknown = [str(name) for name in begun if name not in brought]
    unknown += [one.terms.source for one in brought.values() if one.recorded is None]
    changes += [TableChange(name, "nobody can tell whether it is the same") for name in unknown]
    for name, so_far in begun.items() if sure else ():
        table = tables.get(brought[name].terms.source) if name in brought else None
        # VACUUM gives rows other rowids where no column is the rowid (SQLite, "VACUUM"), and chunks are cut along it.
        if so_far.left and table is not None and table.rowid is not None and table.rowid_alias is None:
            changes.append(TableChange(table.name, "it is half there, and its rows may have moved in the file"))
    return changes


def _refuse_other_settings(
    begun: Collection[TableName], brought: Mapping[TableName, Carried], reading: Reading, schema: str | None
) -> None:
    """Raise TargetRefused if a table that was begun would be left as it is, or be gone on with in another way."""
    other = []
    for name in begun:
        if schema is not None and name.schema != schema:
            other.append(f"{name} (the target schema is {schema!r} now)")
            continue
        if name not in brought:  # the ledger of an earlier version; verification sees to it
            continue
        terms = brought[name].terms
        if reading.rules.of_table(terms.source).exclude:
            other.append(f"table {terms.source} (excluded now)")
        else:
            other += terms.other_rules(terms_under(terms, reading.rules))
    if other:
        raise TargetRefused(
            f"an earlier run has begun these under other settings: {'; '.join(other)}",
            next_step="Give the settings of that run again, or give up what was copied and start over with --restart.",
            changes=other,
        )


async def _lost(
    connection: AsyncConnection,
    begun: Mapping[TableName, CopyProgress],
    copied: Collection[TableName],
    brought: Mapping[TableName, Carried],
) -> dict[TableName, str]:
    """
    Return the tables that hold nothing of what was brought: dropped and made anew, emptied, or not logged in a crash.

    Raises RowsInTheWay for a table that is half there of which some rows are gone: the rest can't be told apart.
    """
    filled = {name: so_far.brought.rows for name, so_far in begun.items() if so_far.brought.rows}
    relations = await _relations(connection, list(begun))
    counts = await row_counts(connection, [name for name in filled if name not in copied])
    whole = await _holding_rows(connection, [name for name in filled if name in copied])
    lost: dict[TableName, str] = {}
    for name in begun:
        known = brought[name].relation if name in brought else None
        if name not in relations:
            lost[name] = "the table is not there any more"
        elif known is not None and known != relations[name]:
            lost[name] = "the table was made anew"
        elif name in filled and name not in counts and name not in whole:
            lost[name] = "the table is empty"
    for name, rows in counts.items():
        gone = filled[name] - rows
        if name not in lost and gone > 0:
            raise RowsInTheWay(
                f"{name} was copied in part, and {gone} of the {filled[name]} rows that were copied are gone",
                next_step="Give up what was copied and start over with --restart --force.",
                tables={str(name): rows},
            )
    return lost


async def _relations(connection: AsyncConnection, names: list[TableName]) -> dict[TableName, int]:
    found = await connection.execute(text(_RELATIONS), {"names": [name.quoted for name in names]})
    return {names[row.place - 1]: row.relation for row in found}


_RELATIONS = """
SELECT place, to_regclass(name)::oid::bigint AS relation
FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS given(name, place) WHERE to_regclass(name) IS NOT NULL
"""


async def _holding_rows(connection: AsyncConnection, names: list[TableName]) -> set[TableName]:
    """Return those of the tables that hold a row; none is scanned."""
    named = await own_rows(connection, names)
    holding = set()
    for looked_at in (await lock_room(connection, list(named))).few(list(named)):
        async with glance(connection):
            for name in looked_at:
                found = await connection.exec_driver_sql(f"SELECT EXISTS (SELECT FROM {named[name]})")
                if found.scalar():
                    holding.add(name)
    return holding
