"""Describes a translated SQLite expression: its SQL in PostgreSQL, and the facts that comparisons need about it."""

import re
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from migrator.names import quote_literal
from migrator.source.schema import Affinity


class Untranslatable(ValueError):  # noqa: N818 - says what the expression is
    """An expression may not mean the same in PostgreSQL; the message says why."""


class Sort(StrEnum):
    """The kind of a value, in SQLite and in PostgreSQL."""

    INTEGER = "integer"
    """INTEGER in SQLite; an integer of any width in PostgreSQL."""
    REAL = "real"
    EXACT = "exact"
    """Any number in SQLite, ``numeric`` in PostgreSQL."""
    TEXT = "text"
    BYTES = "bytes"
    TRUTH = "truth"
    """0 or 1 in SQLite, ``boolean`` in PostgreSQL."""
    NOTHING = "nothing"
    """The literal NULL."""
    OTHER = "other"
    """A type that SQLite does not have."""


class Operand(Struct, frozen=True):
    """An expression in PostgreSQL's SQL, with the properties of its value."""

    sql: str
    sort: Sort
    kind: str = ""
    """The type in the target, if the expression is a column."""
    affinity: Affinity | None = None
    """The affinity of a column or cast, by which SQLite converts the other side of a comparison; otherwise None."""
    collation: str = "BINARY"
    has_own_collation: bool = False
    """Whether the expression itself has a COLLATE."""
    literal: int | float | str | bytes | None = None
    """The value, if the expression is a literal."""


Columns = Mapping[str, Operand]
"""The columns that an expression may name, by their folded names."""

_WHOLE = frozenset({"bigint", "integer", "int", "smallint", "int2", "int4", "int8"})

_NUMBERS = (Affinity.INTEGER, Affinity.NUMERIC)


def column(sql: str, kind: str, affinity: Affinity, collation: str) -> Operand:
    """Return the operand of a column with the target's type ``kind`` and SQLite's affinity and collation."""
    base = re.sub(r"\(.*\)", "", kind).strip().lower()
    sort = Sort.OTHER
    if base in _WHOLE and affinity in _NUMBERS:
        sort = Sort.INTEGER
    elif base in {"boolean", "bool"} and affinity in _NUMBERS:
        sort = Sort.TRUTH
    elif base in {"double precision", "float8"} and affinity is Affinity.REAL:
        sort = Sort.REAL
    elif base in {"numeric", "decimal"} and affinity is Affinity.NUMERIC:
        sort = Sort.EXACT
    elif base in {"text", "varchar", "character varying"}:
        sort = Sort.TEXT
    elif base == "bytea" and affinity is Affinity.BLOB:
        sort = Sort.BYTES
    return Operand(sql, sort, base, affinity, collation)


def constant(value: float | str | bytes | None) -> Operand:
    """Return the operand of a literal; raise Untranslatable for text that PostgreSQL can't hold."""
    match value:
        case None:
            return Operand("NULL", Sort.NOTHING)
        case int():
            return Operand(str(value) if value >= 0 else f"({value})", Sort.INTEGER, literal=value)
        case float():
            return Operand(f"'{value!r}'::double precision", Sort.REAL, literal=value)
        case bytes():
            return Operand(f"'\\x{value.hex()}'::bytea", Sort.BYTES, literal=value)
        case str():
            if "\0" in value:
                raise Untranslatable("PostgreSQL's text has no NUL")
            return Operand(quote_literal(value), Sort.TEXT, literal=value)


def number(one: Operand) -> Operand:
    """Return a boolean operand as the integer 0 or 1, as SQLite has it; return any other operand unchanged."""
    return Operand(f"({one.sql})::integer", Sort.INTEGER) if one.sort is Sort.TRUTH else one


def as_text(one: Operand) -> str:
    """Return SQL for an operand as text in SQLite's spelling; raise Untranslatable if PostgreSQL's differs."""
    one = number(one)
    if one.sort is Sort.TEXT:
        return one.sql
    if one.sort is Sort.INTEGER:
        return f"({one.sql})::text"
    raise Untranslatable("SQLite and PostgreSQL spell such a value otherwise")


def folded(one: Operand, collation: str) -> str:
    """
    Return SQL for text in a form that compares byte by byte as a collation of SQLite compares the text itself.

    Source: SQLite, "Datatypes In SQLite", 7. Raises Untranslatable for a collation of the application.
    """
    match collation:
        case "BINARY":
            return f'{one.sql} COLLATE "C"'
        case "NOCASE":
            return f'lower({one.sql} COLLATE "C")'  # lower() in "C" changes only the letters of ASCII, as NOCASE does
        case "RTRIM":
            return f"rtrim({one.sql} COLLATE \"C\", ' ')"
    raise Untranslatable(f"the collation {collation} is the application's own")


def compared(operator: str, left: Operand, right: Operand) -> str:
    """
    Return SQL for a comparison, after SQLite's conversions of both sides by affinity.

    Raises Untranslatable if PostgreSQL may compare the two sides differently.
    """
    if Sort.NOTHING in {left.sort, right.sort}:
        return _with_null(operator, left, right)
    if left.sort is not right.sort or left.sort is not Sort.TRUTH:
        left, right = number(left), number(right)
    left, right = _alike(left, right), _alike(right, left)
    spelled = {"IS": "IS NOT DISTINCT FROM", "IS NOT": "IS DISTINCT FROM"}.get(operator, operator)
    if left.sort is Sort.TEXT and right.sort is Sort.TEXT:
        chosen = left if left.has_own_collation or not right.has_own_collation else right
        if chosen is left and left.affinity is None and not left.has_own_collation:
            chosen = right
        if chosen.collation == "BINARY" and operator in {"=", "<>", "IS", "IS NOT"}:
            return f"({left.sql} {spelled} {right.sql})"
        return f"({folded(left, chosen.collation)} {spelled} {folded(right, chosen.collation)})"
    sorts = {left.sort, right.sort}
    are_comparable = len(sorts) == 1 or sorts == {Sort.INTEGER, Sort.EXACT}
    if not are_comparable or (left.sort is Sort.OTHER and not _are_moments(left, right)):
        raise Untranslatable(f"PostgreSQL compares {left.sql} and {right.sql} by other rules")
    return f"({left.sql} {spelled} {right.sql})"


def _with_null(operator: str, left: Operand, right: Operand) -> str:
    other = right if left.sort is Sort.NOTHING else left
    match operator:
        case "IS":
            return f"({other.sql} IS NULL)"
        case "IS NOT":
            return f"({other.sql} IS NOT NULL)"
    return "NULL::boolean"


_EXACT_IN_DOUBLE = 1 << 53


def _alike(operand: Operand, other: Operand) -> Operand:  # noqa: PLR0911 - one line for each rule
    """Return a literal as SQLite converts it to compare it with ``other`` ("Datatypes In SQLite", 4.2)."""
    value = operand.literal
    if other.sort is Sort.TEXT and other.affinity not in {None, Affinity.TEXT}:
        # In SQLite the column may hold a number that is text in PostgreSQL. Other text compares equally in both.
        if not isinstance(value, str) or _is_number(value):
            raise Untranslatable(f"{other.sql} may be a number to SQLite")
        return operand
    if value is None or other.affinity is None:
        return operand
    if other.sort is Sort.REAL and isinstance(value, int) and abs(value) <= _EXACT_IN_DOUBLE:
        return constant(float(value))
    if other.sort in {Sort.INTEGER, Sort.EXACT} and isinstance(value, float):
        return replace(operand, sql=f"'{value!r}'::numeric", sort=Sort.EXACT)
    if other.sort is Sort.TEXT and isinstance(value, int):
        return constant(str(value))
    if other.sort is Sort.INTEGER and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return constant(int(value))
    if other.sort is Sort.OTHER and isinstance(value, str) and other.kind in _SHAPES:
        if re.fullmatch(_SHAPES[other.kind], value) is None:
            raise Untranslatable(f"{value!r} is no {other.kind} in full")
        return replace(operand, sql=f"{operand.sql}::{other.kind}", sort=Sort.OTHER, kind=other.kind)
    return operand


def _is_number(value: str) -> bool:
    try:
        float(value.strip().replace("_", "x"))
    except ValueError:
        return False
    return True


# In these forms, texts sort in the same order as the moments that they mean.
_SHAPES = {
    "date": r"\d{4}-\d\d-\d\d",
    "time": r"\d\d:\d\d:\d\d",
    "timestamp": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
}


def _are_moments(left: Operand, right: Operand) -> bool:
    return left.kind == right.kind and left.kind in _SHAPES


def as_column(expression: Operand, target_column: Operand) -> str:
    """Return SQL for an expression as a value of a column; raise Untranslatable if their types differ."""
    if expression.sort is target_column.sort or expression.sort is Sort.NOTHING:
        return expression.sql
    if expression.sort is Sort.TRUTH and target_column.sort is Sort.INTEGER:
        return f"({expression.sql})::integer"
    if expression.sort is Sort.INTEGER and target_column.sort is Sort.TEXT and target_column.affinity is Affinity.TEXT:
        return f"({expression.sql})::text"
    raise Untranslatable(f"its values are no {target_column.kind or 'such values'} by SQLite's rules")
