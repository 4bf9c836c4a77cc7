"""
Keeps rows that give way to the source's: each table's rows in a table of the ledger's schema, with a line about them.

The transaction that takes the rows away also keeps them, so no row is lost or kept twice, whenever the job is killed.
Types of the application are kept as text, so that the application can drop or change them.
"""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.triggers import triggers_disabled
from migrator.errors import RowsInTheWay
from migrator.ledger.migration import Migration
from migrator.ledger.run_ledger import RunLedger
from migrator.ledger.schema import kept, now
from migrator.names import LEDGER_SCHEMA, TableName, quote_literal, quote_postgres
from migrator.runtime.private_file import whole_file
from migrator.target.copy_out import copy_lines_out
from migrator.target.database import ROW_KEYS, own_rows


class KeptRows(Struct, frozen=True):
    """Rows of one table that gave way to the source's."""

    table: TableName
    rows: int
    kept_in: TableName
    """The table that holds them."""
    bring_back: str
    """The statement that inserts them again, except rows whose key is taken by then."""
    kept_at: datetime
    is_settled: bool
    """Whether the source's rows are all there, and the kept rows are those that the source doesn't hold."""
    merged: int = 0
    """The number of other rows that stay in the table, because the source doesn't hold their keys."""

    def line(self) -> str:
        """Return a line for the report."""
        noun = "row" if self.rows == 1 else "rows"
        which = "that the source doesn't hold gave way to its rows" if self.is_settled else "gave way to the source's"
        if self.merged:
            stayed = f"{self.table}: rows that only the target holds stay beside the source's: {self.merged}"
            return stayed + (f"; {self.rows} gave way, kept in {self.kept_in.quoted}" if self.rows else "")
        return f"{self.table}: {self.rows} {noun} {which}; kept in {self.kept_in.quoted} until `migrator forget`"


class _Column(Struct, frozen=True):
    """A column whose values are kept. Generated columns aren't kept."""

    name: str
    declared: str
    """The type, with its schema unless it is one of PostgreSQL's."""
    is_builtin: bool
    """Whether the type and the collation are PostgreSQL's own."""
    is_key: bool

    @property
    def quoted(self) -> str:
        return quote_postgres(self.name)

    @property
    def read(self) -> str:
        """SQL that reads the value to keep."""
        return self.quoted if self.is_builtin else f'CAST({self.quoted} AS text) COLLATE "default" AS {self.quoted}'


async def keep(connection: AsyncConnection, run: RunLedger, table: TableName, decision: str) -> None:
    """
    Keep all rows of a table. Call it in the transaction that takes them away, with the table locked against writers.

    ``decision`` is the word of ``on_existing_rows``. Until ``settle``, the source's own rows are kept as well.
    """
    own = (await own_rows(connection, [table]))[table]
    columns = await _columns(connection, table)
    values = {
        "migration": run.migration.name,
        "schema_name": table.schema,
        "table_name": table.name,
        "run_id": run.run_id,
        "decision": decision,
        "rows": 0,
        "kept_in": "",
        "bring_back": "",
    }
    number = (await connection.execute(kept.insert().values(values).returning(kept.c.id))).scalar_one()
    kept_in = TableName(LEDGER_SCHEMA, f"kept {number}")
    await connection.exec_driver_sql(
        f"CREATE TABLE {kept_in.quoted} AS SELECT {', '.join(column.read for column in columns)} FROM {own}"
    )
    line = {
        "rows": await _count(connection, kept_in),
        "kept_in": kept_in.name,
        "bring_back": _bring_back(table, kept_in, columns),
    }
    await connection.execute(kept.update().where(kept.c.id == number).values(line))


async def settle(connection: AsyncConnection, run: RunLedger, tables: Sequence[TableName]) -> list[KeptRows]:
    """
    Take kept rows out that the source holds, and return what remains. Call it when all rows of ``tables`` are there.

    A line about a table whose kept rows were all the source's is deleted. Does nothing for tables without kept rows.
    """
    settled = []
    for line in await _lines(connection, run.migration):
        if line.settled_at is not None or (table := TableName(line.schema_name, line.table_name)) not in tables:
            continue
        kept_in = TableName(LEDGER_SCHEMA, line.kept_in)
        own = (await own_rows(connection, [table]))[table]
        await connection.exec_driver_sql(_without_equal(own, kept_in, await _columns(connection, table)))
        merged = await _merge(connection, line, own) if line.decision == "keep" else 0
        rows = await _count(connection, kept_in)
        if rows == merged == 0:
            await _drop(connection, [line])
            continue
        await connection.execute(kept.update().where(kept.c.id == line.id).values(rows=rows, settled_at=now))
        entry = KeptRows(table, rows, kept_in, line.bring_back, line.kept_at, is_settled=True, merged=merged)
        settled.append(entry)
    return settled


async def kept_rows(connection: AsyncConnection, migration: Migration) -> list[KeptRows]:
    """Return what the migration has kept and nobody has dropped since, the oldest first."""
    return [
        KeptRows(
            TableName(line.schema_name, line.table_name),
            line.rows,
            TableName(LEDGER_SCHEMA, line.kept_in),
            line.bring_back,
            line.kept_at,
            is_settled=line.settled_at is not None,
            merged=await _count(connection, TableName(LEDGER_SCHEMA, line.merged_in)) if line.merged_in else 0,
        )
        for line in await _lines(connection, migration)
    ]


async def forget_kept(connection: AsyncConnection, migration: Migration) -> list[KeptRows]:
    """Drop all that the migration has kept, and return what it was."""
    gone = [entry for entry in await kept_rows(connection, migration) if entry.rows or not entry.merged]
    for line in await _lines(connection, migration):
        if line.merged_in is None:
            await _drop(connection, [line])
        else:  # verification has to know which rows stayed
            await connection.exec_driver_sql(f"TRUNCATE {TableName(LEDGER_SCHEMA, line.kept_in).quoted}")
            await connection.execute(kept.update().where(kept.c.id == line.id).values(rows=0))
    return gone


async def write_kept(connection: AsyncConnection, migration: Migration, path: Path) -> int:
    """
    Write all kept rows of the migration into a private file, one JSON object a line; return their number.

    The file replaces an earlier one. Without kept rows, no file is written. Raises OSError.
    """
    found = await kept_rows(connection, migration)
    if not found:
        return 0
    rows = 0
    with whole_file(path) as file:
        for entry in found:
            opening = quote_literal(json.dumps({"table": str(entry.table)}, ensure_ascii=False)[:-1] + ', "row": ')
            # A column of type json keeps the line breaks between its tokens; in its strings there can't be any.
            row = "translate(CAST(row_to_json(k) AS text), chr(9) || chr(10) || chr(13), '   ')"
            lines = f"SELECT {opening} || {row} || '}}' FROM {entry.kept_in.quoted} AS k"
            file.flush()
            rows += await copy_lines_out(connection, lines, file.buffer.write)
    return rows


class MergedRows(Struct, frozen=True):
    """Rows that only the target held, and that stay beside the source's."""

    table: TableName
    rows: int
    lost: int
    """The number of these rows that aren't in the table any more as they were."""


async def is_merging(connection: AsyncConnection) -> bool:
    """Return whether rows have stayed in any table, or will when all rows of the source are there."""
    return any(line.decision == "keep" for line in await _lines(connection))


async def merged_conditions(connection: AsyncConnection) -> dict[TableName, str]:
    """Return, for each table in which rows have stayed, the condition that is true for the source's rows alone."""
    lines = await _merged_lines(connection)
    return {TableName(line.schema_name, line.table_name): line.merged_where for line in lines}


async def merged_rows(connection: AsyncConnection, tables: Collection[TableName]) -> list[MergedRows]:
    """Return the rows that have stayed in these tables, each compared with what it was. Reads them."""
    found = []
    for line in await _merged_lines(connection):
        table, merged_in = TableName(line.schema_name, line.table_name), TableName(LEDGER_SCHEMA, line.merged_in)
        if table not in tables:
            continue
        own = (await own_rows(connection, [table]))[table]
        columns = await _columns(connection, table)
        same = " AND ".join(f"{k} IS NOT DISTINCT FROM {t}" for k, t in _as_text(columns))
        query = f"SELECT count(*) FROM {merged_in.quoted} AS k WHERE NOT EXISTS (SELECT FROM {own} AS t WHERE {same})"
        lost = (await connection.exec_driver_sql(query)).scalar_one()
        found.append(MergedRows(table, await _count(connection, merged_in), int(lost)))
    return found


async def unmerge(connection: AsyncConnection, migration: Migration, tables: Collection[TableName]) -> None:
    """Count the rows of these tables, which have been emptied, among those that gave way: none of them comes back."""
    for line in await _merged_lines(connection):
        if line.migration != migration.name or TableName(line.schema_name, line.table_name) not in tables:
            continue
        kept_in, merged_in = (TableName(LEDGER_SCHEMA, name).quoted for name in (line.kept_in, line.merged_in))
        await connection.exec_driver_sql(f"INSERT INTO {kept_in} SELECT * FROM {merged_in}")
        await connection.exec_driver_sql(f"DROP TABLE {merged_in}")
        rows = await _count(connection, TableName(LEDGER_SCHEMA, line.kept_in))
        values = {"rows": rows, "merged_in": None, "merged_where": None}
        await connection.execute(kept.update().where(kept.c.id == line.id).values(values))
    # What was kept for the merge, but not merged yet, doesn't come back either.
    for line in await _lines(connection, migration):
        if TableName(line.schema_name, line.table_name) in tables:
            await connection.execute(kept.update().where(kept.c.id == line.id).values(decision="replace"))


async def _merge(connection: AsyncConnection, line: sa.Row[Any], own: str) -> int:
    """Insert the kept rows whose key the table lacks, and return their number. Raises RowsInTheWay."""
    table, kept_in = TableName(line.schema_name, line.table_name), TableName(LEDGER_SCHEMA, line.kept_in)
    merged_in = TableName(LEDGER_SCHEMA, f"merged {line.id}")
    columns = await _columns(connection, table)
    key = [column for column in columns if column.is_key]
    same_key = " AND ".join(f"{k} = {t}" for k, t in _as_text(key))
    lacking = f"NOT EXISTS (SELECT FROM {own} AS t WHERE {same_key})"
    await connection.exec_driver_sql(
        f"CREATE TABLE {merged_in.quoted} AS SELECT * FROM {kept_in.quoted} AS k WHERE {lacking}"
    )
    rows = await _count(connection, merged_in)
    if rows == 0:
        await connection.exec_driver_sql(f"DROP TABLE {merged_in.quoted}")
        return 0
    await connection.exec_driver_sql(f"DELETE FROM {kept_in.quoted} AS k WHERE {lacking}")
    async with triggers_disabled(connection, [table]):
        inserted = (await connection.exec_driver_sql(_bring_back(table, merged_in, columns))).rowcount
    if inserted != rows:
        raise RowsInTheWay(
            f"{rows - inserted} of the {rows} rows that only {table} holds can't stay: a unique key of theirs, other "
            "than the primary key, is that of a row of the source",
            next_step=f"Give --on-existing-rows={table.name}:replace and --restart, or change those rows first.",
            tables={str(table): rows - inserted},
        )
    outer = " AND ".join(
        f"CAST(kept_row.{column.quoted} AS text) = CAST({quote_postgres(table.name)}.{column.quoted} AS text)"
        for column in key
    )
    values = {
        "merged_in": merged_in.name,
        "merged_where": f"NOT EXISTS (SELECT FROM {merged_in.quoted} AS kept_row WHERE {outer})",
    }
    await connection.execute(kept.update().where(kept.c.id == line.id).values(values))
    return rows


def _as_text(columns: Sequence[_Column]) -> list[tuple[str, str]]:
    """Return each column as text, of the kept row and of the table's row."""
    return [(f"CAST(k.{column.quoted} AS text)", f"CAST(t.{column.quoted} AS text)") for column in columns]


async def _merged_lines(connection: AsyncConnection) -> list[sa.Row[Any]]:
    return [line for line in await _lines(connection) if line.merged_in is not None]


async def _lines(connection: AsyncConnection, migration: Migration | None = None) -> list[sa.Row[Any]]:
    """Return the lines of one migration, or of all, the oldest first."""
    if not await connection.scalar(text("SELECT to_regclass('migrator.kept') IS NOT NULL")):
        return []  # a ledger of an earlier version
    lines = migration.lines(kept) if migration else kept.select()
    return list((await connection.execute(lines.order_by(kept.c.id))).all())


async def _drop(connection: AsyncConnection, lines: Sequence[sa.Row[Any]]) -> None:
    for line in lines:
        for name in filter(None, (line.kept_in, line.merged_in)):
            await connection.exec_driver_sql(f"DROP TABLE IF EXISTS {TableName(LEDGER_SCHEMA, name).quoted}")
        await connection.execute(kept.delete().where(kept.c.id == line.id))


async def _count(connection: AsyncConnection, table: TableName) -> int:
    return int((await connection.exec_driver_sql(f"SELECT count(*) FROM {table.quoted}")).scalar_one())


async def _columns(connection: AsyncConnection, table: TableName) -> list[_Column]:
    rows = await connection.execute(text(_COLUMNS), {"table": table.quoted, "schema": table.schema})
    return [_Column(row.attname, row.declared, row.is_builtin, row.is_key) for row in rows]


def _bring_back(table: TableName, kept_in: TableName, columns: Sequence[_Column]) -> str:
    names = ", ".join(column.quoted for column in columns)
    values = ", ".join(f"CAST({column.quoted} AS {column.declared})" for column in columns)
    return (
        f"INSERT INTO {table.quoted} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {kept_in.quoted} "
        "ON CONFLICT DO NOTHING"
    )


def _without_equal(own: str, kept_in: TableName, columns: Sequence[_Column]) -> str:
    """Return the statement that deletes kept rows which the table ``own`` holds as well."""
    key = [column for column in columns if column.is_key]
    # Text, because some types have no equality, and because the equality of others is coarser than their text.
    same = " AND ".join(
        f"CAST(k.{column.quoted} AS text) IS NOT DISTINCT FROM CAST(t.{column.quoted} AS text)" for column in columns
    )
    if key:
        joined = " AND ".join(f"CAST(k.{column.quoted} AS text) = CAST(t.{column.quoted} AS text)" for column in key)
        return f"DELETE FROM {kept_in.quoted} AS k USING {own} AS t WHERE {joined} AND {same}"
    # Without a key, a row may be there several times: as many of its copies are deleted as the table holds.
    listed = ", ".join(f"CAST({column.quoted} AS text)" for column in columns)
    return (
        f"DELETE FROM {kept_in.quoted} WHERE ctid IN (SELECT k.place FROM "
        f"(SELECT ctid AS place, row_text, row_number() OVER (PARTITION BY row_text) AS copy FROM "
        f"(SELECT ctid, CAST(ROW({listed}) AS text) AS row_text FROM {kept_in.quoted}) AS kept_rows) AS k "
        f"JOIN (SELECT CAST(ROW({listed}) AS text) AS row_text, count(*) AS copies FROM {own} GROUP BY 1) AS t "
        "ON t.row_text = k.row_text AND k.copy <= t.copies)"
    )


_COLUMNS = f"""
SELECT a.attname,
       CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN format_type(a.atttypid, a.atttypmod)
            ELSE quote_ident(n.nspname) || '.' || quote_ident(coalesce(e.typname, t.typname))
                 || CASE WHEN e.oid IS NOT NULL THEN '[]' ELSE '' END END AS declared,
       t.typnamespace = 'pg_catalog'::regnamespace
           AND coalesce(l.collnamespace = 'pg_catalog'::regnamespace, true) AS is_builtin,
       a.attnum = ANY (coalesce((k.indkey::int2[])[0:k.indnkeyatts - 1], ARRAY[]::int2[])) AS is_key
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_type e ON e.typarray = t.oid
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN ({ROW_KEYS}) AS k ON k.indrelid = a.attrelid
WHERE a.attrelid = CAST(:table AS regclass) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
"""
