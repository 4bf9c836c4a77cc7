"""Chooses the PostgreSQL type of a column whose table is made after the source's."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass

from migrator.source.scan import StorageClass
from migrator.source.schema import Affinity, SourceColumn


@dataclass(frozen=True, slots=True)
class Holding:
    """What a column holds, as far as its type depends on it."""

    classes: AbstractSet[StorageClass] = frozenset()
    """Storage classes, NULL left out; of a column whose declaration says nothing."""
    all_have_offsets: bool = False
    """Whether there are values, and each of them is text that ends with an offset from UTC."""
    is_empty: bool = False
    """Of a column of moments, whether there is no value to tell by."""


Held = Mapping[tuple[str, str], Holding]
"""By table and column."""

# What a declaration says where SQLite itself only takes an affinity from it. The length of a text is no limit there.
_WHOLE = r"(UNSIGNED |SIGNED )?(TINY|SMALL|MEDIUM|BIG ?|U)?INT(EGER)?\d*(\(\d+\))?( (UN)?SIGNED)?( ZEROFILL)?"

_DECLARED = (
    (_WHOLE, "bigint"),
    (r"(SMALL|BIG)?SERIAL\d?|LONG|SHORT|BYTE|COUNTER|YEAR(\(\d\))?|BIT(\(1\))?", "bigint"),
    (r"BOOL(EAN)?", "boolean"),
    (r"(DOUBLE( PRECISION)?|FLOAT\d*|REAL)(\(\d+(,\d+)?\))?( UNSIGNED)?", "double precision"),
    (r"DATE", "date"),
    (r"(SMALLDATETIME|DATETIME2?|TIMESTAMP)(\(\d\))?( WITHOUT TIME ZONE)?", "timestamp"),
    (r"(TIMESTAMPTZ|DATETIMEOFFSET)(\(\d\))?|(DATETIME|TIMESTAMP)(\(\d\))? WITH (LOCAL )?TIME ZONE", "timestamptz"),
    (r"TIME(\(\d\))?( WITHOUT TIME ZONE)?", "time"),
    (r"JSONB?", "jsonb"),
    (r"UUID|GUID|UNIQUEIDENTIFIER", "uuid"),
    (r"((TINY|MEDIUM|LONG)?BLOB|BYTEA|(VAR)?BINARY|IMAGE)(\(\d+\))?", "bytea"),
    (r".*(CHAR|CLOB|TEXT).*|STRING(\(\d+\))?", "text"),
)

_NUMERIC = re.compile(r"(?:NUMERIC|DECIMAL|DEC|NUMBER|FIXED|(?:SMALL)?MONEY|CURRENCY)(?:\((\d+)(?:,(\d+))?\))?")

_MOST_DIGITS = 1000
"""Of a ``numeric`` with a precision (PostgreSQL, "Arbitrary Precision Numbers")."""

# The first that has room for all that a column holds.
_BY_CLASSES = (
    (frozenset({StorageClass.INTEGER}), "bigint"),
    (frozenset({StorageClass.INTEGER, StorageClass.REAL}), "double precision"),
    (frozenset({StorageClass.TEXT}), "text"),
    (frozenset({StorageClass.BLOB}), "bytea"),
)


class Undecidable(ValueError):  # noqa: N818 - says what the column is
    """No type holds what a column was declared to hold, or holds; its text says why."""


def needs_classes(column: SourceColumn) -> bool:
    """Return whether the type depends on what the column holds."""
    with suppress(Undecidable):
        return _declared_type(column) is None
    return False


def needs_offsets(column: SourceColumn) -> bool:
    """Return whether the type depends on whether moments have offsets."""
    with suppress(Undecidable):
        return _declared_type(column) == "timestamp"
    return False


def type_of(column: SourceColumn, holding: Holding) -> str:
    """Return the type of a column; raises Undecidable."""
    declared = _declared_type(column)
    if declared == "timestamp" and holding.all_have_offsets:
        return "timestamptz"
    if declared is not None:
        return declared
    if not holding.classes:
        # SQLite's rules make POINT an integer and ENUM a number; an application that is to use them puts text there.
        return "double precision" if column.affinity is Affinity.REAL else "text"
    for fitting, kind in _BY_CLASSES:
        if holding.classes <= fitting:
            return kind
    raise Undecidable(f"no type of PostgreSQL holds what is in it: {' and '.join(sorted(holding.classes))}")


def _declared_type(column: SourceColumn) -> str | None:
    declared = re.sub(r"\s+", " ", column.declared_type.strip().upper())
    declared = re.sub(r" ?([(,)]) ?", r"\1", declared).replace(")", ") ").strip()
    if numeric := _NUMERIC.fullmatch(declared):
        precision, scale = numeric.groups()
        if precision and not 0 < int(precision) <= _MOST_DIGITS:
            raise Undecidable(f"{column.declared_type} has more digits than PostgreSQL's numeric, which has 1000")
        if precision and int(scale or 0) > int(precision):
            return f"numeric({scale}, {scale})"  # before PostgreSQL 15 a scale is at most the precision
        return f"numeric({precision}, {scale or 0})" if precision else "numeric"
    return next((kind for pattern, kind in _DECLARED if re.fullmatch(pattern, declared)), None)
