"""
Reads and writes which rows are in the target: copied tables, copied chunks, and remaining chunks.

The transaction that copies a chunk's rows also fills the chunk's line. So the line and the rows always agree.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct, field
from msgspec.structs import asdict
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import GaveUp
from migrator.ledger import kept, schema, takeover
from migrator.ledger.migration import Migration
from migrator.ledger.run_ledger import RunLedger
from migrator.ledger.schema import LEFT_OUT, chunks, now, seeded, state, tables
from migrator.ledger.state import COMPLETED, READY, REFRESHED, REHEARSED, SOURCE
from migrator.names import TableName, names_bound
from migrator.source.chunks import Chunk
from migrator.target.database import Target, own_rows, row_counts
from migrator.target.glances import glance
from migrator.target.lock_room import lock_room

_XID_VALUES = 1 << 32
"""Number of values of an ``xmin``, which has 32 bits; a transaction's number has 64."""

_own_transaction = sa.cast(sa.cast(sa.func.pg_current_xact_id(), sa.Text), sa.BigInteger)


class CopiedTable(Struct, frozen=True):
    """A table whose rows are in the target."""

    name: TableName
    run_id: UUID
    rows: int
    bytes: int
    seconds: float
    digest: str | None


class CopyStats(Struct, frozen=True):
    """The rows, bytes and seconds of one chunk, or the sums of several."""

    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0

    def __add__(self, other: "CopyStats") -> "CopyStats":
        """Return the sums of rows, bytes and seconds."""
        return CopyStats(self.rows + other.rows, self.bytes + other.bytes, self.seconds + other.seconds)


class CopyProgress(Struct, frozen=True):
    """How far a table is copied whose copy has begun."""

    chunks: int = 0
    """The number of chunks that are in the target."""
    brought: CopyStats = CopyStats()
    """The sums over these chunks."""
    left: Mapping[int, Chunk] = field(default_factory=dict)
    """The chunks that remain, by their position."""


async def write_chunks(
    connection: AsyncConnection, run: RunLedger, table: TableName, planned: Mapping[int, Chunk]
) -> None:
    """Write the chunks in which a table will be copied. Call it in the transaction that empties the table."""
    lines = [
        _of(run.migration, table)
        | {"position": position, "run_id": run.run_id, "after": chunk.after, "last": chunk.last}
        for position, chunk in planned.items()
    ]
    await connection.execute(chunks.insert(), lines)


async def write_chunk(
    connection: AsyncConnection, run: RunLedger, table: TableName, position: int, stats: CopyStats
) -> None:
    """
    Write that a chunk's rows are copied. Call it in the transaction that copies them.

    Raises GaveUp if the rows are in the target already because another run has copied them.
    """
    conditions = _matches(chunks, run.migration, table)
    line = chunks.update().where(*conditions, chunks.c.position == position, chunks.c.copied_at.is_(None))
    written = await connection.execute(
        line.values(
            run_id=run.run_id,
            rows=stats.rows,
            bytes=stats.bytes,
            seconds=stats.seconds,
            transaction=_own_transaction,
            copied_at=now,
        )
    )
    if written.rowcount != 1:
        raise GaveUp(
            f"chunk {position} of {table} is not this run's to copy: another run has copied it or taken it back",
            next_step="Wait for the other run to end; `migrator status` shows how far it is.",
        )


async def begun(connection: AsyncConnection, migration: Migration) -> dict[TableName, CopyProgress]:
    """Return the progress of each table whose copy the migration has begun, complete tables included."""
    chunk_lines = (await connection.execute(migration.lines(chunks).order_by(chunks.c.position))).all()
    lines: dict[TableName, list[sa.Row[Any]]] = {}
    for row in chunk_lines:
        lines.setdefault(TableName(row.schema_name, row.table_name), []).append(row)
    return {name: _begun(rows) for name, rows in lines.items()}


def _begun(lines: Sequence[sa.Row[Any]]) -> CopyProgress:
    copied = [line for line in lines if line.copied_at is not None]
    remaining = {line.position: Chunk(line.after, line.last) for line in lines if line.copied_at is None}
    stats = sum((CopyStats(line.rows, line.bytes, line.seconds) for line in copied), CopyStats())
    return CopyProgress(len(copied), stats, remaining)


class LoadedRows(Struct, frozen=True):
    """How many rows were copied into a table, and by which transactions."""

    rows: int
    transactions: tuple[int, ...]


async def loaded(connection: AsyncConnection, migration: Migration) -> dict[TableName, LoadedRows]:
    """Return the rows that the migration has copied into each table, whether the table is complete or not."""
    lines = (await connection.execute(migration.lines(chunks))).all()
    rows_of: dict[TableName, LoadedRows] = {}
    for row in lines:
        name = TableName(row.schema_name, row.table_name)
        so_far = rows_of.get(name, LoadedRows(0, ()))
        transactions = () if row.transaction is None else (row.transaction,)
        rows_of[name] = LoadedRows(so_far.rows + (row.rows or 0), so_far.transactions + transactions)
    return rows_of


async def forget(connection: AsyncConnection, migration: Migration, names: Sequence[TableName]) -> None:
    """Delete the lines about tables that were emptied, and the facts about the source and the completion."""
    await forget_rows(connection, migration, names)
    facts = state.c.name.in_([SOURCE, COMPLETED, LEFT_OUT, READY, REHEARSED, REFRESHED])
    await connection.execute(state.delete().where(state.c.migration == migration.name, facts))


async def forget_rows(connection: AsyncConnection, migration: Migration, names: Sequence[TableName]) -> None:
    """Delete the lines about tables whose rows are gone. Such tables count as not begun."""
    bound = names_bound(names)
    if not names:
        return
    await kept.unmerge(connection, migration, names)
    # Seeded rows belong to no single migration: they are gone, whichever migration has recorded them.
    await connection.execute(sa.text(_FORGET.format(table="seeded", whose="")), bound)
    for table in ("chunks", "tables", "carried", "compared", "compared_pages"):
        of_migration = _FORGET.format(table=table, whose="l.migration = :migration AND")
        await connection.execute(sa.text(of_migration), bound | {"migration": migration.name})


_FORGET = """
DELETE FROM migrator.{table} l
USING unnest(CAST(:schemas AS text[]), CAST(:names AS text[])) AS t (schema_name, table_name)
WHERE {whose} (l.schema_name, l.table_name) = (t.schema_name, t.table_name)
"""


async def write_refreshed(
    connection: AsyncConnection, run: RunLedger, table: TableName, rows: int, sent: CopyStats
) -> None:
    """
    Write that a loaded table holds ``rows`` rows now, some of which this transaction has written.

    ``sent`` counts what was sent. The digest of the table is not known until it has been compared.
    """
    mine = _matches(tables, run.migration, table)
    before = sa.select(tables.c.rows).where(*mine).scalar_subquery()
    lines = sa.select(sa.func.max(chunks.c.position) + 1).where(*_matches(chunks, run.migration, table))
    # The numbers of all chunks add up to the rows of the table: this one's may be negative.
    line = _of(run.migration, table) | {"position": lines.scalar_subquery(), "run_id": run.run_id}
    amounts = {"rows": rows - before, "bytes": sent.bytes, "seconds": sent.seconds}
    await connection.execute(chunks.insert().values(**line, **amounts, transaction=_own_transaction, copied_at=now))
    changed = {"rows": rows, "bytes": tables.c.bytes + sent.bytes, "seconds": tables.c.seconds + sent.seconds}
    changed |= {"run_id": run.run_id, "copied_at": now, "digest": None, "verified_at": None}
    await connection.execute(tables.update().where(*mine).values(changed))


async def write_verified(connection: AsyncConnection, migration: Migration, digests: Mapping[TableName, str]) -> None:
    """Write that tables were compared and are equal, with the digest that both databases gave."""
    if digests:
        bound = names_bound(list(digests)) | {"digests": list(digests.values())}
        await connection.execute(sa.text(_VERIFIED), {"migration": migration.name, **bound})


_VERIFIED = """
UPDATE migrator.tables l SET digest = t.digest, verified_at = clock_timestamp()
FROM unnest(CAST(:schemas AS text[]), CAST(:names AS text[]), CAST(:digests AS text[]))
    AS t (schema_name, table_name, digest)
WHERE l.migration = :migration AND (l.schema_name, l.table_name) = (t.schema_name, t.table_name)
"""


async def copied(connection: AsyncConnection, migration: Migration) -> dict[TableName, CopiedTable]:
    """Return the tables that the migration has copied, also in earlier runs."""
    lines = (await connection.execute(migration.lines(tables))).all()
    return {
        name: CopiedTable(name, row.run_id, row.rows, row.bytes, row.seconds, row.digest)
        for row in lines
        for name in (TableName(row.schema_name, row.table_name),)
    }


class Seed(Struct, frozen=True):
    """The seeded rows of one table."""

    rows: int
    content: str | None
    """A hash of all values; None in a ledger of an earlier version, which stored only the number of rows."""


async def write_seeded(connection: AsyncConnection, migration: Migration, seeds: Mapping[TableName, Seed]) -> None:
    """Write which rows the application's migrations have put into each table."""
    if seeds:
        lines = [_of(migration, table) | asdict(seed) for table, seed in seeds.items()]
        await connection.execute(insert(seeded).on_conflict_do_nothing(), lines)


async def seeds(connection: AsyncConnection) -> dict[TableName, Seed]:
    """
    Return the rows that the application's migrations have put into tables of an empty schema.

    The result holds the seeded rows of all migrations in the ledger: if two of them go into one schema, the first one
    creates the tables of both.
    """
    lines = (await connection.execute(sa.select(seeded))).all()
    return {TableName(row.schema_name, row.table_name): Seed(row.rows, row.content) for row in lines}


def _of(migration: Migration, table: TableName) -> dict[str, object]:
    """Return the columns that assign a line to a migration and a table."""
    return {"migration": migration.name, "schema_name": table.schema, "table_name": table.name}


def _matches(lines: sa.Table, migration: Migration, table: TableName) -> tuple[sa.ColumnElement[bool], ...]:
    of_migration = lines.c.migration == migration.name
    return of_migration, lines.c.schema_name == table.schema, lines.c.table_name == table.name


async def seeds_in(connection: AsyncConnection, tables: Sequence[TableName]) -> dict[TableName, Seed]:
    """Return the number and the hash of the rows of each table that is not empty. Reads all its rows."""
    counts = await row_counts(connection, tables)
    row_sources = await own_rows(connection, list(counts))
    seeds: dict[TableName, Seed] = {}
    for names in (await lock_room(connection, list(counts))).few(list(counts)):
        async with glance(connection):
            seeds |= {name: Seed(counts[name], await _content(connection, row_sources[name])) for name in names}
    return seeds


async def untouched(connection: AsyncConnection, seeds: Mapping[TableName, Seed]) -> dict[TableName, int]:
    """Return the number of rows of each table that holds exactly its seeded rows."""
    present = await seeds_in(connection, [name for name, seed in seeds.items() if seed.content is not None])
    return {name: seed.rows for name, seed in present.items() if seed == seeds[name]}


async def _content(connection: AsyncConnection, rows: str) -> str:
    # A sum doesn't depend on the order of the rows. The hash's seed is cast to bigint: for a plain 0, PostgreSQL would
    # prefer a function of the application with the same name and an int parameter.
    result = await connection.exec_driver_sql(
        "SELECT coalesce(pg_catalog.sum(pg_catalog.hashtextextended(CAST(ROW(one.*) AS text), CAST(0 AS bigint))), 0)"
        f"::text FROM {rows} AS one"
    )
    return str(result.scalar())


class KnownRows(Struct, frozen=True):
    """Rows that may be in the target because the ledger knows them."""

    loaded: frozenset[TableName]
    """Tables that this migration has copied completely."""
    seeded: Mapping[TableName, int]
    """The number of seeded rows, or of rows copied so far, for each table."""
    begun: frozenset[TableName] = frozenset()
    """Tables that this migration has begun to fill."""


async def known_rows(target: Target, migration: Migration) -> KnownRows:
    """Return the rows that may be in the target according to the ledger."""
    async with target.connect() as connection:
        if not await schema.exists(connection):
            return KnownRows(frozenset(), {})
        partial_rows = {name: progress.brought.rows for name, progress in (await begun(connection, migration)).items()}
        if await takeover.is_unnamed(connection):
            seeded = {}  # an earlier version stored only their number; the rows are compared with the source's
        else:
            seeded = await untouched(connection, await seeds(connection))
        loaded = frozenset(await copied(connection, migration))
        return KnownRows(loaded, seeded | partial_rows, frozenset(partial_rows))


async def touched_since(
    connection: AsyncConnection, present: Mapping[TableName, str], tables: Mapping[TableName, LoadedRows]
) -> dict[str, str]:
    """
    Return the tables that have changed since they were loaded, each with the numbers of changed rows in words.

    ``present`` has the SQL that names each table's own rows; all these tables are read. ``tables`` has the rows and
    transactions that the ledger knows.
    """
    touched: dict[str, str] = {}
    stayed = await kept.merged_conditions(connection)
    for names in (await lock_room(connection, list(present))).few(list(present)):
        async with glance(connection):
            for name in names:
                loaded = tables[name]
                transactions = [str(number % _XID_VALUES) for number in loaded.transactions]
                counted = await connection.exec_driver_sql(
                    "SELECT count(*) FILTER (WHERE xmin = ANY (CAST(CAST($1 AS text[]) AS xid[]))), count(*) "
                    f"FROM {present[name]}",
                    (transactions,),
                )
                unchanged, rows = (int(number) for number in counted.one())
                if name in stayed:
                    touched[str(name)] = "rows that only the target held have stayed there (on_existing_rows = keep)"
                    continue
                if (unchanged, rows) != (loaded.rows, loaded.rows):
                    touched[str(name)] = (
                        f"{rows - unchanged} new or changed, {loaded.rows - unchanged} changed or removed"
                    )
    return touched
