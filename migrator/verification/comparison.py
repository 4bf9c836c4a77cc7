"""
Describes a comparison, and reads both sides as streams of record batches.

The comparison uses its own code for reading, and none of the copier's.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from msgspec.structs import replace

from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.source.batches import ScanRequest, scan
from migrator.source.chunks import WHOLE_TABLE, Chunk, identity_of
from migrator.source.database import Source
from migrator.source.scan import ScanColumn, ScanSession, StorageClass
from migrator.source.schema import SourceTable
from migrator.source.size import TableSize
from migrator.target.schema import TargetTable
from migrator.target.server_types import CanonicalText
from migrator.verification.canonical import (
    CanonicalForm,
    ColumnPair,
    Side,
    canonical_form,
    fast_form,
    source_side,
    target_side,
)
from migrator.verification.json_keys import usual_keys

DigestKey = tuple[tuple[object, ...], ...]

_BUCKETS = 1024
"""So many that only a small part of a table is searched for a difference, and so few that they cost no time."""

_FEW_ROWS = 1_000
"""Tables with at most so many rows have one bucket, since buckets of thousands of small tables take memory."""


class Databases(Struct, frozen=True):
    """Both databases: the source, and the address of its target."""

    source: Source
    target: TargetAddress


class Comparison(Struct, frozen=True, dict=True):
    """A source table and the target table that must hold the same rows."""

    source: SourceTable
    target: TargetTable
    pairs: tuple[ColumnPair, ...]
    table_size: TableSize
    batch_bytes: int
    fast: bool = False
    """Whether fast forms are compared. Rows with equal fast forms are equal. Other rows may be equal too."""
    target_condition: str = ""
    """PostgreSQL's SQL that is true for the target's rows that are compared; empty for all rows."""

    @cached_property
    def forms(self) -> tuple[CanonicalForm, ...]:
        """The form of each pair."""
        return tuple(fast_form(pair) if self.fast else canonical_form(pair) for pair in self.pairs)

    @cached_property
    def scan_columns(self) -> tuple[ScanColumn, ...]:
        """The scan columns of all forms, side by side."""
        return tuple(column for form in self.forms for column in form.scan_columns)

    @cached_property
    def source_side(self) -> Side:
        """The SQL of the source's forms."""
        return source_side(self.forms)

    @cached_property
    def target_side(self) -> Side:
        """The SQL of the target's forms."""
        return target_side(self.forms)

    @cached_property
    def digest_key(self) -> DigestKey:
        """A key. Rows of comparisons with equal keys can be digested by one statement."""
        types = tuple(pair.target.type_name for pair in self.pairs)
        storage = tuple(column.storage for column in self.scan_columns)
        return types, storage, self.source_side.forms, self.target_side.forms, self.key, (self.buckets,)

    @property
    def by_server(self) -> bool:
        """Whether PostgreSQL has to bring some of the source's text to its own spelling."""
        return any(form.by_server for form in self.forms)

    @property
    def buckets(self) -> int:
        """The number of buckets of the digest. Only buckets that differ are searched row by row."""
        return _BUCKETS if self.table_size.rows > _FEW_ROWS else 1

    @cached_property
    def key(self) -> tuple[int, ...]:
        """The places in ``pairs`` of the target table's key; empty if it has none, or a part isn't compared."""
        places = {pair.target.name: place for place, pair in enumerate(self.pairs)}
        return tuple(places[name] for name in self.target.key) if set(self.target.key) <= set(places) else ()


def in_fast_form(session: ScanSession, comparison: Comparison) -> Comparison:
    """Return the comparison in the fast forms, with the usual JSON keys of the source. Raises SourceUnreadable."""
    pairs = tuple(
        replace(pair, keys=usual_keys(session, comparison.source, pair.expression))
        if pair.target.type_name == "jsonb"
        else pair
        for pair in comparison.pairs
    )
    return replace(comparison, pairs=pairs, fast=True)


class BlockRange(Struct, frozen=True):
    """Consecutive blocks of the target's table, by default all. Several ranges can be read at the same time."""

    first: int = 0
    end: int | None = None
    """The block after the last one; None for the end of the table."""

    @property
    def condition(self) -> str:
        """SQL that is true for the rows in these blocks (PostgreSQL, "System Columns": ctid); empty for all blocks."""
        start = f"ctid >= '({self.first},0)'" if self.first else ""
        end = f"ctid < '({self.end},0)'" if self.end is not None else ""
        return " AND ".join(part for part in (start, end) if part)


ALL_BLOCKS = BlockRange()


def block_ranges(session: ReadOnlySession, table: TargetTable, parts: int) -> tuple[BlockRange, ...]:
    """Return the table's blocks as at most ``parts`` ranges of the same size. Raises the errors of the session."""
    if table.partitioned:
        return (ALL_BLOCKS,)
    [(blocks,)] = session.rows(_BLOCKS, (table.name.quoted,))
    ends = sorted({blocks * part // parts for part in range(1, parts)} - {0})
    return tuple(BlockRange(first, end) for first, end in zip([0, *ends], [*ends, None], strict=True))


# Before PostgreSQL 14, a condition on ctid is only a filter: each part would read the whole table.
_BLOCKS = """
SELECT CASE WHEN current_setting('server_version_num')::int >= 140000
            THEN pg_relation_size(CAST($1 AS text)::regclass) / current_setting('block_size')::int ELSE 0 END
"""


def identity_column(table: SourceTable) -> ScanColumn:
    """Return what tells a source table's rows apart (``identity_of``) as a column of a scan."""
    return ScanColumn(identity_of(table), StorageClass.INTEGER if table.rowid is not None else StorageClass.TEXT)


@contextmanager
def source_rows(
    session: ScanSession,
    address: TargetAddress,
    comparison: Comparison,
    chunk: Chunk = WHOLE_TABLE,
    further: Sequence[ScanColumn] = (),
) -> Iterator[pa.RecordBatchReader]:
    """
    Open a stream of a chunk of the source's rows, with a column (``c0``, ``c1``, …) for each scan column.

    ``address`` is the address of the target, which is asked for its spelling of types that only PostgreSQL can read.
    ``further`` columns, which aren't compared, come after the others. Raises SourceUnreadable.
    """
    scan_columns = (*comparison.scan_columns, *further)
    schema = pa.schema([(f"c{place}", column.arrow_type) for place, column in enumerate(scan_columns)])
    with CanonicalText(address, comparison.target.name) as canonical_text:
        where = chunk.where(comparison.source)
        request = ScanRequest(comparison.source, scan_columns, comparison.table_size, comparison.batch_bytes, where)
        normalised = (_normalised(batch.columns, comparison, canonical_text) for batch in scan(session, request))
        with stream(schema, (pa.record_batch(arrays, schema=schema) for arrays in normalised)) as reader:
            yield reader


def _normalised(arrays: Sequence[pa.Array], comparison: Comparison, canonical_text: CanonicalText) -> list[pa.Array]:
    """Return the arrays of all columns. Compared texts that only PostgreSQL can read are in PostgreSQL's spelling."""
    result: list[pa.Array] = []
    for pair, form in zip(comparison.pairs, comparison.forms, strict=True):
        of_column = list(arrays[len(result) : len(result) + len(form.scan_columns)])
        if form.by_server:
            text, doubles = of_column
            text = pc.coalesce(text, pc.cast(doubles, pa.string()))
            of_column = [canonical_text.of(pair.target.name, text), pa.nulls(len(text), pa.float64())]
        result += of_column
    return [*result, *arrays[len(result) :]]


@contextmanager
def target_rows(
    session: ReadOnlySession, comparison: Comparison, blocks: BlockRange = ALL_BLOCKS, further: Sequence[str] = ()
) -> Iterator[pa.RecordBatchReader]:
    """
    Open a stream of the target's rows in these ``blocks``, with a column (``c0``, ``c1``, …) for each form.

    ``further`` expressions with their names come after them. All rows are read in one read-only transaction. Raises the
    errors of the session.
    """
    selected = ", ".join([_selected(comparison), *further])
    statement = f"SELECT {selected} FROM {_origin(comparison, blocks.condition)}"
    with _read(session, statement, comparison.batch_bytes) as reader:
        yield reader


@contextmanager
def target_tables(session: ReadOnlySession, comparisons: Sequence[Comparison]) -> Iterator[pa.RecordBatchReader]:
    """
    Open a stream of the rows of several tables with the same digest key. It has the columns of ``target_rows``.

    A further column, ``part``, is the place of the row's table in ``comparisons``.
    """
    selects = [
        f"SELECT {part} AS part, {_selected(comparison)} FROM {_origin(comparison)}"
        for part, comparison in enumerate(comparisons)
    ]
    with _read(session, " UNION ALL ".join(selects), comparisons[0].batch_bytes) as reader:
        yield reader


def _selected(comparison: Comparison) -> str:
    return ", ".join(f"{form.select} AS c{place}" for place, form in enumerate(comparison.forms)) or "1 AS c0"


def _origin(comparison: Comparison, blocks: str = "") -> str:
    # ONLY leaves out rows of inheriting tables, which COPY did not fill. Rows of partitions belong to the table.
    table = comparison.target
    conditions = [f"({condition})" for condition in (blocks, comparison.target_condition) if condition]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return (table.name.quoted if table.partitioned else f"ONLY {table.name.quoted}") + where


@contextmanager
def _read(session: ReadOnlySession, statement: str, batch_bytes: int) -> Iterator[pa.RecordBatchReader]:
    with session.batches(statement, batch_bytes) as (schema, batches), stream(schema, batches) as reader:
        yield reader


@contextmanager
def stream(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatchReader]:
    """
    Open a stream of ``batches`` for DuckDB. If an error stops the batches, the block raises that error.

    DuckDB alone would raise an error of its own, which doesn't say whether a retry can help.
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
