"""Reads the rows that are tried, and encodes them for COPY, with the copier's own conversion."""

from collections.abc import Iterator

import pyarrow as pa

from migrator.concurrency.blocking import BlockingConnection
from migrator.copying.encoder import encoder_for
from migrator.findings.examples import key_scan_column
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.planning.rules import ColumnRule
from migrator.source.batches import ScanRequest, scan
from migrator.source.scan import ScanSession
from migrator.target.schema import TargetColumn
from migrator.trials.trial_table import ROW, Trial
from migrator.types import family_of


def row_column(table: TablePlan) -> ColumnPlan:
    """Return the plan of the column that holds each row's own key."""
    target = TargetColumn(ROW, "text", "text", not_null=False, has_default=False, identity="", generated=False)
    rule = ColumnRule(expression=key_scan_column(table.source).expression)
    return ColumnPlan(table.columns[0].source, target, family_of(target), table.form, rule)


def batches(reading: BlockingConnection[ScanSession], trial: Trial) -> Iterator[pa.RecordBatch]:
    """Yield record batches, converted as the copier sends them. Blocks while it reads. Raises SourceUnreadable."""
    table = trial.table
    with reading.borrow() as session:
        request = ScanRequest(table.source, table.scan_columns, trial.table_size, trial.batch_bytes, trial.where)
        for batch in scan(session, request):
            yield table.convert(batch)


def encoded(table: TablePlan, rows: pa.RecordBatch) -> bytes:
    """Return rows of a trial as COPY takes them."""
    builders = [
        column.active_family.encoder(field) if column.active_family.encoder else None
        for column, field in zip(table.columns, rows.schema, strict=True)
    ]
    encoder = encoder_for(table.form, rows.schema, builders)
    return encoder.start() + encoder.rows(rows) + encoder.end()
