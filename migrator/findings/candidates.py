"""Lists the lines of rules that may settle a problem. ``remedies`` tries them and offers those that do."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from migrator.findings.lines_by_type import lines_for_type
from migrator.findings.rule_line import RuleLine
from migrator.findings.sample import Sample
from migrator.planning.plan import ColumnPlan
from migrator.planning.rules import Stored
from migrator.source.scan import StorageClass
from migrator.types import ProblemCode

OF_ROWS: Final = frozenset(
    {
        ProblemCode.ORPHAN,
        ProblemCode.CHECK_VIOLATED,
        ProblemCode.CONSTRAINT_FAILS,
        ProblemCode.SERVER_REJECTS_ROW,
        ProblemCode.NOT_IN_ENCODING,
    }
)
"""Problems of values that the column's type accepts: with other rows, with constraints, with the whole row."""

_MOST_SHOWN: Final = 80
"""The most characters of a comment that quotes an expression."""

_FILLED_BY_TARGET: Final = frozenset({"tsvector", "tsquery"})


def candidates(code: ProblemCode, column: ColumnPlan, sample: Sample, *, by_type: bool) -> Iterator[RuleLine]:
    """
    Yield the lines that may settle values with a problem, the most likely line first.

    ``by_type`` says that lines may be yielded which settle values only perhaps.
    """
    # Orphans that only PostgreSQL finds refer to tables that the source doesn't fill, whose rows the rule can't see.
    if code is ProblemCode.ORPHAN and by_type:
        yield RuleLine("orphans", "drop", "leaves these rows behind, and counts them")
        if not column.target.not_null:
            yield RuleLine("orphans", "null", "carries these rows without the reference")
    kind = "enum" if column.target.enum_labels else column.target.type_name
    if column.target.generated:
        yield RuleLine("exclude", value=True, when=f"the target computes it: {column.target.generation}"[:_MOST_SHOWN])
        return
    if code is ProblemCode.MISSING_VALUE:
        if instead := placeholder(column):
            yield RuleLine("expression", f"coalesce(COLUMN, {instead})", f"with the value that is meant for {instead}")
        return
    if kind in _FILLED_BY_TARGET:
        yield _EXCLUDE_COMPUTED
    if any(row.storage is StorageClass.TEXT and row.size == 0 for row in sample.rows):
        yield RuleLine("empty_as_null", value=True, when="for empty text")
    yield from _BY_CODE.get(code, _nothing)(sample)
    if by_type and code not in OF_ROWS:
        yield from (_added(line, column) for line in lines_for_type(kind, sample))
    yield from replacements(code, column, sample)
    if code in OF_ROWS:
        yield _EXCLUDE


_EXCLUDE = RuleLine("exclude", value=True, when="leaves the column out")
_EXCLUDE_COMPUTED = RuleLine("exclude", value=True, when="where the target computes it, by to_tsvector() for example")


def _added(line: RuleLine, column: ColumnPlan) -> RuleLine:
    """Return a line that names values together with those that the column's rule names already."""
    if not isinstance(line.value, list) or line.name not in {"true", "false"}:
        return line
    known = column.rule.true if line.name == "true" else column.rule.false
    return replace(line, value=[*known, *(value for value in line.value if value not in known)])


def _nothing(_sample: Sample) -> Iterator[RuleLine]:
    yield from ()


def replacements(code: ProblemCode, column: ColumnPlan, sample: Sample) -> Iterator[RuleLine]:
    """Yield the lines that put NULL, or another value, in the place of exactly these values."""
    named = sample.stored
    if named and not column.target.not_null:
        meaning = "the values that refer to no row" if code is ProblemCode.ORPHAN else "the values that mean nothing"
        yield RuleLine("null", [*column.rule.null, *named], meaning)
        return
    instead = placeholder(column) if column.target.not_null else "NULL"
    is_free = not column.target.not_null or code not in OF_ROWS
    if not instead or not sample.rows or not is_free:
        return
    comment = "" if instead == "NULL" else f"with the value that is meant for {instead}"
    if named and all(isinstance(value, str) or abs(value) < 2**53 for value in named):
        values = ", ".join(_literal(value) for value in named)
        yield RuleLine("expression", f"CASE WHEN COLUMN IN ({values}) THEN {instead} ELSE COLUMN END", comment)
    elif sample.complete and len(sample.rows) <= _MOST_KEYS:
        rows = "in these rows, by their keys" + (f"; {comment}" if comment else "")
        yield RuleLine("expression", f"CASE WHEN {sample.by_key()} THEN {instead} ELSE COLUMN END", rows)
    elif code is ProblemCode.WRONG_STORAGE_CLASS:
        classes = ", ".join(f"'{storage}'" for storage in sorted({row.storage for row in sample.rows}))
        all_such = f"for all {' and '.join(sorted({row.storage.upper() for row in sample.rows}))} values"
        yield RuleLine(
            "expression",
            f"CASE WHEN typeof(COLUMN) IN ({classes}) THEN {instead} ELSE COLUMN END",
            all_such + (f"; {comment}" if comment else ""),
        )


_MOST_KEYS = 20


def _literal(value: Stored) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


_PLACEHOLDERS: Final = {
    **dict.fromkeys(("bool", "int2", "int4", "int8", "float4", "float8", "numeric", "money", "oid"), "0"),
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "name"), "''"),
    "bytea": "x''",
    "date": "'1970-01-01'",
    "time": "'00:00:00'",
    **dict.fromkeys(("timestamp", "timestamptz"), "'1970-01-01 00:00:00'"),
    "interval": "'00:00:00'",
    **dict.fromkeys(("json", "jsonb"), "'{}'"),
    "uuid": "'00000000-0000-0000-0000-000000000000'",
    **dict.fromkeys(("inet", "cidr"), "'0.0.0.0'"),
    **dict.fromkeys(("tsvector", "hstore"), "''"),
}


def placeholder(column: ColumnPlan) -> str:
    """Return a value that the target's column accepts, as SQLite's SQL; empty if none is known."""
    if column.target.enum_labels:
        return _literal(column.target.enum_labels[0])
    return "'{}'" if column.target.type_name.startswith("_") else _PLACEHOLDERS.get(column.target.type_name, "")


# Lines by code ----------------------------------------------------------------------------------------------------


def _ambiguous(sample: Sample) -> Iterator[RuleLine]:
    """Yield an offset for exactly these values: other times of the column have other offsets."""
    if sample.stored:
        values = ", ".join(_literal(value) for value in sample.stored)
        expression = f"CASE WHEN COLUMN IN ({values}) THEN COLUMN || '+01:00' ELSE COLUMN END"
        yield RuleLine("expression", expression, "with the offset that is meant")
    elif sample.rows and sample.complete:
        expression = f"CASE WHEN {sample.by_key()} THEN COLUMN || '+01:00' ELSE COLUMN END"
        yield RuleLine("expression", expression, "with the offset that is meant")


def _encoding(sample: Sample) -> Iterator[RuleLine]:
    """Yield a replacement for the character, if it is the only one beyond ASCII: any other might be in the encoding."""
    texts = [row.text or "" for row in sample.rows if not sample.mask_values]
    characters = {character for text in texts for character in text if not character.isascii()}
    if len(characters) == 1:
        replacing = f"replace(COLUMN, '{characters.pop()}', '?')"
        yield RuleLine("expression", replacing, "or make the target's database with ENCODING 'UTF8'")


_BY_CODE: Final[Mapping[ProblemCode, Callable[[Sample], Iterator[RuleLine]]]] = {
    ProblemCode.AMBIGUOUS_LOCAL_TIME: _ambiguous,
    ProblemCode.NOT_IN_ENCODING: _encoding,
}
