"""Finds the sequences that feed columns, and their next values, for the stages ``sequences`` and ``verify``."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import TableName, quote_postgres


@dataclass(frozen=True, slots=True)
class OwnedSequence:
    """A sequence, the column of whole numbers that gets its values, and the sequence's own limits."""

    sequence: str
    """The name of the sequence, as ``regclass`` spells it under the session's search_path."""
    column: str
    increment: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Standing:
    """The next value of a sequence, and the furthest value that its column holds within the sequence's limits."""

    feed: OwnedSequence
    next_value: int
    """The next value of ``nextval`` without regard to limits. Beyond a limit, nextval fails or starts again."""
    extreme: int | None
    """The furthest value in the column; None if the column holds no value that the sequence could give."""

    def passed(self, mark: int | None) -> int | None:
        """
        Return the furthest value that was ever used, if the sequence has not passed it yet; else None.

        ``mark`` is the highest key that SQLite has used. A mark outside the sequence's limits counts as the nearest
        limit. For a sequence that counts down ``mark`` doesn't count, because SQLite never counts down.
        """
        counts_up = self.feed.increment > 0
        known = [self.extreme, max(self.feed.least, min(self.feed.most, mark)) if mark and counts_up else None]
        furthest = (max if counts_up else min)((value for value in known if value is not None), default=None)
        if furthest is None or (self.next_value - furthest) * self.feed.increment > 0:
            return None
        return furthest


async def sequences_of(
    connection: AsyncConnection, tables: Sequence[TableName]
) -> dict[TableName, list[OwnedSequence]]:
    """Return the sequences that feed number columns, ordered by name, for each of ``tables`` that has sequences."""
    rows = (await connection.execute(text(_FEEDS), {"tables": [table.quoted for table in tables]})).all()
    feeds: dict[TableName, list[OwnedSequence]] = {}
    for place, *feed in rows:
        feeds.setdefault(tables[place - 1], []).append(OwnedSequence(*feed))
    return feeds


async def standing(connection: AsyncConnection, table: TableName, feed: OwnedSequence) -> Standing:
    """
    Return the sequence's next value, and the furthest value in its column.

    ``is_called`` decides the next value: after ``ALTER SEQUENCE … RESTART``, ``nextval`` returns ``last_value`` itself
    (PostgreSQL, "Sequence Manipulation Functions"). The next value is computed here and not in SQL, because a sequence
    at its end may have a next value that doesn't fit into a bigint.
    """
    extreme = "max" if feed.increment > 0 else "min"
    column = quote_postgres(feed.column)
    result = await connection.exec_driver_sql(
        f"SELECT q.last_value, q.is_called, (SELECT trunc({extreme}({column})::numeric)::bigint FROM {table.quoted} "
        f"WHERE {column} BETWEEN $1::bigint AND $2::bigint) AS extreme FROM {feed.sequence} q",
        (feed.least, feed.most),
    )
    row = result.one()
    following = row.last_value + (feed.increment if row.is_called else 0)
    return Standing(feed, following, row.extreme)


async def strays(connection: AsyncConnection, schema: str, feeds: Sequence[OwnedSequence]) -> list[str]:
    """Return the sequences of ``schema`` that feed no column and aren't in ``feeds``, as ``regclass`` spells them."""
    bound = {"schema": schema, "known": [feed.sequence for feed in feeds]}
    return list((await connection.scalars(text(_STRAYS), bound)).all())


# A sequence feeds a column if the column owns it (serial, identity), or if the column's default calls it. A sequence
# that no column owns and no default calls feeds a column if its name fits: PostgreSQL names the sequence of a serial
# column ``role.id`` ``role_id_seq``, and Hibernate and others name the sequence of a table's key ``role_seq``.
# Applications that take keys from a sequence themselves use these names.
_FEEDS = """
WITH RECURSIVE numbers(oid) AS (
    SELECT unnest(ARRAY['int2', 'int4', 'int8', 'numeric']::regtype[])::oid
    UNION
    SELECT t.oid FROM numbers JOIN pg_type t ON t.typbasetype = numbers.oid AND t.typtype = 'd'
), listed AS (
    SELECT place, CAST(name AS regclass)::oid AS oid
    FROM unnest(CAST(:tables AS text[])) WITH ORDINALITY AS given(name, place)
), free AS (
    SELECT s.oid, s.relname, s.relnamespace FROM pg_class s
    WHERE s.relkind = 'S' AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = s.oid AND deptype IN ('a', 'i')
    ) AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_attrdef'::regclass
          AND refclassid = 'pg_class'::regclass AND refobjid = s.oid
    )
), named AS (
    SELECT listed.place, listed.oid AS fed, free.oid, a.attnum FROM listed
    JOIN pg_class c ON c.oid = listed.oid
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnatts = 1 AND i.indkey[0] = a.attnum
    JOIN free ON free.relnamespace = c.relnamespace AND (
        lower(free.relname) = lower(c.relname || '_' || a.attname || '_seq')
        OR (i.indexrelid IS NOT NULL
            AND lower(free.relname) IN (lower(c.relname || '_seq'), lower('seq_' || c.relname)))
    )
)
SELECT d.place, d.oid::regclass::text AS sequence, a.attname, s.seqincrement, s.seqmin, s.seqmax
FROM (
    SELECT listed.place, listed.oid AS fed, objid AS oid, refobjsubid AS attnum FROM listed
    JOIN pg_depend ON refobjid = listed.oid AND refclassid = 'pg_class'::regclass
    WHERE classid = 'pg_class'::regclass AND deptype IN ('a', 'i')
    UNION
    SELECT listed.place, listed.oid, e.refobjid, f.adnum FROM listed
    JOIN pg_attrdef f ON f.adrelid = listed.oid
    JOIN pg_depend e ON e.classid = 'pg_attrdef'::regclass AND e.objid = f.oid AND e.refclassid = 'pg_class'::regclass
    UNION
    SELECT place, fed, oid, attnum FROM named
) d
JOIN pg_sequence s ON s.seqrelid = d.oid
JOIN pg_attribute a ON a.attrelid = d.fed AND a.attnum = d.attnum
WHERE a.atttypid IN (SELECT oid FROM numbers)
ORDER BY 1, 2, 3
"""

# Sequences of extensions don't belong to the application, and sequences of tables outside the plan don't concern the
# job. Neither kind is returned.
_STRAYS = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND n.nspname = :schema AND c.oid::regclass::text <> ALL (CAST(:known AS text[]))
  AND NOT EXISTS (
      SELECT FROM pg_depend d
      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i', 'e'))
  AND NOT EXISTS (
      SELECT FROM pg_depend d
      WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid)
ORDER BY 1
"""
