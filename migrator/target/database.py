"""
The target database: reads from the catalogs which tables it has and what decides how values are carried.

The catalogs are asked in one query a subject, with values bound, because reflection leaves out what decides how a value
is carried (type modifiers, identity, domains, enum labels).
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
        Return the schema whose tables are filled: the ``requested`` one, or the first on the search path.

        Raises ConfigurationError if there is no such schema, or it is the job's own or the server's.
        """
        found = await connection.scalar(
            text("SELECT nspname FROM pg_namespace WHERE nspname = coalesce(:requested, current_schema())"),
            {"requested": requested},
        )
        if found is None:
            what = f"schema {requested!r}" if requested else "any schema of the role's search_path"
            raise ConfigurationError(
                f"the target has no {what}", next_step="Create it, or name another one with --target-schema."
            )
        if holds_no_application(found):
            raise ConfigurationError(
                f"the schema {found!r} holds no application's tables: it is the job's own, or the server's",
                next_step="Name the application's schema with --target-schema.",
            )
        return str(found)

    async def describe(self, connection: AsyncConnection, schema: str) -> TargetDatabase:
        """Return the tables of ``schema`` that can take rows, with everything that decides how a value is carried."""
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
    Return for each table the words of a statement that mean its own rows. A table that doesn't exist is left out.

    The name alone also means the tables that inherit from it, whose rows are not the table's own (PostgreSQL,
    "Inheritance"). Partitions are the table's own, and ONLY would leave them out.
    """
    names = {"names": [name.quoted for name in tables]}
    kinds = {row.place: row.relkind for row in await connection.execute(text(_KINDS), names)}
    return {
        name: name.quoted if kinds[place] == "p" else f"ONLY {name.quoted}"
        for place, name in enumerate(tables, 1)
        if place in kinds
    }


async def row_counts(connection: AsyncConnection, tables: Sequence[TableName]) -> dict[TableName, int]:
    """Return the number of own rows of those tables that hold any. Empty tables are not scanned."""
    counts: dict[TableName, int] = {}
    named = await own_rows(connection, tables)
    groups = list((await lock_room(connection, list(named))).few(list(named)))
    for asked in groups:
        async with glance(connection) if len(groups) > 1 else nullcontext():
            union = " UNION ALL ".join(
                f"SELECT {place} WHERE EXISTS (SELECT FROM {named[name]})" for place, name in enumerate(asked)
            )
            for (place,) in (await connection.exec_driver_sql(union)).all():
                count = await connection.exec_driver_sql(f"SELECT count(*) FROM {named[asked[place]]}")
                counts[asked[place]] = count.scalar_one()
    return counts


_KINDS = """
SELECT place, relkind::text AS relkind FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS given(name, place)
JOIN pg_class ON oid = to_regclass(name)
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
    )


_TABLES = """
SELECT c.oid, c.relname, c.relkind = 'p' AS partitioned, pg_has_role(c.relowner, 'USAGE') AS owned
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname
"""

# A domain over a domain is followed down to the type at the bottom; the first modifier on the way is what holds. A type
# of the application's that is named like one of PostgreSQL's isn't that one, so its schema goes before its name.
_COLUMNS = """
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
       coalesce(l.collisdeterministic, true) AS deterministic
FROM pg_attribute a
LEFT JOIN pg_collation l ON l.oid = a.attcollation
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN base ON base.oid = a.atttypid
JOIN pg_type bottom ON bottom.oid = base.at AND bottom.typtype <> 'd'
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

_KEYS = """
SELECT k.conrelid, a.attname
FROM pg_constraint k
JOIN pg_namespace n ON n.oid = k.connamespace
CROSS JOIN unnest(k.conkey) WITH ORDINALITY AS part(attnum, place)
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = part.attnum
WHERE n.nspname = :schema AND k.contype = 'p'
ORDER BY k.conrelid, part.place
"""

_ENUM_LABELS = """
SELECT enumtypid, enumlabel FROM pg_enum ORDER BY enumtypid, enumsortorder
"""
