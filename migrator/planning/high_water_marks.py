"""Reads the highest key that AUTOINCREMENT has ever given in each table (``sqlite_sequence``), as SQLite reads it."""

from collections.abc import Mapping

from sqlalchemy import text

from migrator.names import TableName
from migrator.planning.plan import Plan
from migrator.source.database import Source

Marks = Mapping[tuple[TableName, str], int]
"""The highest key that SQLite has ever given, by the target's table and key column."""


async def high_water_marks(source: Source, plan: Plan) -> Marks:
    """Return the marks of the planned tables that have a mark. Raises SourceUnreadable."""
    async with source.connect() as connection:
        exists = text("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'")
        if await connection.scalar(exists) is None:
            return {}
        marks = {row.name: row.seq for row in await connection.execute(text(_MARKS))}
    # The mark belongs to the INTEGER PRIMARY KEY, the only column for which SQLite keeps a mark.
    return {
        (table.name, column.target.name): marks[table.source.name]
        for table in plan.tables
        for column in table.columns
        if table.source.name in marks and column.source == table.source.rowid_alias
    }


# ``seq`` has no type. People set it to '77' or 77.0, and SQLite continues with 78, because it converts the value to an
# integer (SQLite, "SQLite Autoincrement": the table is an ordinary table). CAST converts by the same rules. If a table
# has several rows, SQLite uses the first.
_MARKS = """
SELECT name, CAST(seq AS INTEGER) AS seq FROM sqlite_sequence
WHERE rowid IN (SELECT min(rowid) FROM sqlite_sequence GROUP BY name) AND CAST(seq AS INTEGER) > 0
"""
