"""
The copier's way over a whole table, without sending anything: the quick pass of preflight.

A table that holds nothing unusual comes through, and then every one of its values can be carried. Its rows are read
once: on their way they also pass verification's digest, which has no part in the conversion and gets what SQLite gave.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from migrator import digest
from migrator.batches import scan
from migrator.comparison import Comparison, Shape, quickly
from migrator.digest import Digest
from migrator.errors import SourceUnreadable
from migrator.findings import Profile
from migrator.pieces import WHOLE, Piece
from migrator.plan import ColumnPlan, TablePlan
from migrator.scanning import Lane, ScanSession, StorageClass
from migrator.types import Losses, Unfit

Arrays = Mapping[Lane, pa.Array]


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A table that came through: how its rows were compared on the way, and the digest of the source's."""

    comparison: Comparison
    digest: Digest


def prepare(session: ScanSession, table: TablePlan, profile: Profile, batch_bytes: int) -> Comparison | None:
    """
    Return how the source's rows will be compared on the way; None if only PostgreSQL can say what may go in.

    Blocks while the source is asked what its JSON is like; raises SourceUnreadable.
    """
    if any(column.asks_server for column in table.compared):
        return None
    pairs = table.plain.pairs
    return quickly(session, Comparison(table.source, table.target, pairs, profile, batch_bytes))


@dataclass(frozen=True, slots=True)
class Part:
    """A table, or a piece of one, as it is rehearsed."""

    table: TablePlan
    comparison: Comparison
    piece: Piece = WHOLE


def rehearse(
    session: ScanSession, tables: Sequence[tuple[TablePlan, Profile]], batch_bytes: int
) -> list[Rehearsed | None]:
    """
    Rehearse tables that are one piece each, as ``prepare`` and ``rehearse_alike`` do.

    Those of one shape go together: it takes DuckDB longer to plan a statement than to run it over a small table.
    """
    alike: dict[Shape, list[tuple[int, Part]]] = defaultdict(list)
    for place, (table, profile) in enumerate(tables):
        if comparison := prepare(session, table, profile, batch_bytes):
            alike[comparison.shape].append((place, Part(table, comparison)))
    rehearsed: list[Rehearsed | None] = [None] * len(tables)
    for placed in alike.values():
        found = rehearse_alike(session, [part for _, part in placed])
        for (place, part), digested in zip(placed, found, strict=True):
            rehearsed[place] = Rehearsed(part.comparison, digested) if digested else None
    return rehearsed


def rehearse_alike(session: ScanSession, parts: Sequence[Part]) -> list[Digest | None]:
    """
    Return for each of some parts of one shape the digest of its rows if every value can be carried.

    None if something needs a closer look. Blocks while the parts are scanned. That one is damaged is for the closer
    look to say.
    """
    objections: dict[int, Exception] = {}

    def rows() -> Iterator[pa.RecordBatch]:
        for number, part in enumerate(parts):
            try:
                for arrays in _carried(session, part):
                    lanes = [arrays[lane] for lane in part.comparison.lanes]
                    marks = pa.repeat(pa.scalar(number, pa.int32()), len(lanes[0]) if lanes else 0)
                    yield pa.record_batch([marks, *lanes], schema=schema)
            except (Unfit, pa.ArrowInvalid, UnicodeDecodeError, SourceUnreadable) as error:
                objections[number] = error

    [first, *others] = parts
    columns = [(f"c{i}", lane.arrow_type) for i, lane in enumerate(first.comparison.lanes)]
    schema = pa.schema([("part", pa.int32()), *columns])
    reader = pa.RecordBatchReader.from_batches(schema, rows())
    try:
        if others:
            found = digest.of_parts(reader, first.comparison)
        else:
            found = {0: digest.of_source_rows(reader, first.comparison)}
    except duckdb.Error:
        # A value that DuckDB reads otherwise than the copier does: for that table the full forms see to it.
        return [one for part in parts for one in rehearse_alike(session, [part])] if others else [None]
    return [None if number in objections else found.get(number, digest.EMPTY) for number in range(len(parts))]


def _carried(session: ScanSession, part: Part) -> Iterator[Arrays]:
    """Yield a part's rows by lane, each batch after it was converted; raises for what can't be carried."""
    table = part.table.plain
    losses = {column: column.carrier.losses() for column in table.compared if column.carrier.losses}
    for arrays in _batches(session, table, part.comparison, part.piece):
        _carry(table, arrays, losses)
        yield arrays


def _batches(session: ScanSession, table: TablePlan, comparison: Comparison, piece: Piece) -> Iterator[Arrays]:
    """Yield the piece's rows by lane. What two readings have in common is read once."""
    guards = list(_guards(table))
    wanted = [*guards, *(lane for column in table.compared for lane in column.lanes), *comparison.lanes]
    lanes = list(dict.fromkeys(wanted))
    profile, batch_bytes, where = comparison.profile, comparison.batch_bytes, piece.where(table.source)
    for batch in scan(session, table.source, lanes, profile=profile, batch_bytes=batch_bytes, where=where):
        arrays = dict(zip(lanes, batch.columns, strict=True))
        if any(pc.max(arrays[guard]).as_py() for guard in guards):
            raise Unfit("is not what it would be taken for")
        yield arrays


def _guards(table: TablePlan) -> Iterator[Lane]:
    """Yield lanes that are 1 where a value would be taken for what it is not."""
    hidden = [
        f"({refusal.condition})"
        for column in table.compared
        for refusal in column.carrier.refusals(column.source_expression, column.target)
    ]
    for start in range(0, len(hidden), _IN_ONE_GUARD):
        yield Lane(" OR ".join(hidden[start : start + _IN_ONE_GUARD]), StorageClass.INTEGER)


_IN_ONE_GUARD = 300
"""Conditions; SQLite takes an expression of 1,000 levels ("Implementation Limits")."""


def _carry(table: TablePlan, arrays: Arrays, losses: Mapping[ColumnPlan, Losses]) -> None:
    """Convert the columns of a batch; raises for a value that can't be carried whole, and for a missing one."""
    for column in table.compared:
        converted = column.convert([arrays[lane] for lane in column.lanes])
        if column.target.not_null and converted.null_count:
            raise Unfit("is missing and the target's column is NOT NULL")
        if column in losses and losses[column].rows(arrays[column.lanes[0]]):
            raise Unfit("would be kept in part")
