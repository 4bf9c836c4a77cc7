"""
Every other type: arrays, inet, ranges, tsvector, hstore, interval, money, … There is no binary encoder for them.

The table is sent as COPY text, and PostgreSQL's own input function reads each value. Preflight has asked PostgreSQL
about each value before.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.family import TypeFamily, inexact_error, join_text_and_real, stored_as, text_and_real_columns
from migrator.types.problem import ConversionError, Problem, ProblemCode
from migrator.types.texts import convert as check_text

# PostgreSQL, "Date/Time Input": the meaning of these words depends on when they are read.
_CLOCK_WORDS = r"(?i)\b(now|today|tomorrow|yesterday)\b"
_TELL_TIME = ("date", "time", "interval", "tsrange", "tstzrange", "tsmultirange", "tstzmultirange")
_FINER_THAN_MICROSECONDS = r"\.[0-9]{6}[0-9]*[1-9]"
_CENTS = r"^-?[0-9]+(\.[0-9]{0,2}0*)?$"


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse BLOBs: none of these types has arbitrary bytes as its text form."""
    return (stored_as(expression, StorageClass.TEXT, StorageClass.INTEGER, StorageClass.REAL),)


def interval_problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse numbers too: PostgreSQL would read them as seconds, which may be wrong."""
    return (stored_as(expression, StorageClass.TEXT),)


def convert(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return the text. Raises ConversionError for invalid UTF-8, NUL, and text that PostgreSQL would change."""
    text = check_text((join_text_and_real(arrays),), column)
    if any(word in column.type_name for word in _TELL_TIME):
        if pc.any(pc.match_substring_regex(text, _CLOCK_WORDS)).as_py():
            raise ConversionError(
                ProblemCode.RELATIVE_TIME, "is a word that PostgreSQL would read as the time of the migration"
            )
        if pc.any(pc.match_substring_regex(text, _FINER_THAN_MICROSECONDS)).as_py():
            raise ConversionError(
                ProblemCode.TOO_MANY_FRACTION_DIGITS, "has more digits of a second than PostgreSQL keeps"
            )
    if column.type_name == "money" and pc.all(pc.match_substring_regex(text, _CENTS)).as_py() is False:
        raise inexact_error(column)  # rounded to cents, and read by the server's locale
    if column.type_name == "char" and (pc.max(pc.binary_length(text)).as_py() or 0) > 1:
        raise inexact_error(column)  # the one-byte type "char", which keeps the first byte
    return text


def _from_json(expression: str) -> str:
    """Return SQL that writes a flat JSON list, the usual form of arrays in SQLite, as PostgreSQL's array literal."""
    quoted = "'\"' || replace(replace(item.atom, '\\', '\\\\'), '\"', '\\\"') || '\"'"
    item = (
        f"CASE item.type WHEN 'null' THEN 'NULL' WHEN 'text' THEN {quoted} ELSE given -> ('$[' || item.key || ']') END"
    )
    literal = f"'{{' || coalesce((SELECT group_concat({item}, ',') FROM json_each(given) AS item), '') || '}}'"
    is_flat = (
        "CASE WHEN typeof(given) = 'text' AND substr(ltrim(given), 1, 1) = '[' THEN json_valid(given) "
        "AND NOT EXISTS (SELECT 1 FROM json_each(given) WHERE type IN ('array', 'object')) END"
    )
    return f"(SELECT CASE WHEN {is_flat} THEN {literal} ELSE given END FROM (SELECT {expression} AS given))"


def _from_moment(expression: str) -> str:
    """Return SQL that writes SQLAlchemy's interval, which is stored as a time after 1970, as days and microseconds."""
    form = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]"
    seconds = "unixepoch(substr(given, 1, 19))"
    # SQLite accepts the 31st of any month, and 24:00 (SQLite, "Date And Time Functions"). It writes these as another
    # date, so the comparison finds them.
    is_one = f"datetime({seconds}, 'unixepoch') IS substr(given, 1, 19)"
    within_day = f"(({seconds} % 86400 + 86400) % 86400)"
    interval = (
        f"(({seconds} - {within_day}) / 86400) || ' days ' || "
        f"printf('%02d:%02d:%02d', {within_day} / 3600, {within_day} / 60 % 60, {within_day} % 60) || substr(given, 20)"
    )
    return (
        f"(SELECT CASE WHEN typeof(given) = 'text' AND given GLOB '{form}' AND {is_one} THEN {interval} "
        f"ELSE given END FROM (SELECT {expression} AS given))"
    )


OTHERS = TypeFamily(
    "others",
    frozenset(),
    scan_columns=text_and_real_columns,
    problems=problems,
    convert=convert,
    encoder=None,
    reads_content=True,
    asks_server=True,
)
ARRAYS = replace(OTHERS, name="arrays", source_rewrite=_from_json)
INTERVALS = replace(
    OTHERS,
    name="intervals",
    serves=frozenset({"interval"}),
    problems=interval_problems,
    source_rewrite=_from_moment,
)
