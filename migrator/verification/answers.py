"""
Lets DuckDB answer a query about a stream of rows, one record batch at a time, so that the memory has a bound in bytes.

DuckDB bounds what it holds of a stream by rows: a filter gathers two thousand, and of its own answer a stream holds as
many as come in a hundred batches. Rows of megabytes are gigabytes then. A record batch is cut by bytes.
"""

from collections.abc import Iterator

import duckdb
import pyarrow as pa


def answers(duck: duckdb.DuckDBPyConnection, rows: pa.RecordBatchReader, query: str) -> pa.RecordBatchReader:
    """
    Return DuckDB's answers to a query over each record batch of ``rows``, which the query calls ``rows_read``.

    The query must give a row of its own for each row, or none: no aggregates. The answers come as they are read, from
    a cursor of their own, so that they may be written into the same database. Reading raises the errors of ``rows``
    and of DuckDB.
    """

    def read() -> Iterator[pa.RecordBatch]:
        with duck.cursor() as cursor:
            for batch in rows:
                cursor.register("rows_read", pa.table(batch))
                yield from cursor.sql(query).to_arrow_table().to_batches()

    with duck.cursor() as cursor:
        cursor.register("rows_read", rows.schema.empty_table())
        schema = cursor.sql(query).to_arrow_table().schema
    return pa.RecordBatchReader.from_batches(schema, read())
