"""
Reads the target's unique and foreign keys from the catalogs.

PostgreSQL builds the keys after the load, and stops at the first row that breaks a key. ``preflight/key_violations.py``
finds all rows that break keys, in the source, before anything is written.
"""

from collections import defaultdict

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import TableName


class UniqueKey(Struct, frozen=True):
    """A primary key, a unique constraint or a plain unique index."""

    name: str
    columns: tuple[str, ...]
    nulls_distinct: bool

    def words(self) -> str:
        """Return, in words, why a value must not occur twice."""
        return f"and {self.name} of the target is unique ({', '.join(self.columns)})"


class ForeignKey(Struct, frozen=True):
    """A foreign key. Each of its ``columns`` refers to the column at the same position in ``parent_columns``."""

    name: str
    columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]
    whole: bool = False
    """Whether the key is MATCH FULL: either all of its columns are NULL, or none is."""


class Keys(Struct, frozen=True):
    """The keys of one table."""

    unique: tuple[UniqueKey, ...] = ()
    foreign: tuple[ForeignKey, ...] = ()


_UNIQUE = """
SELECT c.relname, i.relname AS name, {nulls_distinct} AS nulls_distinct,
       ARRAY(SELECT a.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS part(attnum, place)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = part.attnum
             WHERE part.place <= x.indnkeyatts ORDER BY part.place) AS columns
FROM pg_index x
JOIN pg_class c ON c.oid = x.indrelid
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL AND NOT c.relispartition
ORDER BY c.relname, i.relname
"""

# A key that isn't validated is left out: it is restored as NOT VALID, and PostgreSQL doesn't look for parents.
_FOREIGN = """
SELECT c.relname, k.conname AS name, k.confmatchtype = 'f' AS whole, p.relname AS parent, pn.nspname AS parent_schema,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS part(attnum, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = part.attnum ORDER BY part.place) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS part(attnum, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = part.attnum ORDER BY part.place)
           AS parent_columns
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid
JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE n.nspname = :schema AND k.contype = 'f' AND k.conparentid = 0 AND k.convalidated
ORDER BY c.relname, k.conname
"""


async def keys_of(connection: AsyncConnection, schema: str) -> dict[TableName, Keys]:
    """
    Return the keys of the tables of ``schema``, for each table that has keys.

    Partial indexes and indexes of expressions are not included, because only PostgreSQL can judge by them.
    """
    server = int(str(await connection.scalar(text("SELECT current_setting('server_version_num')"))))
    # NULLS NOT DISTINCT came with version 15.
    nulls = "NOT x.indnullsnotdistinct" if server >= 150_000 else "true"  # noqa: PLR2004
    bound = {"schema": schema}
    unique: dict[TableName, list[UniqueKey]] = defaultdict(list)
    for row in (await connection.execute(text(_UNIQUE.format(nulls_distinct=nulls)), bound)).all():
        table = TableName(schema, row.relname)
        unique[table].append(UniqueKey(row.name, tuple(row.columns), row.nulls_distinct))
    foreign: dict[TableName, list[ForeignKey]] = defaultdict(list)
    for row in (await connection.execute(text(_FOREIGN), bound)).all():
        table, parent = TableName(schema, row.relname), TableName(row.parent_schema, row.parent)
        foreign[table].append(ForeignKey(row.name, tuple(row.columns), parent, tuple(row.parent_columns), row.whole))
    return {table: Keys(tuple(unique[table]), tuple(foreign[table])) for table in [*unique, *foreign]}
