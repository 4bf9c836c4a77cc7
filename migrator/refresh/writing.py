"""
Writes the changed rows of all tables, in one transaction with the ledger's lines.

Changed rows are deleted and sent again by the copier's own COPY. All rows of a table that go are deleted before the
first is sent, so that rows may swap the values of a unique key. Foreign keys are dropped before and added again after:
so no order of tables matters, and no ON DELETE of theirs takes more rows than have gone.
"""

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import adbc_driver_sqlite.dbapi as adbc
from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.foreign_keys import ForeignKey, keys_of
from migrator.catalog.triggers import triggers_disabled
from migrator.concurrency.blocking import BlockingConnection
from migrator.concurrency.prefetch import prefetch
from migrator.copying.copy_stream import copy_data
from migrator.copying.encoder import TextEncoder
from migrator.errors import GaveUp, SourceChanged
from migrator.ledger import loads
from migrator.ledger.loads import CopyStats
from migrator.ledger.parked import FOREIGN_KEY, Entry, take
from migrator.ledger.schema import Taken
from migrator.names import TableName, quote_sqlite
from migrator.preflight.table_check import TableCheck
from migrator.refresh.row_changes import RowChanges, in_schema, only
from migrator.refresh.survey import RefreshContext
from migrator.source.chunks import WHOLE_TABLE
from migrator.source.schema import SourceTable
from migrator.target.copy_in import CopyTarget, copy_in
from migrator.target.database import own_rows
from migrator.target.schema import CopyFormat


class Writing(Struct, frozen=True):
    """What is written: the changed rows of some tables, and the tables that are emptied to be loaded anew."""

    changes: Sequence[RowChanges]
    emptied: Sequence[TableName]
    rows: Mapping[TableName, int]
    """The number of rows that each table holds in the end."""
    scratch: Path
    schema: str
    """The schema of the scratch database in the sessions of the source."""
    checks: Mapping[TableName, TableCheck] = field(default_factory=dict)
    """The sizes of what is sent."""

    def sent(self, change: RowChanges) -> SourceTable:
        """Return the source table, from which only the rows are read that are sent."""
        return only(change.table.source, in_schema(self.schema, change.sent))

    @property
    def tables(self) -> list[TableName]:
        """The names of all these tables."""
        return [*(change.table.name for change in self.changes if change.total), *self.emptied]


async def write(context: RefreshContext, connection: AsyncConnection, writing: Writing) -> dict[TableName, CopyStats]:
    """
    Write the rows in the transaction of ``connection``, which has locked the tables; return what was sent by table.

    The foreign keys of emptied tables are parked. Raises SourceChanged if the source sends another number of rows, and
    the server's error for a row that it refuses.
    """
    changes = [change for change in writing.changes if change.total]
    keys = await _dropped_keys(context, connection, writing)
    stats = {}
    async with triggers_disabled(connection, writing.tables):
        if writing.emptied:
            listed = ", ".join((await own_rows(connection, writing.emptied)).values())
            await connection.exec_driver_sql(f"TRUNCATE {listed}")
        for change in changes:
            started = time.monotonic()
            rows, sent = await _write_rows(context, connection, writing, change)
            stats[change.table.name] = CopyStats(rows, sent, time.monotonic() - started)
        # ALTER TABLE refuses a table for which checks are still to come.
        await connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
    async with _qualifying(connection):
        for key in keys:
            for statement in key.restore:
                await connection.exec_driver_sql(statement)
    return stats


async def _dropped_keys(context: RefreshContext, connection: AsyncConnection, writing: Writing) -> Sequence[ForeignKey]:
    """Drop the foreign keys of the tables, and return those that are added again in this transaction."""
    async with _qualifying(connection):
        keys = await keys_of(connection, writing.tables) if writing.tables else []
        emptied = set(writing.emptied)
        parked = [key for key in keys if {key.table, key.parent} & emptied]
        others = [key for key in keys if key not in parked]
        entries = [Entry(Taken(key.table, FOREIGN_KEY, key.name, key.restore), key.drop) for key in parked]
        await take(connection, entries, context.run)
        for key in others:
            await connection.exec_driver_sql(key.drop)
    return others


@asynccontextmanager
async def _qualifying(connection: AsyncConnection) -> AsyncIterator[None]:
    """Let PostgreSQL qualify every name in a definition with its schema, while the block runs."""
    path = await connection.scalar(text("SELECT current_setting('search_path')"))
    await connection.execute(text("SELECT set_config('search_path', '', true)"))
    yield
    await connection.execute(text("SELECT set_config('search_path', :path, true)"), {"path": path})


async def _write_rows(
    context: RefreshContext, connection: AsyncConnection, writing: Writing, change: RowChanges
) -> tuple[int, int]:
    """Delete the rows of a table that go, and send those that come; return the rows and bytes that were sent."""
    if change.updated + change.deleted:
        await _delete(context, connection, writing, change)
    if not change.inserted + change.updated:
        return 0, 0
    table, sent = change.table, 0
    reading = BlockingConnection(context.source.session)

    def read() -> Iterator[tuple[int, bytes]]:
        selected = replace(table, source=writing.sent(change))
        size = writing.checks[table.name].table_size
        with reading.borrow() as session:
            yield from copy_data(session, selected, size, WHOLE_TABLE, context.limits.batch_bytes)

    async def parts() -> AsyncIterator[bytes]:
        nonlocal sent
        async for _, part in prefetch(read()):
            sent += len(part)
            yield part

    names = [column.target.name for column in table.columns]
    try:
        rows = await copy_in(
            connection,
            CopyTarget(table.name, names, table.form),
            parts(),
            stall_seconds=context.limits.stall_seconds,
        )
    finally:
        reading.close()
    expected = change.inserted + change.updated
    if rows != expected:
        raise SourceChanged(
            f"{expected} rows of table {table.source.name!r} have changed, and {rows} were read",
            next_step="Stop whatever writes to the source and run again.",
            table=table.source.name,
        )
    return rows, sent


async def _delete(context: RefreshContext, connection: AsyncConnection, writing: Writing, change: RowChanges) -> None:
    """Delete the rows at the staged places."""
    await connection.exec_driver_sql(
        "CREATE TEMP TABLE IF NOT EXISTS refresh_gone (part oid, place tid) ON COMMIT DROP"
    )
    await connection.exec_driver_sql("TRUNCATE pg_temp.refresh_gone")
    places = prefetch(_places(writing.scratch, change.gone))
    await copy_in(
        connection,
        CopyTarget(TableName("pg_temp", "refresh_gone"), ["part", "place"], CopyFormat.TEXT),
        places,
        stall_seconds=context.limits.stall_seconds,
    )
    await connection.exec_driver_sql("ANALYZE pg_temp.refresh_gone")
    table = change.table
    target = (await own_rows(connection, [table.name]))[table.name]
    same_part = "t.tableoid = g.part AND " if table.target.partitioned else ""
    deleted = await connection.exec_driver_sql(
        f"DELETE FROM {target} AS t USING pg_temp.refresh_gone AS g WHERE {same_part}t.ctid = g.place"
    )
    if deleted.rowcount != change.updated + change.deleted:
        raise GaveUp(
            f"{change.updated + change.deleted} rows of {table.name} were to be deleted, and {deleted.rowcount} were",
            next_step="Find out whether a rule of the table changes what DELETE does, and run again.",
        )


def _places(scratch: Path, name: str) -> Iterator[bytes]:
    """Yield a scratch table's rows as COPY text."""
    encoder = TextEncoder()
    with adbc.connect(f"file:{scratch}") as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT part, place FROM {quote_sqlite(name)}")
        for batch in cursor.fetch_record_batch():
            yield encoder.rows(batch)


async def write_lines(
    context: RefreshContext,
    connection: AsyncConnection,
    writing: Writing,
    stats: Mapping[TableName, CopyStats],
) -> None:
    """Write into the ledger which rows the tables hold now. Call it in the transaction that writes them."""
    for change in writing.changes:
        if not change.total:
            continue
        rows = writing.rows[change.table.name]
        await loads.write_refreshed(connection, context.run, change.table.name, rows, stats[change.table.name])
    await loads.forget_rows(connection, context.run.migration, writing.emptied)
