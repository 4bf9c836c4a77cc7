"""
Stage ``sequences`` sets every sequence that feeds a filled column beyond the column's values.

A rule may say by SQL over the source where a sequence has to stand at least: its floor, which counts as well.

SQLite's AUTOINCREMENT never gives a key twice, even after its row is deleted, and keeps the largest key ever given in
``sqlite_sequence`` (SQLite, "SQLite Autoincrement"). So that high-water mark counts, too, not only the largest value in
the table.
"""

from collections.abc import Iterable, Sequence

import structlog
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.floor_standing import floor_standings
from migrator.catalog.sequences import OwnedSequence, Standing, feeds_of, standings, stray_lines
from migrator.events import Event
from migrator.names import TableName
from migrator.planning.high_water_marks import Marks, high_water_marks
from migrator.planning.sequence_floors import sequence_floors
from migrator.stages.context import StageContext
from migrator.target.lock_room import lock_room

log = structlog.get_logger()


class SequenceState(Struct, frozen=True):
    """The state of a sequence after the stage."""

    sequence: str
    table: str
    """The table of the column that it feeds; empty if a rule said where the sequence has to stand."""
    column: str
    last_value: int
    """The last value that the sequence has given, or seems to have given."""


class Sequences(Struct, frozen=True):
    """The result of the stage."""

    moved: tuple[SequenceState, ...]
    left: tuple[str, ...]
    """Warnings about sequences that could not be set as they should be."""


async def sequences(context: StageContext) -> Sequences:
    """
    Advance the sequences of all planned tables, several in one transaction; return the moved ones and warnings.

    A warning is logged and returned for a sequence that can't be set beyond SQLite's high-water mark. The sequences
    whose columns can't be determined are one warning, which isn't logged again: the log has it from before the load.
    Each contains the steps that settle the problem.
    """
    target, plan = context.target, context.plan
    marks = await high_water_marks(context.source, plan)
    floors = await sequence_floors(context.source, plan.floors)
    moved: list[SequenceState] = []
    async with target.connect() as connection:
        found = await feeds_of(connection, [table.name for table in plan.tables], plan.sequence_rules)
        by_table = found.by_table
        room = await lock_room(connection, list(by_table))
    fed = [(table, feed) for table, feeds in by_table.items() for feed in feeds]
    warnings = [_worn_out(table, feed, marks.get((table, feed.column))) for table, feed in fed]
    warnings += ["\n".join(stray_lines(found.strays))]
    for group in room.few(list(by_table)):
        async with target.transaction() as connection:
            moved += await _advance(connection, [(table, feed) for table in group for feed in by_table[table]], marks)
    async with target.transaction() as connection:
        positions = await floor_standings(connection, plan.schema, floors)
        moved += await _set(connection, [("", position, position.passed(None)) for position in positions])
    return Sequences(tuple(moved), tuple(line for line in warnings if line))


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
    connection: AsyncConnection, feeds: Sequence[tuple[TableName, OwnedSequence]], marks: Marks
) -> list[SequenceState]:
    """
    Move sequences forward, never back, if they would give a value for the second time.

    All are asked for together, and set together. A sequence that feeds several columns is looked at for each in turn.
    """
    first: dict[str, tuple[TableName, OwnedSequence]] = {}
    again = []
    for table, feed in feeds:
        if feed.sequence in first:
            again.append((table, feed))
        else:
            first[feed.sequence] = (table, feed)
    listed = list(first.values())
    found = zip(listed, await standings(connection, listed), strict=True)
    passed = [(str(table), at, at.passed(marks.get((table, feed.column)))) for (table, feed), at in found]
    moved = await _set(connection, passed)
    for one in again:
        moved += await _advance(connection, [one], marks)
    return moved


async def _set(
    connection: AsyncConnection, positions: Iterable[tuple[str, Standing, int | None]]
) -> list[SequenceState]:
    """
    Set each sequence to the furthest value that was used, or that a rule asks for, if it has not passed it yet.

    ``positions`` holds a table, where its sequence stands, and the value to set it to, or None.
    """
    moved = [
        SequenceState(position.feed.sequence, table, position.feed.column, passed)
        for table, position, passed in positions
        if passed is not None
    ]
    if moved:
        bound = {"names": [state.sequence for state in moved], "values": [state.last_value for state in moved]}
        await connection.execute(text(_SET), bound)
    return moved


_SET = """
SELECT setval(CAST(name AS regclass), value)
FROM unnest(CAST(:names AS text[]), CAST(:values AS bigint[])) AS given(name, value)
"""
