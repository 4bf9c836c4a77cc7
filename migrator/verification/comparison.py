"""What verification compares, and both ends as streams of Arrow batches, read in ways the copier has no part in."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.source.batches import ScanRequest, scan
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.scan import ScanColumn, ScanSession
from migrator.source.schema import SourceTable
from migrator.source.size import Profile
from migrator.target.schema import TargetTable
from migrator.target.server_types import CanonicalText
from migrator.verification.canonical import (
    CanonicalForm,
    ColumnPair,
    canonical_form,
    fast_form,
    source_side,
    target_side,
)
from migrator.verification.json_keys import usual_keys

DigestKey = tuple[tuple[object, ...], ...]

_BUCKETS = 1024
"""Enough that a difference is looked for in a small part of a table, few enough to cost nothing."""

_FEW_ROWS = 1_000
"""So many are looked through as a whole; parts of them would only take room, thousands of tables' at once."""


@dataclass(frozen=True)
class Comparison:
    """A source table and the target table that must hold the same rows."""

    source: SourceTable
    target: TargetTable
    pairs: tuple[ColumnPair, ...]
    profile: Profile
    batch_bytes: int
    quick: bool = False
    """Whether it is read in the quick forms: rows that are equal in these are equal, others need not differ."""

    @cached_property
    def readings(self) -> tuple[CanonicalForm, ...]:
        """How each pair is read."""
        return tuple(fast_form(pair) if self.quick else canonical_form(pair) for pair in self.pairs)

    @cached_property
    def scan_columns(self) -> tuple[ScanColumn, ...]:
        """The lanes of all readings, side by side."""
        return tuple(lane for canonical_form in self.readings for lane in canonical_form.scan_columns)

    @cached_property
    def digest_key(self) -> DigestKey:
        """What two comparisons have in common whose rows can be digested by one statement."""
        readings = self.readings
        types = tuple(pair.target.type_name for pair in self.pairs)
        scan_columns = tuple(lane.storage for lane in self.scan_columns)
        return types, scan_columns, source_side(readings).forms, target_side(readings).forms, self.key, (self.buckets,)

    @property
    def buckets(self) -> int:
        """In how many parts the rows are digested: in the differing ones a difference is looked for row by row."""
        return _BUCKETS if self.profile.rows > _FEW_ROWS else 1

    @cached_property
    def key(self) -> tuple[int, ...]:
        """The places in ``pairs`` of the target's primary key; empty if there is none, or not all of it is compared."""
        places = {pair.target.name: place for place, pair in enumerate(self.pairs)}
        return tuple(places[name] for name in self.target.key) if set(self.target.key) <= set(places) else ()


def quickly(session: ScanSession, comparison: Comparison) -> Comparison:
    """Return the comparison in the quick forms, having asked the source about its JSON; raises SourceUnreadable."""
    pairs = tuple(
        replace(pair, keys=usual_keys(session, comparison.source, pair.expression))
        if pair.target.type_name == "jsonb"
        else pair
        for pair in comparison.pairs
    )
    return replace(comparison, pairs=pairs, quick=True)


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Consecutive blocks of the target's table, by which its parts can be read side by side. Without bounds, all."""

    first: int = 0
    end: int | None = None
    """The block after the last; None for as far as the table goes."""

    @property
    def condition(self) -> str:
        """Which rows these are (PostgreSQL, "System Columns": ctid)."""
        begin = f"ctid >= '({self.first},0)'" if self.first else ""
        end = f"ctid < '({self.end},0)'" if self.end is not None else ""
        return " AND ".join(part for part in (begin, end) if part)


ALL_BLOCKS = BlockRange()


def block_ranges(session: ReadOnlySession, table: TargetTable, parts: int) -> tuple[BlockRange, ...]:
    """Return the table's blocks in so many parts of one size, or fewer; raises what the session raises."""
    if table.partitioned:
        return (ALL_BLOCKS,)
    [(blocks,)] = session.rows(_BLOCKS, (table.name.quoted,))
    ends = sorted({blocks * part // parts for part in range(1, parts)} - {0})
    return tuple(BlockRange(first, end) for first, end in zip([0, *ends], [*ends, None], strict=True))


# Before 14 a condition on ctid is a filter: each part would read the whole table.
_BLOCKS = """
SELECT CASE WHEN current_setting('server_version_num')::int >= 140000
            THEN pg_relation_size(CAST($1 AS text)::regclass) / current_setting('block_size')::int ELSE 0 END
"""


@contextmanager
def source_rows(
    session: ScanSession, address: TargetAddress, comparison: Comparison, piece: Chunk = WHOLE_TABLE
) -> Iterator[pa.RecordBatchReader]:
    """
    Open a stream of a piece of the source's rows with a column ``c0``, ``c1``, … for each lane of each reading.

    ``address`` is that of the target, which is asked for the normal form of types that only it can read. Raises
    SourceUnreadable.
    """
    readings = comparison.readings
    scan_columns = comparison.scan_columns
    schema = pa.schema([(f"c{i}", lane.arrow_type) for i, lane in enumerate(scan_columns)])
    with CanonicalText(address, comparison.target.name) as normal:
        where = piece.where(comparison.source)
        request = ScanRequest(comparison.source, scan_columns, comparison.profile, comparison.batch_bytes, where)
        batches = scan(session, request)
        arrays = (_normalised(batch.columns, comparison.pairs, readings, normal) for batch in batches)
        with outspoken(schema, (pa.record_batch(a, schema=schema) for a in arrays)) as reader:
            yield reader


def _normalised(
    arrays: Sequence[pa.Array], pairs: Sequence[ColumnPair], readings: Sequence[CanonicalForm], normal: CanonicalText
) -> list[pa.Array]:
    result: list[pa.Array] = []
    for pair, one in zip(pairs, readings, strict=True):
        read = list(arrays[len(result) : len(result) + len(one.scan_columns)])
        if one.by_server:
            text, doubles = read
            given = pc.coalesce(text, pc.cast(doubles, pa.string()))
            read = [normal.of(pair.target.name, given), pa.nulls(len(given), pa.float64())]
        result += read
    return result


@contextmanager
def target_rows(
    session: ReadOnlySession, comparison: Comparison, stretch: BlockRange = ALL_BLOCKS
) -> Iterator[pa.RecordBatchReader]:
    """
    Open a stream of the target's rows, or of a stretch of them, with a column ``c0``, ``c1``, … for each reading.

    Read in one read-only transaction; raises what the session raises.
    """
    condition = f" WHERE {stretch.condition}" if stretch.condition else ""
    statement = f"SELECT {_selected(comparison)} FROM {_origin(comparison)}{condition}"
    with _read(session, statement, comparison.batch_bytes) as reader:
        yield reader


@contextmanager
def target_tables(session: ReadOnlySession, comparisons: Sequence[Comparison]) -> Iterator[pa.RecordBatchReader]:
    """
    Open a stream of the rows of several tables of one shape, with columns as ``target_rows`` has them.

    One more, ``part``, says to which of the ``comparisons`` a row belongs.
    """
    selects = [
        f"SELECT {part} AS part, {_selected(comparison)} FROM {_origin(comparison)}"
        for part, comparison in enumerate(comparisons)
    ]
    with _read(session, " UNION ALL ".join(selects), comparisons[0].batch_bytes) as reader:
        yield reader


def _selected(comparison: Comparison) -> str:
    return ", ".join(f"{one.select} AS c{i}" for i, one in enumerate(comparison.readings)) or "1 AS c0"


def _origin(comparison: Comparison) -> str:
    # ONLY: rows of inheriting tables are theirs, and COPY never put ours there. Partitions are the table's own.
    table = comparison.target
    return table.name.quoted if table.partitioned else f"ONLY {table.name.quoted}"


@contextmanager
def _read(session: ReadOnlySession, statement: str, batch_bytes: int) -> Iterator[pa.RecordBatchReader]:
    with session.batches(statement, batch_bytes) as (schema, batches), outspoken(schema, batches) as reader:
        yield reader


@contextmanager
def outspoken(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatchReader]:
    """
    Open a stream whose own error is what the block raises.

    DuckDB makes one of its own from what stops a stream, and whether time heals that can't be seen any more.
    """
    failures: list[Exception] = []

    def read() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except Exception as error:
            failures.append(error)
            raise

    try:
        yield pa.RecordBatchReader.from_batches(schema, read())
    except duckdb.Error as error:
        if failures:
            raise failures[0] from error
        raise
