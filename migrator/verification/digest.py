"""
Digests of both ends, by DuckDB: every value of every row, brought to one form a type, hashed and summed per bucket.

A digest doesn't depend on the order of rows and counts twins: it is a multiset's. Per bucket it has the number of rows
and the exact sum of their 64-bit hashes in 128 bits: nothing wraps round, so no two differences cancel by overflow.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

import duckdb
import pyarrow as pa

from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.scan import ScanSession
from migrator.verification.canonical import MACROS, source_side, target_side
from migrator.verification.comparison import ALL_BLOCKS, BlockRange, Comparison, source_rows, target_rows, target_tables


@dataclass(frozen=True, slots=True)
class Digest:
    """What a table holds: rows and hash sum of each bucket that isn't empty."""

    buckets: tuple[tuple[int, int, int], ...]
    """(bucket, rows, sum of hashes), in the order of buckets."""

    @property
    def rows(self) -> int:
        """The rows of the table."""
        return sum(rows for _, rows, _ in self.buckets)

    def hexadecimal(self) -> str:
        """Return a short form for ledger and report."""
        return sha256(repr(self.buckets).encode()).hexdigest()

    def differing(self, other: "Digest") -> tuple[int, ...]:
        """Return the buckets in which the two differ."""
        return tuple(sorted({bucket[0] for bucket in set(self.buckets) ^ set(other.buckets)}))


EMPTY = Digest(())
"""That of a table without rows."""


@dataclass(frozen=True, slots=True)
class Hashes:
    """SQL that says which row it is, and in which bucket."""

    row: str
    bucket: str


def total(digests: Iterable[Digest]) -> Digest:
    """Return the digest of all rows together of which these are the parts."""
    rows: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    for bucket, count, added in (entry for one in digests for entry in one.buckets):
        rows[bucket] += count
        sums[bucket] += added
    return Digest(tuple((bucket, rows[bucket], sums[bucket]) for bucket in sorted(rows)))


def of_source(
    session: ScanSession, address: TargetAddress, comparison: Comparison, piece: Chunk = WHOLE_TABLE
) -> Digest:
    """
    Return the digest of a piece of the source's table.

    ``address`` is that of the target, which knows the forms of its own types. Blocks while the piece is scanned;
    raises SourceUnreadable.
    """
    with source_rows(session, address, comparison, piece) as reader:
        return of_source_rows(reader, comparison)


def of_source_rows(reader: pa.RecordBatchReader, comparison: Comparison) -> Digest:
    """Return the digest of the source's rows, which come as columns ``c0``, ``c1``, …, one a lane of ``comparison``."""
    return of_rows(reader, hashes(source_side(comparison.readings).forms, comparison))


def of_parts(reader: pa.RecordBatchReader, comparison: Comparison) -> dict[int, Digest]:
    """
    Return the digests of the source's rows by the number in their column ``part``.

    The other columns are as in ``of_source_rows``. A part without rows isn't there.
    """
    return _digests(reader, hashes(source_side(comparison.readings).forms, comparison))


def of_targets(session: ReadOnlySession, comparisons: Sequence[Comparison]) -> list[Digest]:
    """Return the digests of the target's tables, which are of one shape, as ``of_target`` does for one."""
    [first, *_] = comparisons
    with target_tables(session, comparisons) as reader:
        found = _digests(reader, hashes(target_side(first.readings).forms, first))
    return [found.get(part, EMPTY) for part in range(len(comparisons))]


def of_target(session: ReadOnlySession, comparison: Comparison, stretch: BlockRange = ALL_BLOCKS) -> Digest:
    """
    Return the digest of the same columns of a stretch of the target's table, read through ``session``.

    Blocks while the rows are read, in a read-only transaction; raises what the session raises.
    """
    with target_rows(session, comparison, stretch) as reader:
        return of_rows(reader, hashes(target_side(comparison.readings).forms, comparison))


def hashes(forms: Sequence[str], comparison: Comparison) -> Hashes:
    """Return the hashes of rows whose columns have these ``forms``: those of one side of the ``comparison``."""
    return hashes_of(forms, comparison.key, comparison.buckets)


def hashes_of(forms: Sequence[str], key: Sequence[int], buckets: int) -> Hashes:
    """Return the hashes of rows whose columns have these ``forms``; those at the places in ``key`` tell the bucket."""
    # Hashed once more: DuckDB joins the columns' hashes by exclusive or, and a sum of those is too orderly.
    row = f"hash(hash({', '.join(forms)}))" if forms else "0::UBIGINT"
    of_key = f"hash({', '.join(forms[place] for place in key)})" if key else row
    return Hashes(row, f"({of_key} % {buckets})::INTEGER")


def of_rows(reader: pa.RecordBatchReader, sql: Hashes) -> Digest:
    """Return the digest of rows that come as columns ``c0``, ``c1``, …, with the hashes that ``sql`` makes of them."""
    found = _added_up(reader, f"SELECT {sql.row} AS row_hash, {sql.bucket} AS bucket FROM rows_read", "bucket")
    return Digest(tuple(sorted((bucket, rows, int(total)) for bucket, rows, total in found)))


def _digests(reader: pa.RecordBatchReader, sql: Hashes) -> dict[int, Digest]:
    hashed = f"SELECT part, {sql.row} AS row_hash, {sql.bucket} AS bucket FROM rows_read"
    buckets: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for part, bucket, rows, total in _added_up(reader, hashed, "part, bucket"):
        buckets[part].append((bucket, rows, int(total)))
    return {part: Digest(tuple(sorted(found))) for part, found in buckets.items()}


def _added_up(reader: pa.RecordBatchReader, hashed: str, by: str) -> list[tuple[Any, ...]]:
    with database().cursor() as connection:
        connection.register("rows_read", reader)
        statement = f"SELECT {by}, count(*), sum(row_hash)::VARCHAR FROM ({hashed}) GROUP BY {by}"
        return connection.execute(statement).fetchall()


def database() -> duckdb.DuckDBPyConnection:
    """Return the one database of the process, empty but for the macros; every digest works on a cursor of its own."""
    with _OPENING:  # or the first digests, which begin together, would each open one
        return _opened_once()


_OPENING = threading.Lock()


@cache
def _opened_once() -> duckdb.DuckDBPyConnection:
    # One thread a digest: tables are compared side by side, and there its two ends are too. Nothing is kept but a sum
    # a bucket, so there is nothing on a disk either, and no thread to read it.
    return opened(":memory:", {"memory_limit": "1GB", "temp_directory": "", "async_threads": "0"})


def opened(path: str, config: dict[str, str]) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB database that knows the macros of ``forms`` and works with one thread."""
    database = duckdb.connect(path, config={"threads": "1", "preserve_insertion_order": "false", **config})
    database.execute("SET GLOBAL TimeZone = 'UTC'")
    database.execute(MACROS)
    return database


@dataclass(frozen=True, slots=True)
class KnownDigest:
    """A table that came through: how its rows were compared on the way, and the digest of the source's."""

    comparison: Comparison
    digest: Digest
