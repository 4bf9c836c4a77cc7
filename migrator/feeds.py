"""Which sequences feed which columns of a table: the one answer for the stage that moves them and for verification."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import TableName


@dataclass(frozen=True, slots=True)
class Feed:
    """A sequence, the integer column that gets its values, its bounds, and what it would give next."""

    sequence: str
    """As ``regclass`` spells it under the session's search_path."""
    column: str
    increment: int
    least: int
    most: int
    next_value: int


async def feeds_of(connection: AsyncConnection, tables: Sequence[TableName]) -> dict[TableName, list[Feed]]:
    """Return the sequences that feed integer columns of those ``tables`` that have any, in the order of their names."""
    rows = (await connection.execute(text(_FEEDS), {"tables": [table.quoted for table in tables]})).all()
    feeds: dict[TableName, list[Feed]] = {}
    for place, *feed in rows:
        feeds.setdefault(tables[place - 1], []).append(Feed(*feed))
    return feeds


# A sequence feeds a column because the column owns it (serial, identity) or because the column's default calls it.
_FEEDS = """
WITH listed AS (
    SELECT place, CAST(name AS regclass)::oid AS oid
    FROM unnest(CAST(:tables AS text[])) WITH ORDINALITY AS given(name, place)
)
SELECT d.place, d.oid::regclass::text AS sequence, a.attname, s.seqincrement, s.seqmin, s.seqmax,
       coalesce(pg_sequence_last_value(d.oid) + s.seqincrement, s.seqstart) AS next_value
FROM (
    SELECT listed.place, listed.oid AS fed, objid AS oid, refobjsubid AS attnum FROM listed
    JOIN pg_depend ON refobjid = listed.oid AND refclassid = 'pg_class'::regclass
    WHERE classid = 'pg_class'::regclass AND deptype IN ('a', 'i')
    UNION
    SELECT listed.place, listed.oid, e.refobjid, f.adnum FROM listed
    JOIN pg_attrdef f ON f.adrelid = listed.oid
    JOIN pg_depend e ON e.classid = 'pg_attrdef'::regclass AND e.objid = f.oid AND e.refclassid = 'pg_class'::regclass
) d
JOIN pg_sequence s ON s.seqrelid = d.oid
JOIN pg_attribute a ON a.attrelid = d.fed AND a.attnum = d.attnum
WHERE a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
ORDER BY 1, 2, 3
"""
