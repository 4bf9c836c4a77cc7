"""
Counts how many of the target's rows the source holds, in a target table that may hold any number of rows.

Of a small table, the rows themselves are joined. Of a larger table, only hashes of rows and keys are stored, in a
DuckDB file on disk, and only for buckets whose digests differ. So memory doesn't grow with either side.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from migrator.runtime.limits import ExampleOptions
from migrator.sessions.reader import ReadOnlySession
from migrator.verification import differences, digest
from migrator.verification.canonical import Side
from migrator.verification.comparison import Comparison, Databases
from migrator.verification.differences import Difference, Kind, both_sides
from migrator.verification.digest import hashes

MOST_JOINED: Final = 1000
"""The largest number of existing rows that are joined as they are. Of more rows, hashes are counted first."""


class Presence(Struct, frozen=True):
    """How many rows of a target table the source holds."""

    equal: int = 0
    """Rows that the source holds with the same values."""
    different: int = 0
    """Rows whose key the source holds with other values; 0 in a table without a key."""
    extra: int = 0
    """Rows that only the target holds."""
    examples: tuple[Difference, ...] = ()


def presence_of(databases: Databases, comparison: Comparison, example_options: ExampleOptions) -> Presence:
    """
    Count the target's rows of ``comparison`` by what the source holds of them, with some examples.

    Blocks while both sides are read. Raises SourceUnreadable, and the errors of reading the target.
    """
    with ReadOnlySession(databases.target) as session:
        of_target = digest.of_target(session, comparison)
    buckets = [bucket for bucket, _, _ in of_target.buckets]
    if of_target.rows > MOST_JOINED:
        with databases.source.session() as scan:
            differing = set(digest.of_source(scan, databases.target, comparison).differing(of_target))
        # A bucket of the source alone holds nothing that is in the target.
        buckets = [bucket for bucket in buckets if bucket in differing]
        if not buckets:
            return Presence(equal=of_target.rows)
        different, extra, buckets = _counted(databases, comparison, buckets)
        if not buckets:
            return Presence(equal=of_target.rows)
        examples = _joined(databases, comparison, buckets, example_options).examples
        return Presence(of_target.rows - different - extra, different, extra, examples)
    found = _joined(databases, comparison, buckets, example_options)
    return replace(found, equal=of_target.rows - found.different - found.extra)


def _joined(
    databases: Databases, comparison: Comparison, buckets: Sequence[int], example_options: ExampleOptions
) -> Presence:
    """Return what the rows of the ``buckets`` are, except the number of equal rows."""
    examples: list[Difference] = []

    def sink(difference: Difference) -> None:
        # A row that only the source has is no obstacle: the job is about to copy it.
        if difference.kind is not Kind.MISSING and len(examples) < example_options.count:
            examples.append(difference)

    options = replace(example_options, count=0)  # the sink collects the examples
    rows = differences.find_differences(databases, comparison, buckets or [0], options, sink).rows
    return Presence(0, rows[Kind.DIFFERENT], rows[Kind.EXTRA], tuple(examples))


def _counted(databases: Databases, comparison: Comparison, buckets: Sequence[int]) -> tuple[int, int, list[int]]:
    """Return the numbers of different and of extra rows in the ``buckets``, and one bucket that holds such rows."""
    with both_sides(databases, comparison, lambda side: _hashed(comparison, side, buckets)) as duck:
        [(different, extra, bucket)] = duck.execute(_BY_KEY if comparison.key else _BY_ROW).fetchall()
    return int(different or 0), int(extra or 0), [] if bucket is None else [bucket]


def _hashed(comparison: Comparison, side: Side, buckets: Sequence[int]) -> str:
    """Return SQL for the hashes of the rows of ``rows_read`` in the ``buckets``."""
    sql = hashes(side.forms, comparison)
    key = f"hash({', '.join(side.forms[place] for place in comparison.key)})" if comparison.key else sql.row
    numbers = ", ".join(map(str, buckets))
    return (
        f"SELECT {sql.bucket} AS bucket, {sql.row} AS row_hash, {key} AS key_hash FROM rows_read "
        f"WHERE {sql.bucket} IN ({numbers})"
    )


_BY_KEY = """
SELECT count(*) FILTER (WHERE s.key_hash IS NOT NULL), count(*) FILTER (WHERE s.key_hash IS NULL), min(t.bucket)
FROM target_rows t LEFT JOIN source_rows s ON s.key_hash = t.key_hash
WHERE s.row_hash IS DISTINCT FROM t.row_hash
"""

_BY_ROW = """
WITH s AS (SELECT row_hash, count(*) AS times FROM source_rows GROUP BY row_hash),
     t AS (SELECT row_hash, count(*) AS times, min(bucket) AS bucket FROM target_rows GROUP BY row_hash)
SELECT 0, sum(t.times - coalesce(s.times, 0)), min(t.bucket)
FROM t LEFT JOIN s USING (row_hash) WHERE t.times > coalesce(s.times, 0)
"""
