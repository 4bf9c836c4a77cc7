"""Writes SQL that compares the values of keys in SQLite as PostgreSQL compares them."""

from collections.abc import Sequence

from msgspec import Struct

from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.sql.utf8 import utf8_bytes


class ParentKeys(Struct, frozen=True):
    """The columns to which a foreign key refers, as SQL over the parent's rows."""

    expressions: tuple[str, ...]
    nullable: tuple[str, ...]
    """Those of the expressions that may be NULL."""


def parent_keys(parent: TablePlan, columns: Sequence[ColumnPlan]) -> ParentKeys:
    """Return the SQL of the referred ``columns`` of a table."""
    # A key that is the rowid is never NULL. Without a WHERE, SQLite searches the table itself and builds no list.
    nullable = [column for column in columns if column.source != parent.source.rowid_alias]
    return ParentKeys(tuple(map(equality_key, columns)), tuple(map(equality_key, nullable)))


def orphan_condition(children: Sequence[str], parents: ParentKeys, origin: str, *, whole: bool) -> str:
    """
    Return the condition of rows whose reference, ``children``, is to no row of the parent.

    ``origin`` is the parent in a FROM clause. ``whole`` says that the key is MATCH FULL: rows in which only a part of
    the reference is NULL are orphans too.
    """
    present = " AND ".join(f"{form} IS NOT NULL" for form in children)
    where = f" WHERE {' AND '.join(f'{form} IS NOT NULL' for form in parents.nullable)}" if parents.nullable else ""
    condition = (
        f"{present} AND ({', '.join(children)}) NOT IN (SELECT {', '.join(parents.expressions)} FROM {origin}{where})"
    )
    if whole and len(children) > 1:
        missing_parts = " + ".join(f"({form} IS NULL)" for form in children)
        condition = f"({condition}) OR {missing_parts} BETWEEN 1 AND {len(children) - 1}"
    return condition


def equality_key(column: ColumnPlan) -> str:  # noqa: PLR0911 - a table, read from the top
    """Return SQL for values that are equal in SQLite, byte by byte, if the column's values are equal in PostgreSQL."""
    expression = column.source_expression
    match column.target.type_name:
        case "citext":
            return f"lower(CAST({expression} AS TEXT))"
        case "bpchar":
            return f"rtrim(CAST({expression} AS TEXT), ' ') COLLATE BINARY"
        case "numeric":
            # Exact for integers of 64 bits. Other numbers are compared as doubles, which is enough to find candidates.
            number = "CASE typeof(n) WHEN 'text' THEN CAST(n AS NUMERIC) ELSE n END"
            return f"(SELECT {number} FROM (SELECT {expression} AS n))"
        case "uuid":
            return f"CASE typeof({expression}) WHEN 'blob' THEN {expression} ELSE unhex({expression}, '-') END"
        case "bytea":
            return f"{utf8_bytes(expression)} COLLATE BINARY"
        case "timestamp" | "timestamptz" | "time" if not column.rule.timezone:
            return _moment(expression)
        case "text" | "varchar" | "name":
            return f"CAST({expression} AS TEXT) COLLATE BINARY"
        case "int2" | "int4" | "int8" | "bool":
            return expression  # numbers have no collation; without COLLATE, SQLite can use an index
        case _:
            return f"{expression} COLLATE BINARY"


def _moment(expression: str) -> str:
    """
    Return SQL for the moment that a text means: whole seconds, and a fraction without trailing zeros.

    SQLite rounds fractions, so it gets the text without its fraction. A text that SQLite can't read as a moment stays
    as it is, and is equal only to the same text.
    """
    return (
        "(SELECT coalesce(strftime('%s', whole) || '.' || rtrim(digits, '0'), given) COLLATE BINARY FROM ("
        "SELECT given, iif(dot, substr(given, 1, dot - 1) || zone, given) AS whole, "
        "iif(dot, substr(rest, 1, length(rest) - length(zone)), '') AS digits FROM ("
        "SELECT given, dot, rest, ltrim(rest, '0123456789') AS zone FROM ("
        "SELECT given, instr(given, '.') AS dot, substr(given, instr(given, '.') + 1) AS rest "
        f"FROM (SELECT {expression} AS given)))))"
    )
