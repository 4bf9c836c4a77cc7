"""A table's rows as COPY data: scanned, converted and encoded, a record batch at a time."""

from collections.abc import Iterator

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
        table = table.plain
    encoder: Encoder | None = None
    where = piece.where(table.source)
    for batch in scan(session, table.source, table.lanes, profile=profile, batch_bytes=batch_bytes, where=where):
        converted = table.convert(batch)
        if encoder is None:
            encoder = _encoder(table, converted.schema)
            yield 0, encoder.start()
        yield len(batch), encoder.rows(converted)
    if encoder is None:
        encoder = _encoder(table, table.convert(_no_rows(table)).schema)
        yield 0, encoder.start()
    yield 0, encoder.end()


def _encoder(table: TablePlan, schema: pa.Schema) -> Encoder:
    builders = [
        column.carrier.encoder(field) if column.carrier.encoder else None
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return encoder_for(table.form, schema, builders)


def _no_rows(table: TablePlan) -> pa.RecordBatch:
    schema = pa.schema([(f"c{i}", lane.arrow_type) for i, lane in enumerate(table.lanes)])
    return pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)
