"""
Stage ``sequences``: every sequence that feeds a filled column is set beyond what the column holds.

SQLite's AUTOINCREMENT promises never to give a key twice, also after the rows are gone, and keeps its high-water mark
in ``sqlite_sequence`` (SQLite, "SQLite Autoincrement"). So the mark counts too, not only the largest value there is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.feeds import Feed, feeds_of
from migrator.names import quote_postgres
from migrator.plan import Plan, TablePlan
from migrator.source import Source
from migrator.target import Target


@dataclass(frozen=True, slots=True)
class SequenceState:
    """Where a sequence stands after the stage."""

    sequence: str
    table: str
    column: str
    last_value: int
    """What it has given, or seems to have given, last."""


async def sequences(source: Source, target: Target, plan: Plan) -> list[SequenceState]:
    """Advance the sequences of all planned tables, in one transaction; return those that were moved."""
    marks = await _high_water_marks(source)
    moved: list[SequenceState] = []
    async with target.transaction() as connection:
        tables = {table.name: table for table in plan.tables}
        for name, feeds in (await feeds_of(connection, list(tables))).items():
            moved += await _advance(connection, tables[name], feeds, marks.get(tables[name].source.name, 0))
    return moved


async def _high_water_marks(source: Source) -> dict[str, int]:
    async with source.connect() as connection:
        known = text("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'")
        if await connection.scalar(known) is None:
            return {}
        rows = await connection.execute(text("SELECT name, seq FROM sqlite_sequence WHERE typeof(seq) = 'integer'"))
        return {row.name: row.seq for row in rows}


async def _advance(
    connection: AsyncConnection, table: TablePlan, feeds: Sequence[Feed], mark: int
) -> list[SequenceState]:
    counted = [column.target.name for column in table.columns if column.source in table.source.key]
    moved: list[SequenceState] = []
    for feed in feeds:
        # The mark is of the INTEGER PRIMARY KEY, the only column that SQLite counts for.
        floor = mark if counted == [feed.column] and mark > 0 and feed.increment > 0 else None
        extreme, beyond = ("greatest(max", ">") if feed.increment > 0 else ("least(min", "<")
        statement = _SET.format(
            extreme=extreme, beyond=beyond, column=quote_postgres(feed.column), table=table.name.quoted
        )
        last = (await connection.exec_driver_sql(statement, (feed.sequence, floor))).scalar()
        if last is not None:
            moved.append(SequenceState(feed.sequence, str(table.name), feed.column, last))
    return moved


# Only forward: what a sequence has given is never given again, and values on its far side (a negative key under a
# sequence that counts up from 1) leave it alone.
_SET = """
SELECT setval(s.seqrelid, wanted.value)
FROM (SELECT {extreme}({column})::bigint, $2::bigint) AS value FROM {table}) AS wanted, pg_sequence s
WHERE s.seqrelid = CAST($1::text AS regclass) AND wanted.value BETWEEN s.seqmin AND s.seqmax
  AND wanted.value {beyond} coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart - s.seqincrement)
"""
