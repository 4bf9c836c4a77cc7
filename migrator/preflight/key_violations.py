"""
Finds the source's rows that would break a unique key or a foreign key of the target.

PostgreSQL builds these keys after the load and stops at the first row that breaks a key. This module finds all of these
rows before anything is written. It searches in SQLite, but compares values as PostgreSQL does: 1, 1.0 and '1' are the
same number, two spellings can be the same uuid, and ``citext`` ignores case.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from migrator.catalog.keys import ForeignKey, Keys, UniqueKey
from migrator.names import TableName
from migrator.planning.key_columns import columns_of, enforced_on, unique_columns
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.source.scan import ScanSession
from migrator.sql.utf8 import utf8_bytes
from migrator.types import Problem, ProblemCode


@dataclass(frozen=True, slots=True)
class KeyViolation:
    """The rows of a table that a key of the target refuses."""

    column: ColumnPlan
    """The key's first column, which names the violation."""
    problem: Problem
    """The problem; its condition, in SQLite's SQL, is true for the rows."""


def key_violations(
    tables: Mapping[TableName, TablePlan], table: TablePlan, keys: Keys, session: ScanSession
) -> Iterator[KeyViolation]:
    """
    Yield the possible violations of a table's ``keys``, each with the condition that finds its rows.

    ``tables`` are all planned tables, since a foreign key refers to another table. Keys that SQLite has enforced
    itself, with the same equality of values, are skipped. ``session`` is used to read which keys SQLite enforces.
    """
    for key, columns in unique_columns(table, keys):
        # Only PostgreSQL can compare digits beyond the precision of a double: `trial_load` sends it these keys.
        if all(column.target.type_name != "numeric" for column in columns) and not enforced_on(session, table, columns):
            yield _duplicates(table, columns, key)
    for reference in keys.foreign:
        parent = tables.get(reference.parent)
        if parent is None:
            continue
        children, parents = columns_of(table, reference.columns), columns_of(parent, reference.parent_columns)
        if children and parents:
            yield _orphans(children, parent, parents, reference)


def _duplicates(table: TablePlan, columns: Sequence[ColumnPlan], key: UniqueKey) -> KeyViolation:
    compared = [equality_key(column) for column in columns]
    listed = ", ".join(compared)
    present = " AND ".join(f"{form} IS NOT NULL" for form in compared) if key.nulls_distinct else "true"
    condition = (
        f"{present} AND ({listed}) IN "
        f"(SELECT {listed} FROM {table.source.origin} WHERE {present} GROUP BY {listed} HAVING count(*) > 1)"
    )
    if not key.nulls_distinct:  # IN never matches a NULL
        joined = " || '|' || ".join(f"quote({form})" for form in compared)
        condition = f"{joined} IN (SELECT {joined} FROM {table.source.origin} GROUP BY {joined} HAVING count(*) > 1)"
    reason = f"is there more than once, {key.words()}"
    return KeyViolation(columns[0], Problem(ProblemCode.DUPLICATE_KEY, reason, condition))


def _orphans(
    children: Sequence[ColumnPlan], parent: TablePlan, parents: Sequence[ColumnPlan], key: ForeignKey
) -> KeyViolation:
    compared = [equality_key(column) for column in children]
    present = " AND ".join(f"{form} IS NOT NULL" for form in compared)
    # A key that is the rowid is never NULL. Without a WHERE, SQLite searches the table itself and builds no list.
    missing = [equality_key(column) for column in parents if column.source != parent.source.rowid_alias]
    where = f" WHERE {' AND '.join(f'{form} IS NOT NULL' for form in missing)}" if missing else ""
    condition = (
        f"{present} AND ({', '.join(compared)}) NOT IN "
        f"(SELECT {', '.join(equality_key(column) for column in parents)} FROM {parent.source.origin}{where})"
    )
    if key.whole and len(compared) > 1:
        missing_parts = " + ".join(f"({form} IS NULL)" for form in compared)
        condition = f"({condition}) OR {missing_parts} BETWEEN 1 AND {len(compared) - 1}"
    reason = f"refers to a row of {parent.source.name} that isn't there, and {key.name} of the target wants it"
    return KeyViolation(children[0], Problem(ProblemCode.ORPHAN, reason, condition))


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
