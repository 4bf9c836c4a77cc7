"""
Stage ``sequences`` sets every sequence that feeds a filled column beyond the column's values.

SQLite's AUTOINCREMENT never gives a key twice, even after its row is deleted, and keeps the largest key ever given in
``sqlite_sequence`` (SQLite, "SQLite Autoincrement"). So that high-water mark counts, too, not only the largest value in
the table.
"""

from dataclasses import dataclass

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.sequences import OwnedSequence, Stray, feeds_of, standing, stray_lines
from migrator.events import Event
from migrator.names import TableName
from migrator.planning.high_water_marks import high_water_marks
from migrator.stages.context import StageContext
from migrator.target.lock_room import lock_room

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SequenceState:
    """The state of a sequence after the stage."""

    sequence: str
    table: str
    column: str
    last_value: int
    """The last value that the sequence has given, or seems to have given."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """The result of the stage."""

    moved: tuple[SequenceState, ...]
    left: tuple[str, ...]
    """Warnings about sequences that could not be set as they should be."""


async def sequences(context: StageContext) -> Sequences:
    """
    Advance the sequences of all planned tables, several in one transaction; return the moved ones and warnings.

    A warning is logged and returned for a sequence that can't be set beyond SQLite's high-water mark, and for a
    sequence whose column can't be determined. It contains the step that settles the problem.
    """
    target, plan = context.target, context.plan
    marks = await high_water_marks(context.source, plan)
    moved: list[SequenceState] = []
    async with target.connect() as connection:
        found = await feeds_of(connection, [table.name for table in plan.tables], plan.assigned_sequences)
        by_table = found.by_table
        room = await lock_room(connection, list(by_table))
    fed = [(table, feed) for table, feeds in by_table.items() for feed in feeds]
    warnings = [_worn_out(table, feed, marks.get((table, feed.column))) for table, feed in fed]
    for stray in found.strays:
        _tell(stray)
    warnings += ["\n".join(stray_lines(found.strays))]
    for group in room.few(list(by_table)):
        async with target.transaction() as connection:
            for table in group:
                for feed in by_table[table]:
                    state = await _advance(connection, table, feed, marks.get((table, feed.column)))
                    moved += [state] if state else []
    return Sequences(tuple(moved), tuple(line for line in warnings if line))


def _tell(stray: Stray) -> None:
    """Log that a sequence can't be attributed to a column of numbers."""
    log.warning(
        Event.SEQUENCE_LEFT,
        sequence=stray.sequence,
        reason=stray.reason,
        next_step=f"Run {stray.statement.rstrip(';')} before the application starts, if it uses the sequence.",
        **({"table": str(stray.table), "column": stray.column} if stray.table else {}),
    )


def _worn_out(table: TableName, feed: OwnedSequence, mark: int | None) -> str:
    """Log that a sequence has no key beyond SQLite's high-water mark; return the warning, or "" if it has one."""
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
    """Move a sequence forward, never back, if it would give a value for the second time."""
    passed = (await standing(connection, table, feed)).passed(mark)
    if passed is None:
        return None
    await connection.execute(
        text("SELECT setval(CAST(:sequence AS regclass), :value)"), {"sequence": feed.sequence, "value": passed}
    )
    return SequenceState(feed.sequence, str(table), feed.column, passed)
