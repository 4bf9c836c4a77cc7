"""Describes the structure of a column's type: scalars, and the parts of arrays, ranges and composites."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct

from migrator.names import TableName, quote_literal


class Kind(StrEnum):
    """The forms that the text of a type can have (PostgreSQL, "System Catalogs", pg_type)."""

    SCALAR = "scalar"
    ARRAY = "array"
    RANGE = "range"
    MULTIRANGE = "multirange"
    RECORD = "record"


class Shape(Struct, frozen=True):
    """A type with its parts; a domain has the shape of its base type."""

    kind: Kind
    name: str
    """``pg_type.typname`` of a scalar or range that PostgreSQL or an extension defines; empty for any other type."""
    parts: tuple["Shape", ...] = ()
    """The element of an array, the subtype of a range, the range of a multirange, the columns of a composite."""
    delimiter: str = ","
    """The character between the elements of an array of this type."""

    def holds(self, name: str) -> bool:
        """Return whether the type, or one of its parts, is the scalar ``name``."""
        return self.name == name or any(part.holds(name) for part in self.parts)


class TypeRow(Struct, frozen=True):
    """A row of the answer to ``types_statement``."""

    number: int
    kind: str
    name: str
    delimiter: str
    parts: str
    """The numbers of the types of its parts, with blanks between them."""


def types_statement(table: TableName) -> str:
    """Return SQL for the types of the table's columns and of all their parts, in rows like ``TypeRow``."""
    return _TYPES.format(table=quote_literal(table.quoted))


def columns_statement(table: TableName) -> str:
    """Return SQL for the table's columns: name, declared type, and number of the type."""
    return _COLUMNS.format(table=quote_literal(table.quoted))


def shapes(types: Iterable[TypeRow]) -> Mapping[int, Shape]:
    """Return the shape of each type by its number. Types refer to each other, but never in a circle."""
    rows = {row.number: row for row in types}
    known: dict[int, Shape] = {}

    def shape_of(number: int) -> Shape:
        if number not in known:
            row = rows[number]
            parts = tuple(shape_of(int(part)) for part in row.parts.split())
            known[number] = parts[0] if row.kind == "domain" else Shape(Kind(row.kind), row.name, parts, row.delimiter)
        return known[number]

    return {number: shape_of(number) for number in rows}


_COLUMNS = """
SELECT attname::text, format_type(atttypid, atttypmod), atttypid::bigint
FROM pg_attribute WHERE attrelid = {table}::regclass AND attnum > 0 AND NOT attisdropped
"""

# A type is an array if array_in reads it: int2vector has elements too, but its own text form. Multiranges exist since
# PostgreSQL 14, so their column is read through JSON. A range type of the application has no name here, since its
# canonical form is unknown. Its ranges are compared bound by bound.
_TYPES = """
WITH RECURSIVE reached(oid) AS (
    SELECT atttypid FROM pg_attribute WHERE attrelid = {table}::regclass AND attnum > 0 AND NOT attisdropped
    UNION
    SELECT part.oid FROM reached JOIN pg_type t ON t.oid = reached.oid
    CROSS JOIN LATERAL (
        SELECT t.typbasetype AS oid WHERE t.typtype = 'd'
        UNION ALL SELECT t.typelem WHERE t.typinput = 'array_in'::regproc
        UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
        UNION ALL SELECT r.rngtypid FROM pg_range r WHERE to_jsonb(r) ->> 'rngmultitypid' = t.oid::text
        UNION ALL SELECT a.atttypid FROM pg_attribute a
                  WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) part
)
SELECT t.oid::bigint,
       CASE WHEN t.typtype = 'd' THEN 'domain' WHEN t.typtype = 'c' THEN 'record' WHEN t.typtype = 'r' THEN 'range'
            WHEN t.typtype = 'm' THEN 'multirange' WHEN t.typinput = 'array_in'::regproc THEN 'array'
            ELSE 'scalar' END,
       CASE WHEN t.typtype IN ('b', 'r') AND (t.typnamespace = 'pg_catalog'::regnamespace OR EXISTS (
                SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.refclassid = 'pg_extension'::regclass
                AND e.extname = t.typname)) THEN t.typname::text ELSE '' END,
       t.typdelim::text,
       CASE WHEN t.typtype = 'd' THEN t.typbasetype::text
            WHEN t.typtype = 'c' THEN coalesce((SELECT string_agg(a.atttypid::text, ' ' ORDER BY a.attnum)
                 FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), '')
            WHEN t.typtype = 'r' THEN (SELECT r.rngsubtype::text FROM pg_range r WHERE r.rngtypid = t.oid)
            WHEN t.typtype = 'm' THEN (SELECT r.rngtypid::text FROM pg_range r
                 WHERE to_jsonb(r) ->> 'rngmultitypid' = t.oid::text)
            WHEN t.typinput = 'array_in'::regproc THEN t.typelem::text ELSE '' END
FROM reached JOIN pg_type t ON t.oid = reached.oid
"""
