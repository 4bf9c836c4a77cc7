"""Chooses the PostgreSQL type of a column, for tables that the job makes from the source's tables."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress

from msgspec import Struct

from migrator.source.scan import StorageClass
from migrator.source.schema import Affinity, SourceColumn


class Holding(Struct, frozen=True):
    """Facts about a column's values on which its type depends."""

    classes: AbstractSet[StorageClass] = frozenset()
    """The storage classes of the values, without NULL; filled only for a column whose declaration gives no type."""
    all_have_offsets: bool = False
    """Whether the column has values, and each value is text that ends with an offset from UTC."""
    is_empty: bool = False
    """Whether a column of moments has no values, so that nothing shows whether its moments have offsets."""


Held = Mapping[tuple[str, str], Holding]
"""The facts about columns, by names of table and column."""

# Maps declared types to types, although SQLite takes only an affinity from them. SQLite enforces no length of text.
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
"""The largest precision of a ``numeric`` (PostgreSQL, "Arbitrary Precision Numbers")."""

# The type of a column is the first in this list whose storage classes include all those of the column's values.
_BY_CLASSES = (
    (frozenset({StorageClass.INTEGER}), "bigint"),
    (frozenset({StorageClass.INTEGER, StorageClass.REAL}), "double precision"),
    (frozenset({StorageClass.TEXT}), "text"),
    (frozenset({StorageClass.BLOB}), "bytea"),
)


class Undecidable(ValueError):  # noqa: N818 - says what the column is
    """No type fits the declaration or the values of a column; the message says why."""


def needs_classes(column: SourceColumn) -> bool:
    """Return whether the type of ``column`` depends on the storage classes of its values."""
    with suppress(Undecidable):
        return _declared_type(column) is None
    return False


def needs_offsets(column: SourceColumn) -> bool:
    """Return whether the type of ``column`` depends on whether its moments have offsets."""
    with suppress(Undecidable):
        return _declared_type(column) == "timestamp"
    return False


def type_of(column: SourceColumn, holding: Holding) -> str:
    """
    Return the PostgreSQL type of ``column`` as SQL.

    ``holding`` has the facts about its values for which ``needs_classes`` or ``needs_offsets`` is true. Raises
    Undecidable if no type fits.
    """
    declared = _declared_type(column)
    if declared == "timestamp" and holding.all_have_offsets:
        return "timestamptz"
    if declared is not None:
        return declared
    if not holding.classes:
        # By SQLite's rules POINT has integer affinity and ENUM numeric, but an application stores text in such columns.
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
            return f"numeric({scale}, {scale})"  # before PostgreSQL 15, the scale must not exceed the precision
        return f"numeric({precision}, {scale or 0})" if precision else "numeric"
    return next((kind for pattern, kind in _DECLARED if re.fullmatch(pattern, declared)), None)
