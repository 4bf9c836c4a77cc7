"""A table's rows as COPY data: scanned, converted and encoded, a record batch at a time."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from migrator.batches import scan
from migrator.encode import Encoder, encoder_for
from migrator.findings import Profile
from migrator.pieces import Piece
from migrator.plan import TablePlan
from migrator.scanning import ScanSession


def copy_data(
    session: ScanSession, table: TablePlan, profile: Profile, piece: Piece, batch_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """
    Yield (rows, their COPY data) for a piece of a table; the form's header and end come with 0 rows.

    Blocks while it reads. Raises SourceUnreadable, and Unfit for what preflight would have named.
    """
    if profile.plain:
        table = table.plainly()
    encoder = _encoder(table)
    yield 0, encoder.start()
    where = piece.where(table.source)
    for batch in scan(session, table.source, table.lanes, profile=profile, batch_bytes=batch_bytes, where=where):
        yield len(batch), encoder.rows(table.convert(batch))
    yield 0, encoder.end()


def _encoder(table: TablePlan) -> Encoder:
    names = [f"c{i}" for i in range(len(table.lanes))]
    nothing = pa.record_batch([pa.array([], lane_type) for lane_type in _arrow_types(table)], names=names)
    schema = table.convert(nothing).schema
    builders = [
        column.carrier.encoder(field) if column.carrier.encoder else None
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return encoder_for(table.form, schema, builders)


def _arrow_types(table: TablePlan) -> Sequence[pa.DataType]:
    return [lane.arrow_type for lane in table.lanes]
