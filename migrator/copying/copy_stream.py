"""Turns a table's rows into COPY data: scans, converts and encodes them, a record batch at a time."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from migrator.copying.encoder import Encoder, encoder_for
from migrator.errors import SourceUnreadable
from migrator.planning.grouping import map_grouped
from migrator.planning.plan import TablePlan
from migrator.source.batches import ScanRequest, scan
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.scan import MOST_TOGETHER, ScanSession
from migrator.source.size import TableSize
from migrator.types import ConversionError


def copy_data(
    session: ScanSession, table: TablePlan, table_size: TableSize, chunk: Chunk, batch_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """
    Yield the COPY data of a table's chunk in parts, each with its number of rows; header and end have 0 rows.

    ``session`` reads the source. Blocks while it reads. Raises SourceUnreadable, and ConversionError for values that
    preflight would have refused.
    """
    table = _as_surveyed(table, table_size)
    encoder: Encoder | None = None
    request = ScanRequest(table.source, table.scan_columns, table_size, batch_bytes, chunk.where(table.source))
    for batch in scan(session, request):
        converted = table.convert(batch)
        if encoder is None:
            encoder = _encoder(table, converted.schema)
            yield 0, encoder.start()
        yield len(batch), encoder.rows(converted)
    if encoder is None:
        encoder = _encoder(table, table.convert(_no_rows(table)).schema)
        yield 0, encoder.start()
    yield 0, encoder.end()


def copy_data_of_small(
    session: ScanSession, tables: Sequence[tuple[TablePlan, TableSize]], batch_bytes: int
) -> list[tuple[int, bytes]]:
    """
    Return the number of rows and the COPY data, with header and end, of each of several small tables.

    Tables that are read and converted alike share a scan and a conversion: starting these takes longer than processing
    the rows of a small table. Blocks while it reads; raises the errors of ``copy_data``.
    """
    return map_grouped(
        tables,
        lambda table: _as_surveyed(*table).conversion_key,
        lambda group: _together(session, group) or [_whole(session, *table, batch_bytes) for table in group],
    )


def _whole(session: ScanSession, table: TablePlan, table_size: TableSize, batch_bytes: int) -> tuple[int, bytes]:
    parts = list(copy_data(session, table, table_size, WHOLE_TABLE, batch_bytes))
    return sum(rows for rows, _ in parts), b"".join(chunk for _, chunk in parts)


def _together(session: ScanSession, tables: Sequence[tuple[TablePlan, TableSize]]) -> list[tuple[int, bytes]] | None:
    """Return the COPY data of tables that are converted alike, from one scan; None if each needs its own scan."""
    plans = [_as_surveyed(table, table_size) for table, table_size in tables]
    if len(plans) == 1 or sum(len(plan.scan_columns) for plan in plans) > MOST_TOGETHER:
        return None
    try:
        return _out_of_one_scan(session, plans, sum(table_size.rows for _, table_size in tables))
    except (SourceUnreadable, ConversionError, pa.ArrowInvalid):
        return None  # with a scan for each table, the error names the right table


def _out_of_one_scan(session: ScanSession, plans: Sequence[TablePlan], rows: int) -> list[tuple[int, bytes]]:
    [first, *_] = plans
    parts: list[list[pa.RecordBatch]] = [[] for _ in plans]
    for batch in session.scan_together([(plan.source, plan.scan_columns) for plan in plans], batch_rows=rows + 1):
        converted = first.convert(batch)
        runs = pc.run_end_encode(batch.columns[-1])
        start = 0
        for place, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            parts[place].append(converted.slice(start, end - start))
            start = end
    schema = first.convert(_no_rows(first)).schema
    return [(sum(map(len, batches)), _encoded(first, schema, batches)) for batches in parts]


def _encoded(table: TablePlan, schema: pa.Schema, batches: Sequence[pa.RecordBatch]) -> bytes:
    encoder = _encoder(table, schema)
    return b"".join([encoder.start(), *map(encoder.rows, batches), encoder.end()])


def _as_surveyed(table: TablePlan, table_size: TableSize) -> TablePlan:
    return table.fast if table_size.fast else table


def _encoder(table: TablePlan, schema: pa.Schema) -> Encoder:
    builders = [
        column.active_family.encoder(field) if column.active_family.encoder else None
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return encoder_for(table.form, schema, builders)


def _no_rows(table: TablePlan) -> pa.RecordBatch:
    schema = pa.schema([(f"c{i}", lane.arrow_type) for i, lane in enumerate(table.scan_columns)])
    return pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)
