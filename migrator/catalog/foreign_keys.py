"""Reads the foreign keys of, and to, the target's tables and partitions, and whether the role may drop them."""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import MissingPrivilege
from migrator.names import TableName, quote_literal, quote_postgres


class ForeignKey(Struct, frozen=True):
    """A foreign key of one table to another."""

    table: TableName
    """The table that has the key: a requested table, its partition, or a table that refers to either."""
    name: str
    definition: str
    """The SQL after ADD CONSTRAINT. A name has no schema if the session's search path finds it."""
    comment: str | None
    columns: tuple[str, ...]
    parent: TableName
    """The table that the key refers to."""
    is_outside: bool
    """Whether the key's table is neither a requested table nor a partition of a requested table."""
    is_ours: bool
    """Whether the role owns the key's table, or is a member of the role that owns it."""
    leads_to_ours: bool
    """Whether the role owns the table that the key refers to, or is a member of the role that owns it."""

    def __str__(self) -> str:
        """Return the key's name and both tables, for messages."""
        return f"{self.name} of {self.table} (to {self.parent})"

    @property
    def drop(self) -> str:
        """The statement that drops the key."""
        return f"ALTER TABLE {self.table.quoted} DROP CONSTRAINT {quote_postgres(self.name)}"

    @property
    def restore(self) -> tuple[str, ...]:
        """The statements that restore the key and its comment."""
        name, table = quote_postgres(self.name), self.table.quoted
        statements = [f"ALTER TABLE {table} ADD CONSTRAINT {name} {self.definition}"]
        if self.comment is not None:
            statements.append(f"COMMENT ON CONSTRAINT {name} ON {table} IS {quote_literal(self.comment)}")
        return tuple(statements)


async def keys_of(connection: AsyncConnection, tables: Sequence[TableName]) -> list[ForeignKey]:
    """
    Return the foreign keys of, and to, ``tables`` and their partitions. Partitions need not be in ``tables``.

    If a partitioned table has a key, or a key refers to it, only the key of the partitioned table itself is returned:
    the keys of its partitions are dropped and restored together with it.
    """
    rows = await connection.execute(text(_KEYS), {"tables": [table.quoted for table in tables]})
    return [
        ForeignKey(
            TableName(row.schema_name, row.table_name),
            row.name,
            row.definition,
            row.comment,
            tuple(row.columns),
            TableName(row.parent_schema, row.parent_name),
            is_outside=row.is_outside,
            is_ours=row.is_ours,
            leads_to_ours=row.leads_to_ours,
        )
        for row in rows
    ]


async def refuse_those_of_others(connection: AsyncConnection, tables: Sequence[TableName]) -> None:
    """
    Raise MissingPrivilege if tables that the role doesn't own refer to ``tables`` that the role owns.

    The error names the foreign keys. Only the owner of a table can drop its key, and TRUNCATE refuses a table that a
    key of another table refers to (PostgreSQL, "ALTER TABLE", "TRUNCATE").
    """
    keys = [key for key in await keys_of(connection, tables) if key.leads_to_ours and not key.is_ours]
    if keys:
        listed = ", ".join(map(str, keys))
        statements = "; ".join(key.drop for key in keys)
        raise MissingPrivilege(
            f"foreign keys of tables that the target's role doesn't own refer to those to be filled: {listed}",
            next_step="Run as the owner of these tables, or GRANT the owning role to this one; or have the owner run "
            f"{statements} before the migration and add the keys again after it.",
            keys=[str(key) for key in keys],
        )


_KEYS = """
WITH RECURSIVE tree AS (
    SELECT CAST(name AS regclass)::oid AS oid FROM unnest(CAST(:tables AS text[])) AS listed(name)
    UNION
    SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
    JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
)
SELECT n.nspname AS schema_name, c.relname AS table_name, k.conname AS name,
       pg_get_constraintdef(k.oid) AS definition, obj_description(k.oid, 'pg_constraint') AS comment,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS part(attnum, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = part.attnum ORDER BY place) AS columns,
       pn.nspname AS parent_schema, p.relname AS parent_name,
       k.conrelid NOT IN (SELECT oid FROM tree) AS is_outside,
       pg_has_role(c.relowner, 'USAGE') AS is_ours, pg_has_role(p.relowner, 'USAGE') AS leads_to_ours
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
  AND (k.conrelid IN (SELECT oid FROM tree) OR k.confrelid IN (SELECT oid FROM tree))
ORDER BY 1, 2, 3
"""
