"""
Reads and writes what a comparison has shown of large tables, so that a later refresh reads only what may have changed.

A line says: where the source's table has these pages, it holds the rows of this digest. It stays true whatever happens
to either side afterwards.
"""

from collections.abc import AsyncIterable, AsyncIterator, Collection

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger.migration import Migration
from migrator.ledger.schema import compared, compared_pages, holds
from migrator.names import TableName


class Compared(Struct, frozen=True):
    """What was compared of one table."""

    digest: str
    buckets: bytes
    """What the digest was made of."""
    definition: str
    """A hash of how the source's table was defined and stored: otherwise equal pages may hold other rows."""
    shape: str
    """A hash of what PostgreSQL's catalogs say of the target's table: otherwise equal rows may have other values."""


async def read(connection: AsyncConnection, migration: Migration) -> dict[TableName, Compared]:
    """Return what is known of the migration's tables."""
    if not await holds(connection, compared):
        return {}
    return {
        TableName(line.schema_name, line.table_name): Compared(line.digest, line.buckets, line.definition, line.shape)
        for line in await connection.execute(migration.lines(compared))
    }


async def pages(connection: AsyncConnection, migration: Migration, table: TableName) -> AsyncIterator[bytes]:
    """Yield the entries of a table's pages, in the order of its rows, as they were written."""
    lines = (
        sa.select(compared_pages.c.entries)
        .where(
            compared_pages.c.migration == migration.name,
            compared_pages.c.schema_name == table.schema,
            compared_pages.c.table_name == table.name,
        )
        .order_by(compared_pages.c.position)
    )
    async with connection.stream(lines) as stream:
        async for (entries,) in stream:
            yield entries


async def write(
    connection: AsyncConnection, migration: Migration, table: TableName, known: Compared, entries: AsyncIterable[bytes]
) -> None:
    """
    Write what is known of a table, with the ``entries`` of its pages, in place of what was known before.

    Call it in a transaction. A damaged source may end ``entries`` with SourceUnreadable.
    """
    await forget(connection, migration, table)
    of_table = {"migration": migration.name, "schema_name": table.schema, "table_name": table.name}
    await connection.execute(compared.insert().values(**of_table, **asdict(known)))
    position = 0
    async for piece in entries:
        await connection.execute(compared_pages.insert().values(**of_table, position=position, entries=piece))
        position += 1


async def forget(connection: AsyncConnection, migration: Migration, table: TableName) -> None:
    """Delete what is known of a table."""
    for lines in (compared_pages, compared):
        mine = (lines.c.migration == migration.name, lines.c.schema_name == table.schema)
        await connection.execute(lines.delete().where(*mine, lines.c.table_name == table.name))


async def shapes(connection: AsyncConnection, tables: Collection[TableName]) -> dict[TableName, str]:
    """
    Return for each ordinary table a hash of what the catalogs say of it and its columns.

    Two tables of one shape whose rows are the same hold the same values. A column that is renamed, or that is dropped
    and added again with a default, has other values without a row having changed (PostgreSQL, "ALTER TABLE"); so has
    one whose enum's values are renamed. Partitioned tables are left out.
    """
    ordered = list(tables)
    found = await connection.execute(sa.text(_SHAPES), {"names": [name.quoted for name in ordered]})
    return {ordered[line.place - 1]: line.shape for line in found}


_SHAPES = """
SELECT place, CAST(hashtextextended(concat_ws(' ', cluster, c.oid, columns), 0) AS text) AS shape
FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS given(name, place)
JOIN pg_class c ON c.oid = to_regclass(name) AND c.relkind = 'r'
CROSS JOIN (SELECT CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
                   THEN (SELECT system_identifier FROM pg_control_system()) END) AS server(cluster)
CROSS JOIN LATERAL (
    SELECT string_agg(concat_ws(' ', attnum, quote_ident(attname), atttypid, atttypmod, attcollation, attgenerated,
        (SELECT string_agg(quote_literal(enumlabel), ',' ORDER BY enumsortorder) FROM pg_enum
         WHERE enumtypid IN (t.oid, t.typelem, t.typbasetype))), ',' ORDER BY attnum) AS columns
    FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
) AS described
"""
