"""
The dry run converts a whole table as the copier does and sends nothing. It is the quick pass of preflight.

If a table passes, all of its values can be carried. The rows are read only once: the same scan also feeds the digest
for verification. The digest does not depend on the conversion, since it gets the values as SQLite returned them.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from msgspec.structs import replace

from migrator.errors import SourceUnreadable
from migrator.monitoring.tracker import Count, count_nothing
from migrator.planning.grouping import map_grouped
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.source.batches import ScanRequest, scan
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.scan import MOST_TOGETHER, ScanColumn, ScanSession, StorageClass
from migrator.source.size import TableSize
from migrator.types import ConversionError, LossDetector
from migrator.types.family import holds_nul
from migrator.verification import digest
from migrator.verification.comparison import Comparison, in_fast_form
from migrator.verification.digest import Digest, KnownDigest

Arrays = Mapping[ScanColumn, pa.Array]


def prepare(session: ScanSession, table: TablePlan, table_size: TableSize, batch_bytes: int) -> Comparison | None:
    """
    Return how the source's rows are compared with the target's; None if only PostgreSQL can judge some column.

    ``batch_bytes`` is the size of a record batch. Blocks while SQLite examines the table's JSON values. Raises
    SourceUnreadable.
    """
    if any(column.asks_server for column in table.compared):
        return None
    pairs = table.fast.pairs
    return in_fast_form(session, Comparison(table.source, table.target, pairs, table_size, batch_bytes))


class DryRunPart(Struct, frozen=True, dict=True):
    """A table, or a chunk of a table, that the dry run reads in the fast form."""

    table: TablePlan
    comparison: Comparison
    chunk: Chunk = WHOLE_TABLE
    count: Count = count_nothing
    """Counts the rows that are read."""

    @cached_property
    def guards(self) -> tuple[ScanColumn, ...]:
        """Scan columns that are 1 for a row with a value that the conversion would misread without an error."""
        return tuple(_guards(self.table)) if self._number is None else ()

    @cached_property
    def scan_columns(self) -> tuple[ScanColumn, ...]:
        """All columns of the scan; a column that conversion and digest both need is read once."""
        return tuple(dict.fromkeys(self._needed))

    @cached_property
    def guarded_columns(self) -> tuple[ScanColumn, ...]:
        """
        The scan columns as they are read: the first that holds numbers stops the driver at a row with such a value.

        A column of its own takes as long as any other: 0.3 s of CPU for 1.5 million rows, where this takes 0.1.
        """
        columns = list(self.scan_columns)
        if self._number is not None:
            conditions = "".join(f"WHEN {guard.expression} THEN '' " for guard in _guards(self.table))
            number = columns[self._number]
            if conditions:
                columns[self._number] = replace(number, expression=f"CASE {conditions}ELSE {number.expression} END")
        return tuple(columns)

    @cached_property
    def _number(self) -> int | None:
        """The place of the first column of numbers in the scan, in which the driver takes no text."""
        read = dict.fromkeys((*self._carried, *self.comparison.scan_columns))
        return next((place for place, column in enumerate(read) if column.storage in _NUMBERS), None)

    @cached_property
    def _carried(self) -> tuple[ScanColumn, ...]:
        return tuple(scan_column for column in self.table.compared for scan_column in column.scan_columns)

    @cached_property
    def _needed(self) -> tuple[ScanColumn, ...]:
        return (*self.guards, *self._carried, *self.comparison.scan_columns)

    @cached_property
    def texts_of_digest(self) -> tuple[ScanColumn, ...]:
        """The texts that the digest reads whole, and the conversion only through a function of SQLite."""
        converted = {scan_column for column in self.table.compared for scan_column in column.scan_columns}
        texts = (column for column in self.comparison.scan_columns if column.storage is StorageClass.TEXT)
        return tuple(column for column in texts if column not in converted)

    @cached_property
    def dry_run_key(self) -> Hashable:
        """A key that is equal for two parts if they can be read, converted and digested together."""
        positions = {scan_column: position for position, scan_column in enumerate(self.scan_columns)}
        read = (
            tuple(scan_column.storage for scan_column in self.scan_columns),
            tuple(positions[scan_column] for scan_column in self._needed),
        )
        return self.comparison.digest_key, self.table.conversion_key, len(self.guards), read


def dry_run(
    session: ScanSession,
    tables: Sequence[tuple[TablePlan, TableSize]],
    batch_bytes: int,
    count: Count = count_nothing,
) -> list[KnownDigest | None]:
    """
    Dry-run tables that have one chunk each. Return a digest for each table, or None if it needs a diagnosis.

    Tables with the same ``dry_run_key`` are read together, since SQLite's driver, Arrow and DuckDB take longer to start
    than to process a small table. ``batch_bytes`` is the size of a record batch. ``count`` counts the rows of a table
    that is alone. Blocks while the tables are scanned. Raises SourceUnreadable if SQLite can't examine a table's JSON
    values.
    """
    comparisons = [prepare(session, table, table_size, batch_bytes) for table, table_size in tables]
    parts = [
        DryRunPart(table.fast, comparison, count=count if len(tables) == 1 else count_nothing)
        for (table, _), comparison in zip(tables, comparisons, strict=True)
        if comparison
    ]
    digests = iter(map_grouped(parts, lambda part: part.dry_run_key, lambda group: dry_run_grouped(session, group)))
    return [
        KnownDigest(comparison, digested) if comparison and (digested := next(digests)) else None
        for comparison in comparisons
    ]


def dry_run_grouped(session: ScanSession, parts: Sequence[DryRunPart]) -> list[Digest | None]:
    """
    Return for each part the digest of its rows if every value can be carried, and None if the part needs a diagnosis.

    All ``parts`` have the same ``dry_run_key``. A damaged part also gives None: the diagnosis then raises the error.
    Blocks while the parts are scanned.
    """
    if len(parts) > 1 and sum(len(part.scan_columns) for part in parts) <= MOST_TOGETHER:
        suspects: set[int] = set()
        digests = _digested(parts, _marked_together(session, parts, suspects))
        if digests is not None and not suspects:
            return list(digests)
    return _one_by_one(session, parts)


def _one_by_one(session: ScanSession, parts: Sequence[DryRunPart]) -> list[Digest | None]:
    """Digest the parts with one scan for each, which shows the parts that need a diagnosis."""
    suspects: set[int] = set()
    digests = _digested(parts, _marked(session, parts, suspects))
    if digests is None:
        # DuckDB reads some value differently than the copier does: that table is diagnosed, and compared in full forms.
        return [digests for part in parts for digests in _one_by_one(session, [part])] if len(parts) > 1 else [None]
    return [None if number in suspects else digested for number, digested in enumerate(digests)]


def _digested(parts: Sequence[DryRunPart], rows: Iterator[list[pa.Array]]) -> list[Digest] | None:
    """Return the digest of each part from ``rows``, which carry the part's number; None if DuckDB can't read them."""
    [first, *others] = parts
    columns = [(f"c{i}", scan_column.arrow_type) for i, scan_column in enumerate(first.comparison.scan_columns)]
    schema = pa.schema([("part", pa.int64()), *columns])
    reader = pa.RecordBatchReader.from_batches(schema, (pa.record_batch(row, schema=schema) for row in rows))
    try:
        if not others:
            return [digest.of_source_rows(reader, first.comparison)]
        digests = digest.of_parts(reader, first.comparison)
    except duckdb.Error:
        return None
    return [digests.get(number, digest.EMPTY) for number in range(len(parts))]


class _SuspectError(Exception):
    """A value needs the diagnosis."""


_SIGNS = (_SuspectError, ConversionError, pa.ArrowInvalid, UnicodeDecodeError, SourceUnreadable)


def _marked(session: ScanSession, parts: Sequence[DryRunPart], suspects: set[int]) -> Iterator[list[pa.Array]]:
    """Yield the rows to digest, part after part; stop reading a part at its first suspect value."""
    for number, part in enumerate(parts):
        check_batch, source, comparison = _BatchCheck(part), part.table.source, part.comparison
        where = part.chunk.where(source)
        request = ScanRequest(source, part.guarded_columns, comparison.table_size, comparison.batch_bytes, where)
        try:
            for batch in scan(session, request):
                part.count(len(batch), batch.nbytes)
                yield [pa.repeat(pa.scalar(number, pa.int64()), len(batch)), *check_batch(batch.columns)]
        except _SIGNS:
            suspects.add(number)


def _marked_together(session: ScanSession, parts: Sequence[DryRunPart], suspects: set[int]) -> Iterator[list[pa.Array]]:
    """Yield the rows of all parts from one scan; stop at the first suspect value of any part."""
    check_batch = _BatchCheck(parts[0])
    rows = sum(part.comparison.table_size.rows for part in parts)
    try:
        for batch in session.scan_together(
            [(part.table.source, part.guarded_columns) for part in parts], batch_rows=rows + 1
        ):
            [*arrays, part_numbers] = batch.columns
            yield [part_numbers, *check_batch(arrays)]
    except _SIGNS:
        suspects |= set(range(len(parts)))


class _BatchCheck:
    """Checks record batches before they are digested; serves all parts with the same ``dry_run_key``."""

    def __init__(self, part: DryRunPart) -> None:
        self._part = part
        self._losses = {
            column: column.active_family.losses() for column in part.table.compared if column.active_family.losses
        }

    def __call__(self, read: Sequence[pa.Array]) -> list[pa.Array]:
        """Return the arrays to digest; raise one of ``_SIGNS`` if a value of the batch can't be carried."""
        arrays = dict(zip(self._part.scan_columns, read, strict=True))
        if any(pc.max(arrays[guard]).as_py() for guard in self._part.guards):
            raise _SuspectError("a value is not what it would be taken for")
        _carry(self._part.table, arrays, self._losses)
        if any(holds_nul(arrays[text]) for text in self._part.texts_of_digest):
            raise _SuspectError("a text has a NUL, where SQLite's functions stop")
        return [arrays[scan_column] for scan_column in self._part.comparison.scan_columns]


def _guards(table: TablePlan) -> Iterator[ScanColumn]:
    conditions = [f"({refusal.condition})" for column in table.compared for refusal in column.problems]
    for start in range(0, len(conditions), _IN_ONE_GUARD):
        yield ScanColumn(" OR ".join(conditions[start : start + _IN_ONE_GUARD]), StorageClass.INTEGER)


_NUMBERS = frozenset({StorageClass.INTEGER, StorageClass.REAL})

_IN_ONE_GUARD = 300
"""The number of conditions in one guard; SQLite allows 1,000 levels in an expression ("Implementation Limits")."""


def _carry(table: TablePlan, arrays: Arrays, losses: Mapping[ColumnPlan, LossDetector]) -> None:
    """Convert the columns of a batch; raise if a value can't be carried whole, or is missing in a NOT NULL column."""
    for column in table.compared:
        converted = column.convert([arrays[scan_column] for scan_column in column.scan_columns])
        if column.target.not_null and not column.target.generated and converted.null_count:
            raise _SuspectError("a value is missing")
        if column in losses and losses[column].rows(arrays[column.scan_columns[0]]):
            raise _SuspectError("a value would be kept in part")
