"""
date, time, timestamp, timestamptz. SQLite has no such types; applications write ISO 8601 text, as SQLAlchemy does.

Arrow parses the text here, and a number is sent. PostgreSQL's own parser would read ``now`` as the time of the
migration, and would read ``24:00:00`` as midnight of the next day.
"""

from collections.abc import Sequence
from functools import partial

import pgpq.encoders
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.family import TypeFamily, one_column, problems_if_blob, stored_as
from migrator.types.problem import ConversionError, Problem, ProblemCode

# The scalars have explicit types: pyarrow takes longer to infer a scalar's type than to compare a thousand rows.
_DATE_LENGTH = pa.scalar(len("2024-02-29"), pa.int32())
_HOURS_END = pa.scalar(len("2024-02-29 12"), pa.int32())
_MIDNIGHT, _SOME_DAY, _SPACE = (pa.scalar(text, pa.string()) for text in ("00:00", "1970-01-01", " "))
_NO_MINUTES = "hours without minutes"
_OFFSET = r"(Z|[+-]\d\d(:?\d\d)?)$"
_FIRST = pa.scalar("0001-01-01").cast(pa.timestamp("us"))
_LAST = pa.scalar("9999-12-31 23:59:59.999999").cast(pa.timestamp("us"))
"""Other years have no ISO 8601 form that both databases and the applications read in the same way."""
_MICROSECOND_DIGITS = 6


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse numbers: only a rule can say whether they count seconds, milliseconds or days."""
    return (stored_as(expression, StorageClass.TEXT),)


def convert(arrays: Sequence[pa.Array], column: TargetColumn, zone: str = "UTC") -> pa.Array:
    """
    Return date32, time64 in microseconds or timestamp in microseconds, according to the type of ``column``.

    ``zone`` is the time zone of text without an offset, for timestamptz. Raises ``pa.ArrowInvalid`` for text that is
    no date or time, and ConversionError for a value that the column can't hold exactly.
    """
    text = arrays[0]
    moments = _timestamptz(text, zone) if column.type_name == "timestamptz" else _PARSERS[column.type_name](text)
    if 0 <= column.modifier < _MICROSECOND_DIGITS:
        _check_digits(moments, column)
    return moments


def _check_digits(moments: pa.Array, column: TargetColumn) -> None:
    """Raise ConversionError for more digits of a second than the column keeps, which PostgreSQL would round off."""
    # PostgreSQL, "Date/Time Types".
    step = pa.scalar(10 ** (_MICROSECOND_DIGITS - column.modifier), pa.int64())
    count = pc.cast(moments, pa.int64())
    if pc.all(pc.equal(pc.multiply(pc.divide(count, step), step), count)).as_py() is False:
        raise ConversionError(
            ProblemCode.TOO_MANY_FRACTION_DIGITS, f"has more digits of a second than {column.declared} keeps"
        )


def _date(text: pa.Array) -> pa.Array:
    dates = pc.cast(text, pa.date32())
    _check_years(pc.cast(dates, pa.timestamp("us")))
    return dates


def _time(text: pa.Array) -> pa.Array:
    _check_minutes(text, colon=len("12"))
    with_date = pc.cast(pc.binary_join_element_wise(_SOME_DAY, text, _SPACE), pa.timestamp("us"))
    return pc.cast(with_date, pa.time64("us"))


def _timestamp(text: pa.Array) -> pa.Array:
    moments = pc.cast(text, pa.timestamp("us"))
    if pc.any(pc.equal(pc.binary_length(text), _HOURS_END)).as_py():
        raise pa.ArrowInvalid(_NO_MINUTES)
    _check_years(moments)
    return moments


def _timestamptz(text: pa.Array, zone: str) -> pa.Array:
    """Parse text with an offset as that instant, and text without one as a time in ``zone``."""
    try:
        return _in_utc(_timestamp(text), zone)
    except pa.ArrowInvalid:
        pass  # some texts have an offset, or are no timestamp at all
    only_date = pc.equal(pc.binary_length(text), _DATE_LENGTH)
    dated = pc.if_else(only_date, pc.binary_join_element_wise(text, _MIDNIGHT, _SPACE), text)
    _check_minutes(dated, colon=_HOURS_END)
    has_offset = pc.match_substring_regex(dated, _OFFSET)
    null = pa.scalar(None, pa.string())
    local = _in_utc(pc.cast(pc.if_else(has_offset, null, dated), pa.timestamp("us")), zone)
    instants = pc.coalesce(pc.cast(pc.if_else(has_offset, dated, null), _INSTANT), local)
    _check_years(pc.cast(instants, pa.timestamp("us")))
    return instants


def _in_utc(naive: pa.Array, zone: str) -> pa.Array:
    if zone == "UTC":
        return pc.cast(naive, _INSTANT)
    try:
        return pc.cast(pc.assume_timezone(naive, zone), _INSTANT)
    except pa.ArrowInvalid as error:
        raise ConversionError(
            ProblemCode.AMBIGUOUS_LOCAL_TIME, f"is an hour that {zone} has twice, or not at all"
        ) from error


def _check_minutes(text: pa.Array, *, colon: int) -> None:
    """Raise ArrowInvalid for a text with hours but no minutes: Arrow accepts it, but its meaning is only a guess."""
    if pc.all(pc.equal(pc.find_substring(text, ":"), pa.scalar(colon, pa.int32()))).as_py() is False:
        raise pa.ArrowInvalid(_NO_MINUTES)


def _check_years(moments: pa.Array) -> None:
    limits = pc.min_max(moments)
    if not limits["min"].is_valid:
        return
    if pc.less(limits["min"], _FIRST).as_py():
        raise ConversionError(ProblemCode.YEAR_OUT_OF_RANGE, "lies before the year 1")
    if pc.greater(limits["max"], _LAST).as_py():
        raise ConversionError(ProblemCode.YEAR_OUT_OF_RANGE, "lies after the year 9999")


_INSTANT = pa.timestamp("us", "UTC")
_PARSERS = {"date": _date, "time": _time, "timestamp": _timestamp}


def encoder(field: pa.Field) -> object:
    """Return the encoder of the field's Arrow type."""
    if pa.types.is_date32(field.type):
        return pgpq.encoders.Date32EncoderBuilder(field)
    if pa.types.is_time64(field.type):
        return pgpq.encoders.Time64MicrosecondEncoderBuilder(field)
    return pgpq.encoders.TimestampMicrosecondEncoderBuilder(field)


_DATES_TIMES = TypeFamily(
    "dates_times",
    frozenset({*_PARSERS, "timestamptz"}),
    scan_columns=one_column(StorageClass.TEXT),
    problems=problems,
    convert=convert,
    encoder=encoder,
    reads_content=True,
)
DATES_TIMES = replace(_DATES_TIMES, fast=replace(_DATES_TIMES, problems=problems_if_blob))


def in_zone(zone: str) -> TypeFamily:
    """Return the family that reads text without an offset as a time in the time zone ``zone``."""
    family = replace(_DATES_TIMES, convert=partial(convert, zone=zone))
    return replace(family, fast=replace(family, problems=problems_if_blob))
