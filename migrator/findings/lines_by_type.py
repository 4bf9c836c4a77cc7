"""
Lists the lines of rules that make values of a type from other values, by what these values look like.

A line that settles none of the values is not offered, so a line is listed here as soon as it is plausible. But a line
must leave every value alone that it isn't about: ``CAST('n/a' AS INTEGER)`` would make 0 of a word.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from migrator.findings.rule_line import RuleLine
from migrator.findings.sample import Sample, SampleRow
from migrator.source.scan import StorageClass

_NUMBER_IN_TEXT = "CASE WHEN typeof(COLUMN) = 'text' THEN iif(json_valid(COLUMN), json_type(COLUMN), '') ELSE '' END"

_TRUE = frozenset({"t", "true", "y", "yes", "on", "1", "1.0"})
_FALSE = frozenset({"f", "false", "n", "no", "off", "0", "0.0", "", "-1"})


def _booleans(sample: Sample) -> Iterator[RuleLine]:
    known = {value: str(value).strip().casefold() for value in sample.stored}
    true = [value for value, word in known.items() if word in _TRUE]
    false = [value for value, word in known.items() if word in _FALSE]
    unknown = [value for value, word in known.items() if word not in _TRUE | _FALSE and not isinstance(value, str)]
    if true:
        yield RuleLine("true", true, "all that mean true")
    if false:
        yield RuleLine("false", false, "all that mean false")
    if unknown:
        yield RuleLine("true", [*unknown], "if they mean true")
        yield RuleLine("false", [*unknown], "if they mean false")


def _integers(sample: Sample) -> Iterator[RuleLine]:
    if _has(sample, StorageClass.REAL):
        whole = "iif(typeof(COLUMN) = 'real' AND CAST(COLUMN AS INTEGER) = COLUMN, CAST(COLUMN AS INTEGER), COLUMN)"
        yield RuleLine("expression", whole, "for whole numbers")
        rounded = "iif(typeof(COLUMN) = 'real', CAST(round(COLUMN) AS INTEGER), COLUMN)"
        yield RuleLine("expression", rounded, "rounds")
    if _has(sample, StorageClass.TEXT):
        digits = f"iif({_NUMBER_IN_TEXT} = 'integer' AND length(COLUMN) < 19, CAST(COLUMN AS INTEGER), COLUMN)"
        yield RuleLine("expression", digits, "for digits in text")
    if _has(sample, StorageClass.BLOB):
        yield _BYTES_OF_DIGITS


_BYTES_OF_DIGITS = RuleLine(
    "expression",
    "iif(typeof(COLUMN) = 'blob' AND CAST(CAST(CAST(COLUMN AS TEXT) AS INTEGER) AS TEXT) = CAST(COLUMN AS TEXT), "
    "CAST(CAST(COLUMN AS TEXT) AS INTEGER), COLUMN)",
    "where the bytes are digits",
)


def _doubles(sample: Sample) -> Iterator[RuleLine]:
    if _has(sample, StorageClass.TEXT):
        number = f"iif({_NUMBER_IN_TEXT} IN ('integer', 'real'), CAST(COLUMN AS REAL), COLUMN)"
        yield RuleLine("expression", number, "for numbers in text")
        comma = (
            "iif(typeof(COLUMN) = 'text' AND COLUMN GLOB '[0-9]*,[0-9]*' AND COLUMN NOT GLOB '*[^0-9,]*' "
            "AND COLUMN NOT GLOB '*,*,*', CAST(replace(COLUMN, ',', '.') AS REAL), COLUMN)"
        )
        yield RuleLine("expression", comma, "for a decimal comma")


def _numerics(sample: Sample) -> Iterator[RuleLine]:
    yield RuleLine("round", value=True, when="for finer digits")
    if any(row.text and re.fullmatch(r"-?[0-9]+,[0-9]+", row.text) for row in sample.rows):
        yield RuleLine("expression", "replace(COLUMN, ',', '.')", "for a decimal comma")
    if _has(sample, StorageClass.BLOB):
        yield _BYTES_OF_DIGITS


def _texts(sample: Sample) -> Iterator[RuleLine]:
    if _has(sample, StorageClass.BLOB):
        yield RuleLine(
            "expression", "iif(typeof(COLUMN) = 'blob', CAST(COLUMN AS TEXT), COLUMN)", "where its bytes are text"
        )
        yield RuleLine(
            "expression", "iif(typeof(COLUMN) = 'blob', lower(hex(COLUMN)), COLUMN)", "as hexadecimal digits"
        )
    if _has(sample, StorageClass.REAL):
        yield RuleLine("expression", "iif(typeof(COLUMN) = 'real', printf('%!.17g', COLUMN), COLUMN)", "all its digits")
    yield RuleLine("nul_bytes", "strip")
    yield RuleLine("invalid_utf8", "latin-1", "where the bytes are Latin-1")
    yield RuleLine("invalid_utf8", "replace", "puts U+FFFD in the place of each wrong byte")
    yield RuleLine("truncate", value=True, when="cuts what is too long")


def _blobs(sample: Sample) -> Iterator[RuleLine]:
    if _has(sample, StorageClass.INTEGER, StorageClass.REAL):
        yield RuleLine(
            "expression",
            "iif(typeof(COLUMN) IN ('integer', 'real'), CAST(CAST(COLUMN AS TEXT) AS BLOB), COLUMN)",
            "the digits as bytes",
        )


_NUMBER: Final = re.compile(rb"-?[0-9]{1,30}(\.[0-9]{0,30})?(e[-+]?[0-9]{1,3})?")

_UNITS: Final = (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9))
_LIKELY = (10 * 365 * 86_400, 110 * 365 * 86_400)
"""Seconds since 1970 of the years 1980 and 2080."""


def _moments(sample: Sample) -> Iterator[RuleLine]:
    numbers = [abs(float(row.head)) for row in sample.rows if _NUMBER.fullmatch(row.head)]
    # Smaller numbers are likely moments in no unit: 0 often means that there is none.
    counts = [number for number in numbers if number >= _LIKELY[0]]
    fitting = [unit for unit, per_second in _UNITS if any(_is_likely(number / per_second) for number in counts)]
    for_all = [unit for unit in fitting if all(_is_likely(number / dict(_UNITS)[unit]) for number in counts)]
    if len(fitting) > 1 and not for_all:
        yield RuleLine("expression", _BY_SIZE, "where some count seconds and some milliseconds since 1970")
    fitting = for_all or fitting
    if any(2_400_000 < number < 2_500_000 for number in numbers):  # noqa: PLR2004 - the years 1858 to 2132
        yield RuleLine("julian", value=True, when="for numbers that are Julian days")
    for unit, _ in _UNITS:
        if numbers and (unit in fitting or not fitting):
            yield RuleLine("epoch", unit, f"for numbers that count {_WORDS[unit]} since 1970")
    if numbers:
        yield RuleLine("expression", _ONE_UNIT, "where some count seconds and some milliseconds")
    yield RuleLine("go_time", value=True, when="for what Go prints")
    yield RuleLine("truncate", value=True, when="cuts finer digits of a second")
    if any(row.text and re.match(r"[0-9]{4}/[0-9]{2}/[0-9]{2}", row.text) for row in sample.rows):
        yield RuleLine("expression", "replace(COLUMN, '/', '-')", "for slashes between year, month and day")


def _timestamps(sample: Sample) -> Iterator[RuleLine]:
    """Yield the lines for a column without a time zone, which takes no text with an offset."""
    if any(row.text and re.search(r":[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$", row.text) for row in sample.rows):
        yield RuleLine("expression", _IN_UTC, "the same moments in UTC")
    yield from _moments(sample)


# The digits of a second are cut off before SQLite computes with the time, since it rounds to milliseconds.
_IN_UTC = (
    "CASE WHEN COLUMN GLOB '????-??-??[T ]??:??:??*[+-][0-9][0-9]:[0-9][0-9]' THEN datetime(substr(COLUMN, 1, 19) || "
    "substr(COLUMN, -6)) || substr(COLUMN, 20, length(COLUMN) - 25) WHEN COLUMN GLOB '????-??-??[T ]??:??:??*Z' THEN "
    "substr(COLUMN, 1, length(COLUMN) - 1) ELSE COLUMN END"
)

_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

_ONE_UNIT = "iif(typeof(COLUMN) <> 'text' AND abs(COLUMN) >= 100000000000, COLUMN / 1000.0, COLUMN)"

_BY_SIZE = (
    "iif(typeof(COLUMN) = 'integer', coalesce(strftime('%Y-%m-%d %H:%M:%f', "
    "COLUMN / iif(abs(COLUMN) >= 100000000000, 1000.0, 1.0), 'unixepoch'), COLUMN), COLUMN)"
)


def _is_likely(seconds: float) -> bool:
    return _LIKELY[0] <= seconds <= _LIKELY[1]


def _dates(sample: Sample) -> Iterator[RuleLine]:
    yield from _moments(sample)
    if any(row.text and re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T]", row.text) for row in sample.rows):
        # Not date(COLUMN), since it would turn the word "now" into the day of the migration.
        yield RuleLine("expression", "substr(COLUMN, 1, 10)", "drops the time of day")
    for unit, divisor in (("s", ""), ("ms", " / 1000"), ("us", " / 1000000")):
        day = f"iif(typeof(COLUMN) IN ('integer', 'real'), date(COLUMN{divisor}, 'unixepoch'), COLUMN)"
        if any(row.storage is not StorageClass.TEXT and _fits(row, unit) for row in sample.rows):
            yield RuleLine("expression", day, f"{_WORDS[unit]} since 1970, without the time of day")


def _fits(row: SampleRow, unit: str) -> bool:
    per_second = dict(_UNITS)[unit]
    return isinstance(row.stored, int | float) and _is_likely(abs(row.stored) / per_second)


def _times(sample: Sample) -> Iterator[RuleLine]:
    yield RuleLine("truncate", value=True, when="cuts finer digits of a second")
    if _has(sample, StorageClass.INTEGER):
        yield RuleLine(
            "expression", "iif(typeof(COLUMN) = 'integer', time(COLUMN, 'unixepoch'), COLUMN)", "seconds of the day"
        )


def _intervals(sample: Sample) -> Iterator[RuleLine]:
    if any(_NUMBER.fullmatch(row.head) for row in sample.rows):
        yield RuleLine("interval_unit", "us", "for microseconds, as Django stores durations")
        yield RuleLine("interval_unit", "ms", "for milliseconds")
        yield RuleLine("interval_unit", "s", 'for seconds; or "ns", "min", "h", "d"')
    if any(row.text and re.fullmatch(r"-?[0-9]+\.[0-9]{2}:.*", row.text) for row in sample.rows):
        dotted = (
            "iif(COLUMN GLOB '[0-9]*.[0-9][0-9]:*', substr(COLUMN, 1, instr(COLUMN, '.') - 1) || ' days ' || "
            "substr(COLUMN, instr(COLUMN, '.') + 1), COLUMN)"
        )
        yield RuleLine("expression", dotted, "days before the point, as .NET writes them")
    if any(row.text and re.fullmatch(r"-?[0-9]+:[0-5][0-9]", row.text) for row in sample.rows):
        minutes = "iif(COLUMN GLOB '*[0-9]:[0-9][0-9]' AND COLUMN NOT GLOB '*:*:*', COLUMN || ':00', COLUMN)"
        yield RuleLine("expression", minutes, "for hours and minutes")
    yield RuleLine("truncate", value=True, when="cuts finer digits of a second")


def _jsons(sample: Sample) -> Iterator[RuleLine]:
    yield RuleLine("duplicate_keys", "last", "keeps the last of equal keys")
    yield from _texts(sample)
    if _has(sample, StorageClass.TEXT):
        escape = "iif(typeof(COLUMN) = 'text', replace(COLUMN, '\\u0000', ''), COLUMN)"
        yield RuleLine("expression", escape, "takes the escapes of NUL out")
        quoted = (
            "CASE WHEN typeof(COLUMN) = 'text' THEN iif(json_valid(COLUMN), COLUMN, json_quote(COLUMN)) ELSE COLUMN END"
        )
        yield RuleLine("expression", quoted, "as strings of JSON, where it is text and no JSON")


def _uuids(sample: Sample) -> Iterator[RuleLine]:
    if any(row.text and re.match(r"\{|urn:uuid:", row.text, re.IGNORECASE) for row in sample.rows):
        bare = "iif(typeof(COLUMN) = 'text', trim(replace(lower(COLUMN), 'urn:uuid:', ''), '{} '), COLUMN)"
        yield RuleLine("expression", bare, "takes braces and urn:uuid: away")
    yield from _trimmed(sample)
    if _has(sample, StorageClass.BLOB):
        yield RuleLine(
            "expression",
            "iif(typeof(COLUMN) = 'blob' AND length(COLUMN) <> 16, CAST(COLUMN AS TEXT), COLUMN)",
            "where the bytes are digits",
        )


def _labels(sample: Sample) -> Iterator[RuleLine]:
    yield RuleLine("expression", "lower(trim(COLUMN))", "for labels in lower case")
    yield RuleLine("expression", "upper(trim(COLUMN))", "for labels in upper case")
    yield from _trimmed(sample)


def _trimmed(sample: Sample) -> Iterator[RuleLine]:
    if any(row.text is not None and row.text != row.text.strip(" ") for row in sample.rows):
        yield RuleLine("expression", "iif(typeof(COLUMN) = 'text', trim(COLUMN), COLUMN)", "takes blanks away")


def _arrays(sample: Sample) -> Iterator[RuleLine]:
    if _has(sample, StorageClass.TEXT):
        brackets = "replace(replace(COLUMN, '[', '{'), ']', '}')"
        yield RuleLine("expression", brackets, "for lists in lists")
        listed = (
            "iif(typeof(COLUMN) = 'text' AND substr(ltrim(COLUMN), 1, 1) NOT IN ('{', '['), "
            "'{' || COLUMN || '}', COLUMN)"
        )
        yield RuleLine("expression", listed, "for elements with commas between them")


def _has(sample: Sample, *classes: StorageClass) -> bool:
    return any(row.storage in classes for row in sample.rows)


_BY_TYPE: Final[Mapping[str, Callable[[Sample], Iterator[RuleLine]]]] = {
    "bool": _booleans,
    **dict.fromkeys(("int2", "int4", "int8"), _integers),
    **dict.fromkeys(("float4", "float8"), _doubles),
    "numeric": _numerics,
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "name"), _texts),
    "bytea": _blobs,
    "date": _dates,
    "timestamp": _timestamps,
    "timestamptz": _moments,
    "time": _times,
    "interval": _intervals,
    **dict.fromkeys(("json", "jsonb"), _jsons),
    "uuid": _uuids,
    "enum": _labels,
}


def lines_for_type(kind: str, sample: Sample) -> Iterator[RuleLine]:
    """Yield the lines that may make values of a type from other values; ``kind`` is the type's name, or ``enum``."""
    return _BY_TYPE.get(kind, _arrays if kind.startswith("_") else _trimmed)(sample)
