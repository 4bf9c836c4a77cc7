"""Which sequences feed which columns of a table: the one answer for the stage that moves them and for verification."""

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


async def feeds_of(connection: AsyncConnection, table: TableName) -> list[Feed]:
    """Return the sequences that feed integer columns of ``table``, in the order of their names."""
    rows = await connection.execute(text(_FEEDS), {"table": table.quoted})
    return [Feed(*row) for row in rows]


# A sequence feeds a column because the column owns it (serial, identity) or because the column's default calls it.
_FEEDS = """
SELECT d.oid::regclass::text AS sequence, a.attname, s.seqincrement, s.seqmin, s.seqmax,
       coalesce(pg_sequence_last_value(d.oid) + s.seqincrement, s.seqstart) AS next_value
FROM (
    SELECT objid AS oid, refobjsubid AS attnum FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
      AND refobjid = CAST(:table AS regclass) AND deptype IN ('a', 'i')
    UNION
    SELECT e.refobjid, f.adnum FROM pg_attrdef f
    JOIN pg_depend e ON e.classid = 'pg_attrdef'::regclass AND e.objid = f.oid AND e.refclassid = 'pg_class'::regclass
    WHERE f.adrelid = CAST(:table AS regclass)
) d
JOIN pg_sequence s ON s.seqrelid = d.oid
JOIN pg_attribute a ON a.attrelid = CAST(:table AS regclass) AND a.attnum = d.attnum
WHERE a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
ORDER BY 1, 2
"""
