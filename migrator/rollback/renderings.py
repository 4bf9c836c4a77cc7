"""
Lists the forms in which SQLite may store the values of a PostgreSQL type: texts of moments, words for true, epochs.

A column's values go back in the form that its old values have. Which form that is isn't read from them: every form of
this module is tried on rows that nobody has changed, and the one that gives the stored values is taken (``learning``).
So no form is guessed from a few characters, and a form that isn't listed shows.

Each form loses nothing: a moment with microseconds keeps them, even if all old values have whole seconds.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import TYPE_CHECKING

from msgspec import Struct

from migrator.names import quote_postgres
from migrator.planning.interval_units import NANOSECONDS
from migrator.planning.plan import ColumnPlan
from migrator.planning.rewrites import literal

if TYPE_CHECKING:
    from migrator.planning.rules import Stored


class Rendering(Struct, frozen=True):
    """One form: its name for the report, and SQLite's SQL over the staged values, ``{0}``, ``{1}``, …, none NULL."""

    name: str
    sql: str


class Renderings(Struct, frozen=True):
    """How PostgreSQL hands over the values of a column, and the forms in which SQLite may store them."""

    selects: tuple[str, ...]
    """PostgreSQL's SQL for each staged value: an integer, a double, a text or bytes. All are NULL for NULL."""
    candidates: tuple[Rendering, ...]
    """The forms; the first is taken if there is no old value to learn from."""
    nulls: tuple[str, ...] = ("NULL",)
    """The literals of SQLite that stand for NULL: NULL itself, and those that a rule reads as NULL."""


def renderings_of(column: ColumnPlan) -> Renderings:
    """Return the forms in which the source may store the values of a column."""
    kind = "enum" if column.target.enum_labels else column.target.type_name
    of_type = _text if kind in _AS_TEXT else _BY_TYPE.get(kind, _other)
    selects, candidates = of_type(column, quote_postgres(column.target.name))
    empty: tuple[Stored, ...] = ("",) if column.rule.empty_as_null else ()
    nulls = ("NULL", *(literal(value) for value in (*column.rule.null, *empty)))
    return Renderings(selects, tuple(dict.fromkeys(candidates)), nulls)


_Of = tuple[tuple[str, ...], Iterator[Rendering]]


def _text(_column: ColumnPlan, name: str) -> _Of:
    def candidates() -> Iterator[Rendering]:
        yield Rendering("text", "{0}")
        yield Rendering("a number that the text spells", "CAST({0} AS NUMERIC)")
        yield Rendering("the text's bytes", "CAST({0} AS BLOB)")

    return (f"{name}::text",), candidates()


def _other(_column: ColumnPlan, name: str) -> _Of:
    def candidates() -> Iterator[Rendering]:
        yield Rendering("text as PostgreSQL spells it", "{0}")
        yield Rendering("text as PostgreSQL casts it", "{1}")  # an address with its /32

    return (f"CASE WHEN {name} IS NOT NULL THEN format('%s', {name}) END", f"{name}::text"), candidates()


def _json(_column: ColumnPlan, name: str) -> _Of:
    def candidates() -> Iterator[Rendering]:
        yield Rendering("JSON as PostgreSQL spells it", "{0}")
        yield Rendering("JSON without blanks", "json({0})")
        yield Rendering("JSON text as bytes", "CAST({0} AS BLOB)")

    return (f"{name}::text",), candidates()


def _integer(_column: ColumnPlan, name: str) -> _Of:
    def candidates() -> Iterator[Rendering]:
        yield Rendering("integer", "{0}")
        yield Rendering("digits as text", "CAST({0} AS TEXT)")
        yield Rendering("real", "CAST({0} AS REAL)")

    return (f"{name}::int8",), candidates()


def _double(_column: ColumnPlan, name: str) -> _Of:
    def candidates() -> Iterator[Rendering]:
        yield Rendering("real", "{0}")
        yield Rendering(
            "integer where it is whole",
            "CASE WHEN abs({0}) < 9e15 AND {0} = CAST({0} AS INTEGER) THEN CAST({0} AS INTEGER) ELSE {0} END",
        )
        yield Rendering("digits as text", "printf('%!.17g', {0})")

    return (f"{name}::float8",), candidates()


def _numeric(_column: ColumnPlan, name: str) -> _Of:
    stripped = "CASE WHEN {0} GLOB '*.*' THEN rtrim(rtrim({0}, '0'), '.') ELSE {0} END"

    def candidates() -> Iterator[Rendering]:
        # A text that no double holds stays a text: SQLite's NUMERIC affinity does the same ("Datatypes In SQLite", 3).
        yield Rendering("integer or real", "CAST({0} AS NUMERIC)")
        yield Rendering("real", "CAST({0} AS REAL)")
        yield Rendering("text with the digits of the type", "{0}")
        yield Rendering("text without zeros at the end", stripped)

    return (f"{name}::text",), candidates()


_WORDS = (
    ("true", "false"),
    ("True", "False"),
    ("TRUE", "FALSE"),
    ("t", "f"),
    ("T", "F"),
    ("yes", "no"),
    ("Y", "N"),
    ("y", "n"),
    ("on", "off"),
    ("1", "0"),
)


def _boolean(column: ColumnPlan, name: str) -> _Of:
    def candidates() -> Iterator[Rendering]:
        pairs: list[tuple[Stored, Stored]] = list(product(column.rule.true or (1,), column.rule.false or (0,)))
        for true, false in (*pairs, (1, 0), *_WORDS):
            yield Rendering(
                f"{literal(true)} and {literal(false)}",
                f"CASE WHEN {{0}} THEN {literal(true)} ELSE {literal(false)} END",
            )

    return (f"{name}::int4::int8",), candidates()


def _bytes(_column: ColumnPlan, name: str) -> _Of:
    def candidates() -> Iterator[Rendering]:
        yield Rendering("bytes", "{0}")
        yield Rendering("text of the same bytes", "CAST({0} AS TEXT)")

    return (name,), candidates()


def _uuid(_column: ColumnPlan, name: str) -> _Of:
    bare = "replace({0}, '-', '')"

    def candidates() -> Iterator[Rendering]:
        yield Rendering("with hyphens", "{0}")
        yield Rendering("with hyphens, in capitals", "upper({0})")
        yield Rendering("without hyphens", bare)
        yield Rendering("without hyphens, in capitals", f"upper({bare})")
        yield Rendering("16 bytes", "{1}")
        yield Rendering("in braces", "'{' || {0} || '}'")
        yield Rendering("in braces, in capitals", "'{' || upper({0}) || '}'")

    return (f"{name}::text", f"uuid_send({name})"), candidates()


_SEPARATORS = ((" ", "{text}"), ("T", "replace({text}, ' ', 'T')"))

# Each takes the text of a moment with six digits of its second, YYYY-MM-DD HH:MM:SS.ffffff, and cuts only zeros.
_FRACTIONS = (
    ("microseconds unless they are zero", "CASE WHEN substr({m}, 21) = '000000' THEN substr({m}, 1, 19) ELSE {m} END"),
    ("6 digits of a second", "{m}"),
    ("3 digits of a second", "CASE WHEN substr({m}, 24) = '000' THEN substr({m}, 1, 23) ELSE {m} END"),
    ("as many digits of a second as needed", "rtrim(rtrim({m}, '0'), '.')"),
    ("7 digits of a second", "{m} || '0'"),
    ("9 digits of a second", "{m} || '000'"),
    ("to the minute", "CASE WHEN substr({m}, 17) = ':00.000000' THEN substr({m}, 1, 16) ELSE {m} END"),
    ("the date alone", "CASE WHEN substr({m}, 11) = ' 00:00:00.000000' THEN substr({m}, 1, 10) ELSE {m} END"),
)

_OFFSETS = ("", "Z", "+00:00", " +00:00", "+00", "+0000", " +0000", " UTC")


def _texts(staged: str, offsets: tuple[str, ...]) -> Iterator[Rendering]:
    """Yield the texts of a moment; ``staged`` is its text with six digits of its second."""
    for offset, (fraction_name, fraction), (separator, joined) in product(offsets, _FRACTIONS, _SEPARATORS):
        text = joined.replace("{text}", fraction.replace("{m}", staged))
        # What isn't of that length is a word of PostgreSQL's, such as infinity, or a year of five digits.
        shown = f"text, {fraction_name}" + (f", {separator} before the time" if separator != " " else "")
        yield Rendering(
            shown + (f", {offset.strip()} at the end" if offset else ""),
            f"CASE WHEN length({staged}) = 26 THEN {text} || '{offset}' ELSE {staged} END",
        )


def _counts(column: ColumnPlan, staged: str) -> Iterator[Rendering]:
    """Yield the numbers that count from 1970; ``staged`` has microseconds."""
    units = {"s": 10**6, "ms": 10**3, "us": 1}
    first = column.rule.epoch
    for unit in sorted(units, key=lambda unit: unit != first):
        per = units[unit]
        whole = f"CASE WHEN {staged} % {per} = 0 THEN {staged} / {per} ELSE {staged} / {per}.0 END"
        yield Rendering(f"integer, {unit} since 1970", whole)
        yield Rendering(f"real, {unit} since 1970", f"{staged} / {per}.0")
        yield Rendering(f"digits as text, {unit} since 1970", f"CAST({whole} AS TEXT)")
    yield Rendering("integer, ns since 1970", f"{staged} * 1000")


def _julian(staged: str) -> Rendering:
    return Rendering("Julian day", f"{staged} / 86400000000.0 + 2440587.5")


def _ordered(column: ColumnPlan, texts: Iterator[Rendering], staged: str) -> Iterator[Rendering]:
    """Yield the forms of a moment; those that the column's rule names come first."""
    if column.rule.epoch:
        yield from _counts(column, staged)
    if column.rule.julian:
        yield _julian(staged)
    yield from texts
    yield from _counts(column, staged)
    yield _julian(staged)


def _microseconds(moment: str, finite: str) -> str:
    return f"CASE WHEN isfinite({finite}) THEN (extract(epoch FROM {moment}) * 1000000)::int8 END"


def _moment_text(moment: str, finite: str) -> str:
    inside = f"isfinite({finite}) AND extract(year FROM {moment}) BETWEEN 1 AND 9999"
    return f"CASE WHEN {inside} THEN to_char({moment}, 'YYYY-MM-DD HH24:MI:SS.US') ELSE {finite}::text END"


def _timestamp(column: ColumnPlan, name: str) -> _Of:
    selects = (_moment_text(name, name), _microseconds(name, name))
    return selects, _ordered(column, _texts("{0}", ("", "Z", "+00:00")), "{1}")


def _timestamptz(column: ColumnPlan, name: str) -> _Of:
    here = f"({name} AT TIME ZONE {literal(column.timezone)})"
    there = f"({name} AT TIME ZONE 'UTC')"
    selects = (_moment_text(there, name), _microseconds(name, name), _moment_text(here, name))

    def texts() -> Iterator[Rendering]:
        yield from _texts("{2}", ("",))  # without an offset it is a time of the rule's zone
        yield from _texts("{0}", _OFFSETS[1:])

    return selects, _ordered(column, texts(), "{1}")


def _date(column: ColumnPlan, name: str) -> _Of:
    def texts() -> Iterator[Rendering]:
        yield Rendering("text, the date alone", "{0}")
        yield from _texts("({0} || ' 00:00:00.000000')", ("", "Z", "+00:00"))

    return (f"{name}::text", _microseconds(name, name)), _ordered(column, texts(), "{1}")


def _time(_column: ColumnPlan, name: str) -> _Of:
    def candidates() -> Iterator[Rendering]:
        cut = "substr({0}, 1, {n})"
        yield Rendering(
            "text, microseconds unless they are zero",
            f"CASE WHEN substr({{0}}, 10) = '000000' THEN {cut.replace('{n}', '8')} ELSE {{0}} END",
        )
        yield Rendering("text, 6 digits of a second", "{0}")
        yield Rendering("text, 3 digits of a second", "CASE WHEN {0} GLOB '*000' THEN substr({0}, 1, 12) ELSE {0} END")
        yield Rendering("text, as many digits of a second as needed", "rtrim(rtrim({0}, '0'), '.')")
        yield Rendering("text, 7 digits of a second", "{0} || '0'")
        yield Rendering("text, to the minute", "CASE WHEN {0} GLOB '*:00.000000' THEN substr({0}, 1, 5) ELSE {0} END")

    return (f"to_char({name}, 'HH24:MI:SS.US')",), candidates()


def _interval(column: ColumnPlan, name: str) -> _Of:
    def candidates() -> Iterator[Rendering]:
        units = [column.rule.interval_unit] if column.rule.interval_unit else []
        for unit in units:
            nanoseconds = NANOSECONDS[unit]
            yield Rendering(
                f"integer, {unit}",
                f"CASE WHEN {{1}} * 1000 % {nanoseconds} = 0 THEN {{1}} * 1000 / {nanoseconds} "
                f"ELSE {{1}} * 1000.0 / {nanoseconds} END",
            )
            yield Rendering(f"real, {unit}", f"{{1}} * 1000.0 / {nanoseconds}")
        yield Rendering("text as PostgreSQL spells it", "{0}")

    return (f"{name}::text", f"(extract(epoch FROM {name}) * 1000000)::int8"), candidates()


_AS_TEXT = frozenset({"text", "varchar", "bpchar", "citext", "name", "enum"})

_BY_TYPE: dict[str, Callable[[ColumnPlan, str], _Of]] = {
    "bool": _boolean,
    "int2": _integer,
    "int4": _integer,
    "int8": _integer,
    "float4": _double,
    "float8": _double,
    "numeric": _numeric,
    "bytea": _bytes,
    "uuid": _uuid,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
    "interval": _interval,
    "json": _json,
    "jsonb": _json,
}
"""All other types go back as text in PostgreSQL's own spelling."""
