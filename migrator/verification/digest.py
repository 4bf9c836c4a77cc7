"""
Computes digests of both sides with DuckDB: the canonical form of every value, hashed by row and summed by bucket.

A digest is the digest of a multiset: it doesn't depend on the order of rows, and it counts equal rows. Each bucket has
the number of its rows, and the exact sum of their 64-bit hashes in 128 bits. The sum can't overflow, so no two
differences cancel each other.
"""

import struct
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from tempfile import TemporaryDirectory
from typing import Any, Self

import duckdb
import pyarrow as pa
from msgspec import Struct

from migrator.monitoring.tracker import Count, count_nothing
from migrator.runtime.duckdb_extensions import LOCKED
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.scan import ScanSession
from migrator.verification.canonical import DOCUMENT_MACROS, VALUE_MACROS, macros
from migrator.verification.comparison import ALL_BLOCKS, BlockRange, Comparison, source_rows, target_rows, target_tables

_BUCKET = struct.Struct(">IQQQ")
"""A bucket's number, its rows, and the two halves of its sum of hashes."""


class Digest(Struct, frozen=True):
    """The content of a table as numbers: the rows and the sum of hashes of each bucket that isn't empty."""

    buckets: tuple[tuple[int, int, int], ...]
    """Bucket, rows and sum of hashes, in the order of the buckets."""

    @property
    def rows(self) -> int:
        """The number of the table's rows."""
        return sum(rows for _, rows, _ in self.buckets)

    def hexadecimal(self) -> str:
        """Return a short form of the digest for the ledger and the report."""
        return sha256(repr(self.buckets).encode()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the buckets as bytes, from which ``from_bytes`` makes the digest again."""
        packed = (_BUCKET.pack(bucket, rows, *divmod(hash_sum, 1 << 64)) for bucket, rows, hash_sum in self.buckets)
        return b"".join(packed)

    @classmethod
    def from_bytes(cls, buckets: bytes) -> Self:
        """Return the digest that ``to_bytes`` has turned into ``buckets``."""
        unpacked = _BUCKET.iter_unpack(buckets)
        return cls(tuple((bucket, rows, (high << 64) + low) for bucket, rows, high, low in unpacked))

    def without(self, other: "Digest") -> "Digest":
        """Return the digest of the rows that are left if the rows of ``other``, which are among these, are taken."""
        gone = {bucket: (rows, hash_sum) for bucket, rows, hash_sum in other.buckets}
        left = ((bucket, rows, total, *gone.get(bucket, (0, 0))) for bucket, rows, total in self.buckets)
        return Digest(tuple((bucket, rows - r, total - s) for bucket, rows, total, r, s in left if rows != r))

    def differing(self, other: "Digest") -> tuple[int, ...]:
        """Return the buckets in which the two digests differ."""
        return tuple(sorted({bucket[0] for bucket in set(self.buckets) ^ set(other.buckets)}))


EMPTY = Digest(())
"""The digest of a table without rows."""


class Hashes(Struct, frozen=True):
    """SQL for a row's hash, for its key's, and for its bucket."""

    row: str
    key: str
    """The row's hash in a table without a key."""
    bucket: str


def total(digests: Iterable[Digest]) -> Digest:
    """Return the digest of a table from the digests of its parts."""
    rows: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    for bucket, count, hash_sum in (entry for digest in digests for entry in digest.buckets):
        rows[bucket] += count
        sums[bucket] += hash_sum
    return Digest(tuple((bucket, rows[bucket], sums[bucket]) for bucket in sorted(rows)))


def of_source(
    session: ScanSession, address: TargetAddress, comparison: Comparison, chunk: Chunk = WHOLE_TABLE
) -> Digest:
    """
    Return the digest of a chunk of the source's table.

    ``address`` is the address of the target, which is asked for the forms of its own types. Blocks while the chunk is
    scanned. Raises SourceUnreadable.
    """
    with source_rows(session, address, comparison, chunk) as reader:
        return of_source_rows(reader, comparison)


def of_source_rows(reader: pa.RecordBatchReader, comparison: Comparison) -> Digest:
    """Return the digest of the source's rows. The columns ``c0``, ``c1``, … are the scan columns of ``comparison``."""
    return of_rows(reader, hashes(comparison.source_side.forms, comparison))


def of_parts(reader: pa.RecordBatchReader, comparison: Comparison) -> dict[int, Digest]:
    """
    Return the digests of the source's rows, one for each number in the column ``part``.

    The other columns are as in ``of_source_rows``. A part without rows has no digest.
    """
    return _digests(reader, hashes(comparison.source_side.forms, comparison))


def of_targets(session: ReadOnlySession, comparisons: Sequence[Comparison]) -> list[Digest]:
    """Return the digests of several target tables, in order. All ``comparisons`` must have the same digest key."""
    [first, *_] = comparisons
    with target_tables(session, comparisons) as reader:
        digests = _digests(reader, hashes(first.target_side.forms, first))
    return [digests.get(part, EMPTY) for part in range(len(comparisons))]


def of_target(
    session: ReadOnlySession,
    comparison: Comparison,
    blocks: BlockRange = ALL_BLOCKS,
    count: Count = count_nothing,
) -> Digest:
    """
    Return the digest of the rows in these ``blocks`` of the target's table, read through ``session``.

    ``count`` counts the rows.

    Blocks while the rows are read, in a read-only transaction. Raises the errors of the session.
    """
    with target_rows(session, comparison, blocks) as reader:
        return of_rows(_counted(reader, count), hashes(comparison.target_side.forms, comparison))


def _counted(reader: pa.RecordBatchReader, count: Count) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            count(len(batch), batch.nbytes)
            yield batch

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def hashes(forms: Sequence[str], comparison: Comparison) -> Hashes:
    """Return the SQL for the hashes of rows; ``forms`` are the forms of one side of ``comparison``."""
    return hashes_of(forms, comparison.key, comparison.buckets)


def hashes_of(forms: Sequence[str], key: Sequence[int], buckets: int) -> Hashes:
    """Return the SQL for the hashes of rows. The forms at the places ``key`` decide the bucket."""
    # The hash is hashed again: DuckDB combines the columns' hashes by exclusive or, and their sums are too regular.
    row = f"hash(hash({', '.join(forms)}))" if forms else "0::UBIGINT"
    key_hash = f"hash({', '.join(forms[place] for place in key)})" if key else row
    return Hashes(row, key_hash, f"({key_hash} % {buckets})::INTEGER")


def of_rows(reader: pa.RecordBatchReader, sql: Hashes) -> Digest:
    """Return the digest of rows with columns ``c0``, ``c1``, …; ``sql`` computes their hashes."""
    sums = _sums(reader, f"SELECT {sql.row} AS row_hash, {sql.bucket} AS bucket FROM rows_read", "bucket")
    return Digest(tuple(sorted((bucket, rows, int(hash_sum)) for bucket, rows, hash_sum in sums)))


def _digests(reader: pa.RecordBatchReader, sql: Hashes) -> dict[int, Digest]:
    hashed = f"SELECT part, {sql.row} AS row_hash, {sql.bucket} AS bucket FROM rows_read"
    buckets: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for part, bucket, rows, hash_sum in _sums(reader, hashed, "part, bucket"):
        buckets[part].append((bucket, rows, int(hash_sum)))
    return {part: Digest(tuple(sorted(of_part))) for part, of_part in buckets.items()}


def _sums(reader: pa.RecordBatchReader, hashed: str, by: str) -> list[tuple[Any, ...]]:
    with database(with_documents="json_" in hashed).cursor() as connection:
        connection.register("rows_read", reader)
        statement = f"SELECT {by}, count(*), sum(row_hash)::VARCHAR FROM ({hashed}) GROUP BY {by}"
        return connection.execute(statement).fetchall()


def database(*, with_documents: bool = True) -> duckdb.DuckDBPyConnection:
    """
    Return the process's only database, which holds only the macros. Every digest uses its own cursor.

    DuckDB takes 5 ms to define the macros of values and 20 ms for those of JSON documents, so that it has the latter
    from the first call ``with_documents`` on.
    """
    with _OPENING:  # without the lock, the first digests, which begin at the same time, would each open a database
        opened_once = _opened_once()
        if with_documents:
            _define_documents()
        return opened_once


_OPENING = threading.Lock()


@cache
def _opened_once() -> duckdb.DuckDBPyConnection:
    # DuckDB uses one thread for each digest, since several tables, and both sides of a table, are digested at the same
    # time. DuckDB keeps only a sum for each bucket, so it needs no disk.
    return _opened(":memory:", {"memory_limit": "1GB", "temp_directory": ""})


@cache
def _define_documents() -> None:
    _opened_once().execute(macros(DOCUMENT_MACROS))


def opened(path: str, config: dict[str, str]) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB database that has the macros of all values and works with one thread."""
    database = _opened(path, config)
    database.execute(macros(DOCUMENT_MACROS))
    return database


def _opened(path: str, config: dict[str, str]) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(path, config={"threads": "1", "preserve_insertion_order": "false", **LOCKED, **config})
    database.execute("SET GLOBAL TimeZone = 'UTC'")
    database.execute(macros(VALUE_MACROS))
    return database


@contextmanager
def opened_in_memory(megabytes: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """
    Yield a DuckDB database that lasts as long as the block and takes so much memory: what is beyond it goes to files.

    The files have the rows as they are. DuckDB would compress them in a database file, which takes as long as reading
    the rows.
    """
    with TemporaryDirectory(prefix="migrator-") as folder:
        config = {"memory_limit": f"{megabytes}MB", "temp_directory": folder}
        with opened(":memory:", config) as duck:
            yield duck


class KnownDigest(Struct, frozen=True):
    """A comparison whose source preflight has digested, and the digest."""

    comparison: Comparison
    digest: Digest
