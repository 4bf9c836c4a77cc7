"""
Writes the ledger's lines about tables whose rows are all in the target.

Each function sends one statement, however many tables there are: the server takes longer to begin a statement than to
write a line, and so does the client.
"""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger.loads import CopyStats
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName, names_bound


async def write_whole(connection: AsyncConnection, run: RunLedger, stats: Mapping[TableName, CopyStats]) -> None:
    """Write that whole tables are copied. Call it in the transaction that copies them."""
    await connection.execute(sa.text(_CHUNKS), _bound(run, stats))
    await write_copied(connection, run, stats)


async def write_copied(connection: AsyncConnection, run: RunLedger, stats: Mapping[TableName, CopyStats]) -> None:
    """Write that all rows of the tables are in the target."""
    await connection.execute(sa.text(_TABLES), _bound(run, stats))


def _bound(run: RunLedger, stats: Mapping[TableName, CopyStats]) -> dict[str, object]:
    return {
        "migration": run.migration.name,
        "run_id": run.run_id,
        **names_bound(list(stats)),
        "rows": [copied.rows for copied in stats.values()],
        "bytes": [copied.bytes for copied in stats.values()],
        "seconds": [copied.seconds for copied in stats.values()],
    }


_COPIED = """
FROM unnest(
    CAST(:schemas AS text[]), CAST(:names AS text[]),
    CAST(:rows AS bigint[]), CAST(:bytes AS bigint[]), CAST(:seconds AS double precision[])
) AS t (schema_name, table_name, rows, bytes, seconds)
"""

_CHUNKS = f"""
INSERT INTO migrator.chunks
    (migration, schema_name, table_name, position, run_id, rows, bytes, seconds, transaction, copied_at)
SELECT CAST(:migration AS text), schema_name, table_name, 0, CAST(:run_id AS uuid), rows, bytes, seconds,
       CAST(CAST(pg_current_xact_id() AS text) AS bigint), clock_timestamp()
{_COPIED}
"""

_TABLES = f"""
INSERT INTO migrator.tables (migration, schema_name, table_name, run_id, rows, bytes, seconds)
SELECT CAST(:migration AS text), schema_name, table_name, CAST(:run_id AS uuid), rows, bytes, seconds
{_COPIED}
"""
