"""
Reads the target's tables from the catalogs, with every property that decides how values are carried.

There is one query for each subject, with bound values. SQLAlchemy's reflection isn't used, because it leaves out some
of these properties (type modifiers, identity, domains, enum labels).
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import ConfigurationError
from migrator.names import TableName, holds_no_application
from migrator.sessions.connections import Connections
from migrator.target.glances import glance
from migrator.target.lock_room import lock_room
from migrator.target.schema import TargetColumn, TargetDatabase, TargetTable


class Target(Connections):
    """The target: a PostgreSQL database, its sessions, and its description."""

    async def schema_of_application(self, connection: AsyncConnection, requested: str | None) -> str:
        """
        Return the schema whose tables are filled: the ``requested`` schema, or the first schema on the search path.

        Raises ConfigurationError if the schema doesn't exist, or belongs to the job itself or the server.
        """
        schema = await connection.scalar(
            text("SELECT nspname FROM pg_namespace WHERE nspname = coalesce(:requested, current_schema())"),
            {"requested": requested},
        )
        if schema is None:
            missing = f"schema {requested!r}" if requested else "any schema of the role's search_path"
            raise ConfigurationError(
                f"the target has no {missing}", next_step="Create it, or name another one with --target-schema."
            )
        if holds_no_application(schema):
            raise ConfigurationError(
                f"the schema {schema!r} holds no application's tables: it is the job's own, or the server's",
                next_step="Name the application's schema with --target-schema.",
            )
        return str(schema)

    async def describe(self, connection: AsyncConnection, schema: str) -> TargetDatabase:
        """Return the tables of ``schema`` that can take rows, with all that decides how values are carried."""
        bound = {"schema": schema}
        labels = _grouped((await connection.execute(text(_ENUM_LABELS))).all())
        columns = _grouped((await connection.execute(text(_COLUMNS), bound)).all())
        keys = _grouped((await connection.execute(text(_KEYS), bound)).all())
        tables = (await connection.execute(text(_TABLES), bound)).all()
        return TargetDatabase(
            schema,
            tuple(
                TargetTable(
                    TableName(schema, row.relname),
                    tuple(_column(column, labels) for column in columns.get(row.oid, ())),
                    tuple(key.attname for key in keys.get(row.oid, ())),
                    partitioned=row.partitioned,
                    owned=row.owned,
                )
                for row in tables
            ),
        )


async def own_rows(connection: AsyncConnection, tables: Sequence[TableName]) -> dict[TableName, str]:
    """
    Return for each table how a statement names it so that exactly its own rows are meant.

    A table that doesn't exist is left out. The name alone also includes the tables that inherit from the table, whose
    rows are not its own (PostgreSQL, "Inheritance"), so ONLY stands before the name. The rows of partitions are the
    table's own, and ONLY would exclude them, so a partitioned table has no ONLY.
    """
    names = {"names": [name.quoted for name in tables]}
    kinds = {row.place: row.relkind for row in await connection.execute(text(_KINDS), names)}
    return {
        name: name.quoted if kinds[place] == "p" else f"ONLY {name.quoted}"
        for place, name in enumerate(tables, 1)
        if place in kinds
    }


async def row_counts(connection: AsyncConnection, tables: Sequence[TableName]) -> dict[TableName, int]:
    """
    Return the number of each table's own rows. Empty tables are left out, and are not scanned.

    Most tables that are asked about have no page yet, which one statement says of all of them.
    """
    counts: dict[TableName, int] = {}
    bound = {"names": [name.quoted for name in tables]}
    bare = {tables[row.place - 1] for row in await connection.execute(text(_WITHOUT_PAGES), bound)}
    if not (others := [name for name in tables if name not in bare]):
        return counts
    spelled = await own_rows(connection, others)
    groups = list((await lock_room(connection, list(spelled))).few(list(spelled)))
    for group in groups:
        async with glance(connection) if len(groups) > 1 else nullcontext():
            union = " UNION ALL ".join(
                f"SELECT {place} WHERE EXISTS (SELECT FROM {spelled[name]})" for place, name in enumerate(group)
            )
            for (place,) in (await connection.exec_driver_sql(union)).all():
                count = await connection.exec_driver_sql(f"SELECT count(*) FROM {spelled[group[place]]}")
                counts[group[place]] = count.scalar_one()
    return counts


_KINDS = """
SELECT place, relkind::text AS relkind FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS given(name, place)
JOIN pg_class ON oid = to_regclass(name)
"""


# A table of another access method may keep its rows elsewhere, and a partitioned table has none of its own. Without
# MATERIALIZED the server may measure all tables of the database first, and wait for those that somebody has locked.
_WITHOUT_PAGES = """
WITH heaps AS MATERIALIZED (
    SELECT place, c.oid FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS given(name, place)
    JOIN pg_class c ON c.oid = to_regclass(name) JOIN pg_am a ON a.oid = c.relam
    WHERE c.relkind = 'r' AND a.amname = 'heap'
)
SELECT place FROM heaps WHERE pg_relation_size(oid) = 0
"""


def _grouped(rows: Sequence[Row[Any]]) -> dict[int, list[Row[Any]]]:
    grouped: dict[int, list[Row[Any]]] = {}
    for row in rows:
        grouped.setdefault(row[0], []).append(row)
    return grouped


def _column(row: Row[Any], labels: dict[int, list[Row[Any]]]) -> TargetColumn:
    return TargetColumn(
        name=row.attname,
        type_name=row.type_name,
        declared=row.declared,
        not_null=row.not_null,
        has_default=row.has_default,
        identity=row.identity,
        generated=row.generated,
        enum_labels=tuple(label.enumlabel for label in labels.get(row.base_oid, ())),
        modifier=row.modifier,
        domain=row.domain,
        deterministic=row.deterministic,
        generation=row.generation,
        folded=row.folded,
        trigger=row.trigger,
    )


_TABLES = """
SELECT c.oid, c.relname, c.relkind = 'p' AS partitioned, pg_has_role(c.relowner, 'USAGE') AS owned
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname
"""

FILLS_TSVECTOR = """
g.tgenabled IN ('O', 'A') AND g.tgtype & 7 = 7 AND g.tgqual IS NULL AND g.tgfoid IN (
    SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace
    AND p.proname IN ('tsvector_update_trigger', 'tsvector_update_trigger_column'))
"""
"""
A condition, in SQL over the row ``g`` of ``pg_trigger``: whether the trigger only fills a column of type ``tsvector``.

These two functions of PostgreSQL's own compute the column that their first argument names, and change nothing else
(PostgreSQL, "Triggers for Automatic Updates"). The numbers are TRIGGER_TYPE_ROW, _BEFORE and _INSERT of pg_trigger.h.
"""

# A domain over a domain is followed to the base type; the first modifier on the way applies. A type of the application
# may have the same name as a type of PostgreSQL. To distinguish them, its schema stands before its name.
_COLUMNS = f"""
WITH RECURSIVE base(oid, at, modifier, not_null) AS (
    SELECT oid, oid, -1, false FROM pg_type
    UNION ALL
    SELECT base.oid, t.typbasetype, CASE WHEN base.modifier >= 0 THEN base.modifier ELSE t.typtypmod END,
           base.not_null OR t.typnotnull
    FROM base JOIN pg_type t ON t.oid = base.at WHERE t.typtype = 'd'
)
SELECT a.attrelid, a.attname, bottom.oid AS base_oid,
       CASE WHEN bottom.typnamespace <> 'pg_catalog'::regnamespace AND EXISTS (
           SELECT FROM pg_type b WHERE b.typname = bottom.typname AND b.typnamespace = 'pg_catalog'::regnamespace
       ) THEN format('%s.%s', bottom.typnamespace::regnamespace, bottom.typname) ELSE bottom.typname END AS type_name,
       a.atttypid <> bottom.oid AS domain,
       format_type(a.atttypid, a.atttypmod) AS declared,
       CASE WHEN a.atttypmod >= 0 THEN a.atttypmod ELSE base.modifier END AS modifier,
       a.attnotnull OR base.not_null AS not_null, a.atthasdef AS has_default,
       a.attidentity::text AS identity, a.attgenerated::text <> '' AS generated,
       coalesce(l.collisdeterministic, true) AS deterministic,
       CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) ELSE '' END AS generation,
       EXISTS (
           SELECT FROM pg_index x CROSS JOIN generate_series(1, x.indnkeyatts) AS place
           WHERE x.indrelid = a.attrelid AND x.indisunique AND x.indisvalid AND x.indexprs IS NOT NULL
           AND x.indpred IS NULL AND pg_get_indexdef(x.indexrelid, place, true) IN (
               SELECT format(shape, word, a.attname)
               FROM unnest(ARRAY['lower', 'upper']) AS word, unnest(ARRAY['%s(%I)', '%s(%I::text)']) AS shape)
       ) AS folded,
       CASE WHEN bottom.typname = 'tsvector' THEN coalesce((
           SELECT min(g.tgname::text) FROM pg_trigger g WHERE g.tgrelid = a.attrelid AND ({FILLS_TSVECTOR})
           AND substring(g.tgargs FROM 1 FOR octet_length(a.attname::text) + 1)
               = convert_to(a.attname::text, getdatabaseencoding()) || '\\x00'::bytea), '') ELSE '' END AS trigger
FROM pg_attribute a
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN base ON base.oid = a.atttypid
JOIN pg_type bottom ON bottom.oid = base.at AND bottom.typtype <> 'd'
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

ROW_KEYS = """
SELECT DISTINCT ON (x.indrelid) x.indrelid, x.indkey, x.indnkeyatts
FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p') AND x.indisunique AND x.indisvalid
  AND x.indpred IS NULL AND x.indexprs IS NULL
  AND (x.indisprimary OR x.indimmediate AND NOT EXISTS (
      SELECT FROM unnest(x.indkey) WITH ORDINALITY AS part(attnum, place)
      JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = part.attnum
      WHERE place <= x.indnkeyatts AND NOT a.attnotnull))
ORDER BY x.indrelid, x.indisprimary DESC, x.indnkeyatts, x.indexrelid
"""
"""
The index of each table of ``:schema`` whose columns tell its rows apart.

Without a primary key, a unique index of NOT NULL columns does that just as well.
"""

_KEYS = f"""
SELECT x.indrelid, a.attname
FROM ({ROW_KEYS}) AS x
CROSS JOIN unnest(x.indkey) WITH ORDINALITY AS part(attnum, place)
JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = part.attnum
WHERE part.place <= x.indnkeyatts
ORDER BY x.indrelid, part.place
"""

_ENUM_LABELS = """
SELECT enumtypid, enumlabel FROM pg_enum ORDER BY enumtypid, enumsortorder
"""
