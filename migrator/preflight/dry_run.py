"""
The dry run takes the copier's way over a whole table and sends nothing: the quick pass of preflight.

Every value of a table that passes can be carried. The rows are read once: on their way they also pass verification's
digest, which has no part in the conversion and gets what SQLite gave.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from migrator.errors import SourceUnreadable
from migrator.planning.grouping import map_grouped
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.source.batches import ScanRequest, scan
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.scan import MOST_TOGETHER, ScanColumn, ScanSession, StorageClass
from migrator.source.size import TableSize
from migrator.types import ConversionError, LossDetector
from migrator.verification import digest
from migrator.verification.comparison import Comparison, in_fast_form
from migrator.verification.digest import Digest, KnownDigest

Arrays = Mapping[ScanColumn, pa.Array]


def prepare(session: ScanSession, table: TablePlan, table_size: TableSize, batch_bytes: int) -> Comparison | None:
    """
    Return how the source's rows will be compared on the way; None if only PostgreSQL can say what may go in.

    Blocks while the source is asked what its JSON is like; raises SourceUnreadable.
    """
    if any(column.asks_server for column in table.compared):
        return None
    pairs = table.fast.pairs
    return in_fast_form(session, Comparison(table.source, table.target, pairs, table_size, batch_bytes))


@dataclass(frozen=True)
class DryRunPart:
    """A table, or a chunk of one, as the dry run reads it: the cheaper way."""

    table: TablePlan
    comparison: Comparison
    chunk: Chunk = WHOLE_TABLE

    @cached_property
    def guards(self) -> tuple[ScanColumn, ...]:
        """Scan columns that are 1 where a value would be taken for what it is not."""
        return tuple(_guards(self.table))

    @cached_property
    def scan_columns(self) -> tuple[ScanColumn, ...]:
        """All that is read. What two readings have in common is read once."""
        return tuple(dict.fromkeys(self._needed))

    @cached_property
    def _needed(self) -> tuple[ScanColumn, ...]:
        carried = (scan_column for column in self.table.compared for scan_column in column.scan_columns)
        return (*self.guards, *carried, *self.comparison.scan_columns)

    @cached_property
    def dry_run_key(self) -> Hashable:
        """What two parts have in common that can be read, converted and digested as one."""
        places = {scan_column: place for place, scan_column in enumerate(self.scan_columns)}
        read = (
            tuple(scan_column.storage for scan_column in self.scan_columns),
            tuple(places[scan_column] for scan_column in self._needed),
        )
        return self.comparison.digest_key, self.table.conversion_key, len(self.guards), read


def dry_run(
    session: ScanSession, tables: Sequence[tuple[TablePlan, TableSize]], batch_bytes: int
) -> list[KnownDigest | None]:
    """
    Try tables that are one chunk each, as ``prepare`` and ``dry_run_grouped`` do.

    Those that are alike go together: SQLite's driver, Arrow and DuckDB take longer to begin than to go through a small
    table.
    """
    comparisons = [prepare(session, table, table_size, batch_bytes) for table, table_size in tables]
    parts = [
        DryRunPart(table.fast, comparison)
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
    Return for each of these parts, which are alike, the digest of its rows if every value can be carried.

    None stands for a part that needs a diagnosis; the diagnosis also says that a part is damaged. Blocks while the
    parts are scanned.
    """
    if len(parts) > 1 and sum(len(part.scan_columns) for part in parts) <= MOST_TOGETHER:
        suspects: set[int] = set()
        found = _digested(parts, _marked_together(session, parts, suspects))
        if found is not None and not suspects:
            return list(found)
    return _one_by_one(session, parts)


def _one_by_one(session: ScanSession, parts: Sequence[DryRunPart]) -> list[Digest | None]:
    """Do the same with a scan for each part, which shows the parts that need a diagnosis."""
    suspects: set[int] = set()
    found = _digested(parts, _marked(session, parts, suspects))
    if found is None:
        # A value that DuckDB reads otherwise than the copier does: for that table the full forms see to it.
        return [found for part in parts for found in _one_by_one(session, [part])] if len(parts) > 1 else [None]
    return [None if number in suspects else digested for number, digested in enumerate(found)]


def _digested(parts: Sequence[DryRunPart], rows: Iterator[list[pa.Array]]) -> list[Digest] | None:
    """Return the digest of each part whose ``rows`` come, marked with its number; None where DuckDB can't read them."""
    [first, *others] = parts
    columns = [(f"c{i}", scan_column.arrow_type) for i, scan_column in enumerate(first.comparison.scan_columns)]
    schema = pa.schema([("part", pa.int64()), *columns])
    reader = pa.RecordBatchReader.from_batches(schema, (pa.record_batch(row, schema=schema) for row in rows))
    try:
        if not others:
            return [digest.of_source_rows(reader, first.comparison)]
        found = digest.of_parts(reader, first.comparison)
    except duckdb.Error:
        return None
    return [found.get(number, digest.EMPTY) for number in range(len(parts))]


class _SuspectError(Exception):
    """A value that diagnosis has to look at."""


_SIGNS = (_SuspectError, ConversionError, pa.ArrowInvalid, UnicodeDecodeError, SourceUnreadable)


def _marked(session: ScanSession, parts: Sequence[DryRunPart], suspects: set[int]) -> Iterator[list[pa.Array]]:
    """Yield the rows to digest, part after part; of a part with a suspect value no more come."""
    for number, part in enumerate(parts):
        look, source, comparison = _BatchCheck(part), part.table.source, part.comparison
        where = part.chunk.where(source)
        request = ScanRequest(source, part.scan_columns, comparison.table_size, comparison.batch_bytes, where)
        try:
            for batch in scan(session, request):
                yield [pa.repeat(pa.scalar(number, pa.int64()), len(batch)), *look(batch.columns)]
        except _SIGNS:
            suspects.add(number)


def _marked_together(session: ScanSession, parts: Sequence[DryRunPart], suspects: set[int]) -> Iterator[list[pa.Array]]:
    """Yield the same rows out of one scan; after a suspect value of any part no more come."""
    look = _BatchCheck(parts[0])
    rows = sum(part.comparison.table_size.rows for part in parts)
    try:
        for batch in session.scan_together(
            [(part.table.source, part.scan_columns) for part in parts], batch_rows=rows + 1
        ):
            [*arrays, places] = batch.columns
            yield [places, *look(arrays)]
    except _SIGNS:
        suspects |= set(range(len(parts)))


class _BatchCheck:
    """Checks the batches of one part, or of several that are alike, on their way to the digest."""

    def __init__(self, part: DryRunPart) -> None:
        self._part = part
        self._losses = {
            column: column.active_family.losses() for column in part.table.compared if column.active_family.losses
        }

    def __call__(self, read: Sequence[pa.Array]) -> list[pa.Array]:
        """Return the arrays to digest; raises one of ``_SIGNS`` if a value of the batch can't be carried."""
        arrays = dict(zip(self._part.scan_columns, read, strict=True))
        if any(pc.max(arrays[guard]).as_py() for guard in self._part.guards):
            raise _SuspectError("a value is not what it would be taken for")
        _carry(self._part.table, arrays, self._losses)
        return [arrays[scan_column] for scan_column in self._part.comparison.scan_columns]


def _guards(table: TablePlan) -> Iterator[ScanColumn]:
    hidden = [f"({refusal.condition})" for column in table.compared for refusal in column.problems]
    for start in range(0, len(hidden), _IN_ONE_GUARD):
        yield ScanColumn(" OR ".join(hidden[start : start + _IN_ONE_GUARD]), StorageClass.INTEGER)


_IN_ONE_GUARD = 300
"""Conditions; SQLite takes an expression of 1,000 levels ("Implementation Limits")."""


def _carry(table: TablePlan, arrays: Arrays, losses: Mapping[ColumnPlan, LossDetector]) -> None:
    """Convert the columns of a batch; raises for a value that can't be carried whole, and for a missing one."""
    for column in table.compared:
        converted = column.convert([arrays[scan_column] for scan_column in column.scan_columns])
        if column.target.not_null and converted.null_count:
            raise _SuspectError("a value is missing")
        if column in losses and losses[column].rows(arrays[column.scan_columns[0]]):
            raise _SuspectError("a value would be kept in part")
