"""
The copier's way over a whole table, without sending anything: the quick pass of preflight.

A table that holds nothing unusual comes through, and then every one of its values can be carried. Its rows are read
once: on their way they also pass verification's digest, which has no part in the conversion and gets what SQLite gave.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from migrator import digest
from migrator.batches import scan
from migrator.comparison import Comparison, quickly
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
    pairs = table.plainly().pairs
    return quickly(session, Comparison(table.source, table.target, pairs, profile, batch_bytes))


def rehearse(session: ScanSession, table: TablePlan, profile: Profile, batch_bytes: int) -> Rehearsed | None:
    """Rehearse a table that is one piece: the same as ``prepare`` and ``rehearse_piece``."""
    comparison = prepare(session, table, profile, batch_bytes)
    found = rehearse_piece(session, table, comparison, WHOLE) if comparison else None
    return Rehearsed(comparison, found) if comparison and found else None


def rehearse_piece(session: ScanSession, table: TablePlan, comparison: Comparison, piece: Piece) -> Digest | None:
    """
    Return the digest of a piece's rows if every value can be carried; None if something needs a closer look.

    Blocks while the piece is scanned. That it is damaged is for the closer look to say.
    """
    table = table.plainly()
    objections: list[Exception] = []
    losses = {column: column.carrier.losses() for column in table.compared if column.carrier.losses}

    def rows() -> Iterator[pa.RecordBatch]:
        try:
            for arrays in _batches(session, table, comparison, piece):
                _carry(table, arrays, losses)
                yield pa.record_batch([arrays[lane] for lane in comparison.lanes], schema=schema)
        except (Unfit, pa.ArrowInvalid, UnicodeDecodeError, SourceUnreadable) as error:
            objections.append(error)

    schema = pa.schema([(f"c{i}", lane.arrow_type) for i, lane in enumerate(comparison.lanes)])
    try:
        found = digest.of_source_rows(pa.RecordBatchReader.from_batches(schema, rows()), comparison)
    except duckdb.Error:
        return None  # a value that DuckDB reads otherwise than the copier does: the full forms see to it
    return None if objections else found


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
