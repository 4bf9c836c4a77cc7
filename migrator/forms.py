"""
The form in which the values of both ends are compared, for every type of the target.

The copier converts with Arrow and this module casts with DuckDB, on purpose: a mistake in one of them shows as a
difference. It imports nothing of ``types`` or ``encode``, and a test of the structure holds it to that.

Two values have the same form if and only if they are the same value to PostgreSQL: 1.50 and 1.5 as ``numeric``, two
spellings of one ``jsonb`` or ``uuid``, one instant at two offsets. Nothing else is smoothed over: NULL and '' differ,
so do 0.0 and -0.0, blanks, case, and the normal forms of Unicode.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from migrator.names import quote_postgres
from migrator.source import Lane, SourceColumn, StorageClass
from migrator.target import TargetColumn


@dataclass(frozen=True, slots=True)
class Pair:
    """A source column and the target column that must hold the same values."""

    source: SourceColumn
    target: TargetColumn


@dataclass(frozen=True, slots=True)
class Reading:
    """How a column is read at both ends, and the DuckDB SQL that brings either reading to the form compared."""

    lanes: tuple[Lane, ...]
    from_source: str
    """SQL over ``{0}``, ``{1}``: the lanes."""
    select: str
    """What PostgreSQL is asked for."""
    from_target: str
    """SQL over ``{0}``: what it answered."""
    shown_source: str = "{0}::VARCHAR"
    """SQL over the lanes for the value as a person is shown it."""
    shown_target: str = "{0}::VARCHAR"
    by_server: bool = False
    """Whether PostgreSQL itself has to bring the source's text to its normal form first."""


@dataclass(frozen=True, slots=True)
class Side:
    """One end of a table in SQL over ``c0``, ``c1``, …: the form of every column, and its text as it is shown."""

    forms: tuple[str, ...]
    shown: tuple[str, ...]


def source_side(readings: Sequence[Reading], prefix: str = "") -> Side:
    """Return the source's SQL; ``prefix`` goes before every column's name."""
    starts = [0, *accumulate(len(reading.lanes) for reading in readings)]
    lanes = [
        [f"{prefix}c{start + i}" for i in range(len(reading.lanes))]
        for start, reading in zip(starts, readings, strict=False)
    ]
    return Side(
        tuple(reading.from_source.format(*names) for reading, names in zip(readings, lanes, strict=True)),
        tuple(reading.shown_source.format(*names) for reading, names in zip(readings, lanes, strict=True)),
    )


def target_side(readings: Sequence[Reading], prefix: str = "") -> Side:
    """Return the target's SQL; ``prefix`` goes before every column's name."""
    return Side(
        tuple(reading.from_target.format(f"{prefix}c{i}") for i, reading in enumerate(readings)),
        tuple(reading.shown_target.format(f"{prefix}c{i}") for i, reading in enumerate(readings)),
    )


def reading(pair: Pair) -> Reading:  # noqa: C901, PLR0911 - a table, read from the top
    """Return how the pair's values are read and compared."""
    column, target = pair.source.quoted, quote_postgres(pair.target.name)
    match "enum" if pair.target.enum_labels else pair.target.type_name:
        case "bool":
            # Not cast to BOOLEAN: that would take every integer but 0 for true.
            return Reading((Lane(column, StorageClass.INTEGER),), "{0}", f"{target}::int4", "{0}::BIGINT")
        case "int2" | "int4" | "int8":
            return Reading((Lane(column, StorageClass.INTEGER),), "{0}", f"{target}::int8", "{0}::BIGINT")
        case "float4" | "float8":
            # Text is left as it is, and so stops the scan: SQLite would cast a word to 0.0.
            double = f"CASE WHEN typeof({column}) = 'text' THEN {column} ELSE CAST({column} AS REAL) END"
            return Reading((Lane(double, StorageClass.REAL),), "bits({0})", f"{target}::float8", "bits({0})")
        case "bytea":
            blob = (Lane(f"CAST({column} AS BLOB)", StorageClass.BLOB),)
            return Reading(blob, "{0}", target, "{0}", shown_source=_DIGITS, shown_target=_DIGITS)
        case "uuid":
            digits = f"CASE typeof({column}) WHEN 'blob' THEN hex({column}) ELSE {column} END"
            lanes = (Lane(digits, StorageClass.TEXT),)
            return Reading(lanes, "hex_form({0})", f"{target}::text", "hex_form({0})")
        case "date" | "time" | "timestamp" | "timestamptz" as name:
            read = f"moment({{0}}, {name}_of({{0}}))"
            given = "moment({0}, epoch_us({0}))" if name == "timestamptz" else "moment({0}, {0})"
            return Reading(_text(column), read, target, given)
        case "text" | "varchar" | "citext" | "name" | "enum":
            return Reading(_text(column), "{0}", f"{target}::text", "{0}")
        case "bpchar":
            # Blanks at the end of char(n) are padding (PostgreSQL, "Character Types").
            return Reading(_text(column), "rtrim({0}, ' ')", f"{target}::text", "rtrim({0}, ' ')")
        case "numeric":
            return _text_or_real(column, target, "decimal_form({0})")
        case "jsonb":
            return _text_or_real(column, target, "json_form({0})", shown="json_shown({0})")
        case "json":
            return _text_or_real(column, target, "{0}")
        case _:
            return _text_or_real(column, target, "{0}", by_server=True)


_DIGITS = "lower(hex({0}))"


def _text(column: str) -> tuple[Lane, ...]:
    return (Lane(f"CAST({column} AS TEXT)", StorageClass.TEXT),)


def _text_or_real(
    column: str, target: str, form: str, *, shown: str = "{0}::VARCHAR", by_server: bool = False
) -> Reading:
    # SQLite's own cast of a REAL to text keeps 15 digits, so DuckDB spells the doubles.
    lanes = (
        Lane(f"CASE typeof({column}) WHEN 'real' THEN NULL ELSE CAST({column} AS TEXT) END", StorageClass.TEXT),
        Lane(f"CASE typeof({column}) WHEN 'real' THEN {column} END", StorageClass.REAL),
    )
    given = "coalesce({0}, {1}::VARCHAR)"
    return Reading(
        lanes,
        form.replace("{0}", given),
        f"{target}::text",
        form,
        shown_source=shown.replace("{0}", given),
        shown_target=shown,
        by_server=by_server,
    )


def _formats(*times: str) -> str:
    return ", ".join(f"'%Y-%m-%d{time}'" for time in times)


_TIMES = ("%H:%M:%S.%f", "%H:%M:%S", "%H:%M", "%H")
_NAIVE = tuple(f"{between}{time}" for time in _TIMES for between in (" ", "T"))

# `bits`: 0.0 and -0.0 hash alike, so the sign goes in; all NaNs are one, as PostgreSQL has it.
# `moment`: what can't be read is no NULL, so the text's own presence goes in.
# `…_of`: dates and times in the spellings that are listed, and no others: a cast would drop an offset or a nanosecond
#   and roll 24:00 over. The most usual come first. `strptime` knows words (infinity), hence `starts_with_digit`.
#   Zeros after the sixth digit of a fraction say nothing, and are taken away if that helps.
# `decimal_form`: a number's digits, without the zeros, the sign and the exponent that say nothing. An exponent that no
#   `numeric` has (six digits and more) is left alone: nobody needs that many zeros.
# `plain_numbers`: a document whose numbers are spelled alike: 1e2 as 100, 1.50 as 1.5, -0 as 0.
# `json_form`: keys sorted, the last of twins kept, escapes and blanks gone. DuckDB reads a fraction as a double, which
#   holds 15 digits of any decimal; so the numbers of a document with a longer one go in as they are spelled.
# `list_transform([x], lambda y: …)[1]` is how a macro uses a value several times and computes it once.
MACROS = (
    rf"""
CREATE MACRO bits(number) AS struct_pack(number := number, negative := signbit(number));
CREATE MACRO moment(given, reading) AS struct_pack(given := given IS NULL, reading := reading);
CREATE MACRO starts_with_digit(given) AS given >= '0' AND given < ':';
CREATE MACRO short_fraction(given) AS regexp_replace(given, '(\.\d{{6}})0+', '\1');
CREATE MACRO naive(given) AS try_strptime(given, [{_formats(*_NAIVE, "")}]);
CREATE MACRO zoned(given) AS try_strptime(given, [{_formats(*(f"{time}%z" for time in _NAIVE))}]);
CREATE MACRO date_of(given) AS CASE WHEN starts_with_digit(given) THEN try_strptime(given, '%Y-%m-%d')::DATE END;
CREATE MACRO time_of(given) AS CASE WHEN starts_with_digit(given) THEN coalesce(
    try_strptime('1970-01-01 ' || given, [{_formats(*(f" {time}" for time in _TIMES))}]),
    try_strptime('1970-01-01 ' || short_fraction(given), '%Y-%m-%d %H:%M:%S.%f'))::TIME END;
CREATE MACRO timestamp_of(given) AS CASE WHEN starts_with_digit(given)
    THEN coalesce(naive(given), naive(short_fraction(given))) END;
CREATE MACRO timestamptz_of(given) AS CASE WHEN starts_with_digit(given) THEN epoch_us(coalesce(
    timezone('UTC', naive(given)), zoned(given), zoned(regexp_replace(given, '[zZ]$', '+00')),
    timezone('UTC', naive(short_fraction(given))), zoned(regexp_replace(short_fraction(given), '[zZ]$', '+00')))) END;
"""
    r"""
CREATE MACRO hex_form(digits) AS lower(replace(digits, '-', ''));
CREATE MACRO shifted(whole, fraction, exponent) AS (
    CASE WHEN length(whole) + exponent <= 0
           THEN '0.' || repeat('0', -(length(whole) + exponent)) || whole || fraction
         WHEN exponent >= length(fraction)
           THEN whole || fraction || repeat('0', exponent - length(fraction))
         ELSE left(whole || fraction, length(whole) + exponent) || '.'
              || right(whole || fraction, length(fraction) - exponent)
    END);
CREATE MACRO without_exponent(number) AS
    if(starts_with(number, '-'), '-', '') || regexp_replace(
        shifted(regexp_extract(number, '^[+-]?(\d*)', 1), regexp_extract(number, '\.(\d*)', 1),
                coalesce(try_cast(regexp_extract(number, '[eE]([+-]?\d+)$', 1) AS INTEGER), 0)), '^0+(\d)', '\1');
CREATE MACRO is_beyond(number) AS regexp_matches(number, '[eE][+-]?0*[1-9]\d{5}');
CREATE MACRO without_zeros(number) AS (
    CASE WHEN NOT contains(number, '.') THEN if(number = '-0', '0', number)
         WHEN rtrim(rtrim(number, '0'), '.') = '-0' THEN '0'
         ELSE rtrim(rtrim(number, '0'), '.') END);
CREATE MACRO decimal_form(given) AS (
    CASE WHEN regexp_full_match(given, '-?(0|[1-9]\d*)(\.\d+)?') THEN without_zeros(given)
         WHEN regexp_full_match(given, '[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?') AND NOT is_beyond(given)
           THEN list_transform([without_exponent(given)], lambda number: without_zeros(number))[1]
         ELSE given END);
CREATE MACRO plain_number(token) AS (
    CASE WHEN regexp_matches(token, '^[-\d]') AND NOT is_beyond(token)
           THEN without_zeros(if(regexp_matches(token, '[eE]'), without_exponent(token), token))
         ELSE token END);
CREATE MACRO plain_numbers(document) AS (
    CASE WHEN regexp_matches(document, '-0|\d[eE]|\.\d*0(\D|$)')
           THEN array_to_string(list_transform(
               regexp_extract_all(document, '(?s)"(?:\\.|[^"\\])*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[^"\d-]+|.'),
               lambda token: plain_number(token)), '')
         ELSE document END);
CREATE MACRO numbers(document) AS regexp_extract_all(
    regexp_replace(document, '(?s)"(\\.|[^"\\])*"', '""', 'g'), '-?\d+(\.\d+)?([eE][+-]?\d+)?');
CREATE MACRO sorted_keys(document) AS coalesce(try_cast(document AS JSON)::VARIANT::JSON::VARCHAR, trim(document));
CREATE MACRO json_shown(given) AS sorted_keys(plain_numbers(given));
CREATE MACRO json_form(given) AS (
    CASE WHEN regexp_matches(given, '-0|\d[eE]|\.0+(\D|$)|\d[\d.]{15}') THEN
           list_transform([plain_numbers(given)], lambda document: struct_pack(
               form := sorted_keys(document),
               digits := CASE WHEN regexp_matches(document, '\d[\d.]{15}') THEN list_sort(numbers(document)) END))[1]
         ELSE struct_pack(form := sorted_keys(given), digits := NULL::VARCHAR[]) END);
"""
)
