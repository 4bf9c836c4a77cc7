"""
Stage ``reset``: takes back what this job loaded, so that a rehearsal can be repeated or another source begun.

Only tables that the ledger says it filled, and only if nobody has touched them since: a row's ``xmin`` tells which
transaction wrote it (PostgreSQL, "System Columns"), and the ledger knows the transactions of its own.
"""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from migrator import ledger, loads
from migrator.errors import RowsInTheWay
from migrator.loads import Loaded
from migrator.names import TableName
from migrator.run_ledger import RunLedger
from migrator.target import own_rows
from migrator.triggers import silenced

_XID_VALUES = 1 << 32
"""An ``xmin`` has 32 bits, a transaction's number 64."""


async def reset(run: RunLedger, *, force: bool) -> int:
    """
    Empty the tables that the ledger says were filled, forget that, and return how many those were.

    Everything happens in one transaction. What is parked stays in the ledger for ``restore``. With ``force`` rows that
    somebody has added or changed since go too; without, RowsInTheWay names their tables and nothing was done.
    """
    async with run.target.transaction() as connection:
        if not await ledger.exists(connection):
            return 0
        await ledger.create(connection)
        await run.take_over(connection)
        loaded = await loads.loaded(connection, run.migration)
        present = await own_rows(connection, list(loaded))
        listed = ", ".join(present.values())
        if present:
            await connection.exec_driver_sql(f"LOCK TABLE {listed}")
        if not force:
            await _refuse_touched(connection, present, loaded)
        if present:
            async with silenced(connection, list(present)):  # a trigger may be set off by TRUNCATE, too
                await connection.exec_driver_sql(f"TRUNCATE {listed}")
        await loads.forget(connection, run.migration, list(loaded))
    return len(present)


async def _refuse_touched(
    connection: AsyncConnection, present: Mapping[TableName, str], tables: Mapping[TableName, Loaded]
) -> None:
    """Raise RowsInTheWay for ``present`` tables, given as a statement names their own rows, that aren't as loaded."""
    touched: dict[str, str] = {}
    for name, rows_of in present.items():
        loaded = tables[name]
        own = [number % _XID_VALUES for number in loaded.transactions]
        counted = await connection.exec_driver_sql(
            f"SELECT count(*) FILTER (WHERE xmin::text::bigint = ANY ($1::bigint[])), count(*) FROM {rows_of}",
            (own,),
        )
        ours, rows = (int(number) for number in counted.one())
        if (ours, rows) != (loaded.rows, loaded.rows):
            touched[str(name)] = f"{rows - ours} new or changed, {loaded.rows - ours} changed or removed"
    if touched:
        listed = ", ".join(f"{name} ({what})" for name, what in touched.items())
        raise RowsInTheWay(
            f"tables have been written to since they were filled: {listed}",
            next_step="keep them, or give --force to remove their rows all the same",
            tables=touched,
        )
