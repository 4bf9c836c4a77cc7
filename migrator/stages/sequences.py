"""
Stage ``sequences`` sets every sequence that feeds a filled column beyond what the column holds.

SQLite's AUTOINCREMENT promises never to give a key twice, also after the rows are gone, and keeps its high-water mark
in ``sqlite_sequence`` (SQLite, "SQLite Autoincrement"). So the mark counts too, not only the largest value there is.
"""

from dataclasses import dataclass

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.sequences import OwnedSequence, sequences_of, standing, strays
from migrator.events import Event
from migrator.names import TableName, quote_literal
from migrator.planning.high_water_marks import high_water_marks
from migrator.stages.context import StageContext
from migrator.target.lock_room import lock_room

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SequenceState:
    """Where a sequence stands after the stage."""

    sequence: str
    table: str
    column: str
    last_value: int
    """What it has given, or seems to have given, last."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """What the stage came to."""

    moved: tuple[SequenceState, ...]
    left: tuple[str, ...]
    """What is worth knowing of those that don't stand where they should, in words."""


async def sequences(context: StageContext) -> Sequences:
    """
    Advance the sequences of all planned tables, some in a transaction; return those that were moved.

    A sequence that can't be brought to where SQLite stands, and one that nobody can tell the column of, is a warning
    with the SQL that settles it, in the log and for the report.
    """
    target, plan = context.target, context.plan
    marks = await high_water_marks(context.source, plan)
    moved: list[SequenceState] = []
    async with target.connect() as connection:
        found = await sequences_of(connection, [table.name for table in plan.tables])
        fed = [(table, feed) for table, feeds in found.items() for feed in feeds]
        room = await lock_room(connection, list(found))
        left = await strays(connection, plan.schema, [feed for _, feed in fed])
    warnings = [_worn_out(table, feed, marks.get((table, feed.column))) for table, feed in fed]
    warnings += [_stray(sequence) for sequence in left]
    for few in room.few(list(found)):
        async with target.transaction() as connection:
            for table in few:
                for feed in found[table]:
                    state = await _advance(connection, table, feed, marks.get((table, feed.column)))
                    moved += [state] if state else []
    return Sequences(tuple(moved), tuple(line for line in warnings if line))


def _stray(sequence: str) -> str:
    """Log that nobody can tell which column takes its keys from a sequence, and return it in words."""
    reason = "no column owns it, no default calls it, and its name is not that of a table and a column"
    next_step = (
        f"Run SELECT setval({quote_literal(sequence)}, (SELECT max(COLUMN) FROM TABLE)), "
        "if the application takes keys from it."
    )
    log.warning(Event.SEQUENCE_LEFT, sequence=sequence, reason=reason, next_step=next_step)
    return f"sequence {sequence} was left as it is: {reason}. {next_step}"


def _worn_out(table: TableName, feed: OwnedSequence, mark: int | None) -> str:
    """Log that a sequence has no key left that SQLite hasn't given, and return it in words; nothing where it has."""
    if mark is None or mark < feed.most or feed.increment <= 0:
        return ""
    reason = f"SQLite has given keys up to {mark}, and the sequence ends at {feed.most}: it gives no more"
    next_step = "Give the column and its sequence a larger type, or set the sequence to a value that is free."
    log.warning(
        Event.SEQUENCE_LEFT,
        sequence=feed.sequence,
        table=str(table),
        column=feed.column,
        reason=reason,
        next_step=next_step,
    )
    return f"sequence {feed.sequence} of {table}.{feed.column}: {reason}. {next_step}"


async def _advance(
    connection: AsyncConnection, table: TableName, feed: OwnedSequence, mark: int | None
) -> SequenceState | None:
    """Move a sequence forward if it would give a value that was given before; never back."""
    passed = (await standing(connection, table, feed)).passed(mark)
    if passed is None:
        return None
    await connection.execute(
        text("SELECT setval(CAST(:sequence AS regclass), :value)"), {"sequence": feed.sequence, "value": passed}
    )
    return SequenceState(feed.sequence, str(table), feed.column, passed)
