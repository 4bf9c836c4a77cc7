"""
The form in which the values of both ends are compared, for every type of the target.

The copier converts with Arrow and this module casts with DuckDB, on purpose: a mistake in one of them shows as a
difference. It imports nothing of ``types`` or ``encode``, and a test of the structure holds it to that.

Two values have the same form if and only if they are the same value to PostgreSQL: 1.50 and 1.5 as ``numeric``, two
spellings of one ``jsonb`` or ``uuid``, one instant at two offsets. Nothing else is smoothed over: NULL and '' differ,
so do 0.0 and -0.0, blanks, case, and the normal forms of Unicode.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

from migrator.names import quote_literal, quote_postgres
from migrator.source.scan import ScanColumn, StorageClass
from migrator.sql.utf8 import IS_UTF16
from migrator.target.schema import TargetColumn

_REMEMBERED = 10_000
"""Readings: many tables have columns of one name and type."""


@dataclass(frozen=True, slots=True)
class ColumnPair:
    """A column of the source, as SQL over its table, and the target column that must hold the same values."""

    expression: str
    target: TargetColumn
    timezone: str = "UTC"
    """Where the clocks stood that showed times without an offset."""
    keys: tuple[str, ...] = ()
    """Those that its JSON objects usually have, where that is known."""


@dataclass(frozen=True, slots=True)
class CanonicalForm:
    """How a column is read at both ends, and the DuckDB SQL that brings either reading to the form compared."""

    scan_columns: tuple[ScanColumn, ...]
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


def source_side(readings: Sequence[CanonicalForm], prefix: str = "") -> Side:
    """Return the source's SQL; ``prefix`` goes before every column's name."""
    starts = [0, *accumulate(len(canonical_form.scan_columns) for canonical_form in readings)]
    scan_columns = [
        [f"{prefix}c{start + i}" for i in range(len(canonical_form.scan_columns))]
        for start, canonical_form in zip(starts, readings, strict=False)
    ]
    return Side(
        tuple(
            canonical_form.from_source.format(*names)
            for canonical_form, names in zip(readings, scan_columns, strict=True)
        ),
        tuple(
            canonical_form.shown_source.format(*names)
            for canonical_form, names in zip(readings, scan_columns, strict=True)
        ),
    )


def target_side(readings: Sequence[CanonicalForm], prefix: str = "") -> Side:
    """Return the target's SQL; ``prefix`` goes before every column's name."""
    return Side(
        tuple(canonical_form.from_target.format(f"{prefix}c{i}") for i, canonical_form in enumerate(readings)),
        tuple(canonical_form.shown_target.format(f"{prefix}c{i}") for i, canonical_form in enumerate(readings)),
    )


@lru_cache(maxsize=_REMEMBERED)
def canonical_form(pair: ColumnPair) -> CanonicalForm:  # noqa: C901, PLR0911, PLR0912 - a table, read from the top
    """Return how the pair's values are read and compared."""
    column, target = pair.expression, quote_postgres(pair.target.name)
    match "enum" if pair.target.enum_labels else pair.target.type_name:
        case "bool":
            # Not cast to BOOLEAN: that would take every integer but 0 for true.
            return _number(column, StorageClass.INTEGER, "{0}", f"{target}::int4", "{0}::BIGINT")
        case "int2" | "int4" | "int8":
            return _number(column, StorageClass.INTEGER, "{0}", f"{target}::int8", "{0}::BIGINT")
        case "float4" | "float8":
            return _number(column, StorageClass.REAL, "bits({0})", f"{target}::float8", "bits({0})")
        case "bytea":
            # Text has its bytes in UTF-8; of a file in UTF-16 it is DuckDB that makes them, and not the copier's SQL.
            translated = f"{IS_UTF16} AND typeof({column}) = 'text'"
            blob = (
                ScanColumn(f"CASE WHEN NOT ({translated}) THEN CAST({column} AS BLOB) END", StorageClass.BLOB),
                ScanColumn(f"CASE WHEN {translated} THEN {column} END", StorageClass.TEXT),
            )
            bytes_of = "coalesce({0}, encode({1}))"
            shown = _DIGITS.format(bytes_of)
            return CanonicalForm(blob, bytes_of, target, "{0}", shown_source=shown, shown_target=_DIGITS)
        case "uuid":
            digits = f"CASE typeof({column}) WHEN 'blob' THEN hex({column}) ELSE CAST({column} AS TEXT) END"
            scan_columns = (ScanColumn(digits, StorageClass.TEXT),)
            return CanonicalForm(scan_columns, "hex_form({0})", f"{target}::text", "hex_form({0})")
        case "date" | "time" | "timestamp" as name:
            return CanonicalForm(_text(column), f"moment({{0}}, {name}_of({{0}}))", target, "moment({0}, {0})")
        case "timestamptz":
            read = f"moment({{0}}, timestamptz_of({{0}}, {quote_literal(pair.timezone)}))"
            return CanonicalForm(_text(column), read, target, "moment({0}, epoch_us({0}))")
        case "text" | "varchar" | "citext" | "name" | "enum":
            return CanonicalForm(_text(column), "{0}", f"{target}::text", "{0}")
        case "bpchar":
            # Blanks at the end of char(n) are padding (PostgreSQL, "Character Types").
            return CanonicalForm(_text(column), "rtrim({0}, ' ')", f"{target}::text", "rtrim({0}, ' ')")
        case "numeric":
            return _text_or_real(column, target, "decimal_form({0})")
        case "jsonb":
            return _text_or_real(column, target, "json_form({0})", shown="json_shown({0})")
        case "json":
            return _text_or_real(column, target, "{0}")
        case _:
            return _text_or_real(column, target, "{0}", by_server=True)


@lru_cache(maxsize=_REMEMBERED)
def fast_form(pair: ColumnPair) -> CanonicalForm:  # noqa: PLR0911 - a table, read from the top
    """
    Return how the pair's values are read where nothing unusual is expected: as they are stored.

    Two values with one quick form are one value, but one value may have two: where quick forms differ, those of
    ``canonical_form`` decide. A value of an unusual storage class stops the scan, or has a form unknown to the target.
    """
    column, target = pair.expression, pair.target
    usual = replace(canonical_form(pair), shown_source="{0}", shown_target="{0}")  # which is never shown to anybody
    text = _one(column, StorageClass.TEXT)
    match "enum" if target.enum_labels else target.type_name:
        case "bool" | "int2" | "int4" | "int8":
            whole = _one(column, StorageClass.INTEGER)
            return replace(usual, scan_columns=whole, from_source="{0}", from_target="{0}::BIGINT")
        case "float4" | "float8":
            double = _one(column, StorageClass.REAL)
            return replace(usual, scan_columns=double, from_source="bits({0})", from_target="bits({0})")
        case "bytea":
            return replace(usual, scan_columns=_one(column, StorageClass.BLOB), from_source="{0}")
        case "uuid":
            return replace(usual, scan_columns=text, from_source="uuid_text({0})", from_target="{0}")
        case "numeric" if 0 <= (target.scale or 0) <= (target.precision or _MANY) <= _DIGITS_OF_A_DOUBLE:
            # Every decimal of 15 digits is a double of its own (IEEE 754).
            return replace(
                usual, scan_columns=_one(column, StorageClass.REAL), from_source="{0}", from_target="{0}::DOUBLE"
            )
        case "jsonb":
            form = f"json_flat_form({{0}}, json_extract({{0}}, {_paths(pair.keys)}))" if pair.keys else _QUICK_JSON
            return replace(usual, scan_columns=text, from_source=form, from_target=form)
        case "json":
            return replace(usual, scan_columns=text, from_source="{0}")
        case kind if kind in _STORED_AS_TEXT:
            return replace(usual, scan_columns=text)
        case _:
            return usual


_STORED_AS_TEXT = frozenset(
    {"date", "time", "timestamp", "timestamptz", "text", "varchar", "citext", "name", "enum", "bpchar"}
)

_QUICK_JSON = "json_quick_form({0})"

_DIGITS_OF_A_DOUBLE = 15

_MANY = 1_000

_DIGITS = "lower(hex({0}))"


def _paths(keys: Sequence[str]) -> str:
    return "[" + ", ".join(quote_literal(f'$."{key}"') for key in keys) + "]"


def _one(column: str, storage: StorageClass) -> tuple[ScanColumn, ...]:
    return (ScanColumn(column, storage),)


def _text(column: str) -> tuple[ScanColumn, ...]:
    return (ScanColumn(_as_text(column), StorageClass.TEXT),)


def _as_text(column: str) -> str:
    """Return SQL for a value as text. A BLOB is spelled as SQLite spells it, since its bytes may be no text."""
    return f"CASE typeof({column}) WHEN 'blob' THEN quote({column}) ELSE CAST({column} AS TEXT) END"


def _number(column: str, storage: StorageClass, form: str, target: str, target_form: str) -> CanonicalForm:
    """
    Return the reading of a column of numbers, with a lane beside them for what is none.

    Preflight lets no such value pass. But somebody may put one in afterwards, and that is a difference like any other.
    """
    taken = "'null', 'integer'" if storage is StorageClass.INTEGER else "'null', 'integer', 'real'"
    is_number = f"typeof({column}) IN ({taken})"
    return CanonicalForm(
        (
            ScanColumn(f"CASE WHEN {is_number} THEN CAST({column} AS {storage}) END", storage),
            ScanColumn(f"CASE WHEN NOT {is_number} THEN {_as_text(column)} END", StorageClass.TEXT),
        ),
        f"struct_pack(number := {form}, word := {{1}})",
        target,
        f"struct_pack(number := {target_form}, word := NULL::VARCHAR)",
        shown_source="coalesce({1}, {0}::VARCHAR)",
    )


def _text_or_real(
    column: str, target: str, form: str, *, shown: str = "{0}::VARCHAR", by_server: bool = False
) -> CanonicalForm:
    # SQLite's own cast of a REAL to text keeps 15 digits, so DuckDB spells the doubles.
    scan_columns = (
        ScanColumn(f"CASE typeof({column}) WHEN 'real' THEN NULL ELSE {_as_text(column)} END", StorageClass.TEXT),
        ScanColumn(f"CASE typeof({column}) WHEN 'real' THEN {column} END", StorageClass.REAL),
    )
    given = "coalesce({0}, {1}::VARCHAR)"
    return CanonicalForm(
        scan_columns,
        form.replace("{0}", given),
        f"{target}::text",
        form,
        shown_source=shown.replace("{0}", given),
        shown_target=shown,
        by_server=by_server,
    )


# `bits`: 0.0 and -0.0 hash alike, so the sign goes in; all NaNs are one, as PostgreSQL has it.
# `moment`: what can't be read is no NULL, so the text's own presence goes in.
# `…_of`: dates and times in the spellings that are listed, and no others: a cast would drop an offset or a nanosecond
#   and roll 24:00 over. Each spelling is asked for where it is likely, because one that doesn't fit costs ten that do.
#   `strptime` knows words (infinity), hence `starts_with_digit`. Zeros after a fraction's sixth digit say nothing.
# `canonical`: a number's digits, without the zeros, the sign and the exponent that say nothing. `decimal_form`: the
#   same for any text, with a short way for the usual. An exponent of 7 digits, which no `numeric` has, is left alone.
# `json_form`: keys sorted, the last of twins kept, escapes and blanks gone, and numbers spelled alike: 1e2 as 100, 1.50
#   as 1.5, -0 as 0. DuckDB reads a fraction as a double, which holds 15 digits of any decimal, so a number with more
#   goes in as a marked string. All that happens in the document without its strings (`bare`), which come back after it.
# `json_quick_form`: the same but for the spelling of numbers, since PostgreSQL changes only an exponent and -0. Where a
#   number has more digits than a double holds it is the full form, or two values might have one form.
# `json_flat_form`: an object by its `members`, in the order of the keys that are asked for. Where there are others, or
#   one twice, or objects within, or it is no object, the whole goes in as well.
# `list_transform([x], lambda y: …)[1]` is how a macro uses a value several times and computes it once.
MACROS = r"""
CREATE MACRO bits(number) AS struct_pack(number := number, negative := signbit(number));
CREATE MACRO moment(given, reading) AS struct_pack(given := given IS NULL, reading := reading);
CREATE MACRO starts_with_digit(given) AS given >= '0' AND given < ':';
CREATE MACRO short_fraction(given) AS regexp_replace(given, '(\.\d{6})0+', '\1');
CREATE MACRO naive(given) AS (
    CASE WHEN contains(given, '.') THEN coalesce(try_strptime(given, '%Y-%m-%d %H:%M:%S.%f'),
                                                 try_strptime(short_fraction(given), '%Y-%m-%d %H:%M:%S.%f'))
         WHEN length(given) = 10 THEN try_strptime(given, '%Y-%m-%d')
         ELSE try_strptime(given, ['%Y-%m-%d %H:%M:%S', '%Y-%m-%d %H:%M', '%Y-%m-%d %H']) END);
CREATE MACRO zoned(given) AS (
    CASE WHEN contains(given, '.') THEN coalesce(try_strptime(given, '%Y-%m-%d %H:%M:%S.%f%z'),
                                                 try_strptime(short_fraction(given), '%Y-%m-%d %H:%M:%S.%f%z'))
         ELSE try_strptime(given, ['%Y-%m-%d %H:%M:%S%z', '%Y-%m-%d %H:%M%z', '%Y-%m-%d %H%z']) END);
CREATE MACRO has_offset(given) AS contains(given, '+') OR contains(substr(given, 11), '-');
CREATE MACRO usual_moment(given) AS (
    CASE WHEN strlen(given) BETWEEN 21 AND 26 THEN try_strptime(given, '%Y-%m-%d %H:%M:%S.%f')
         WHEN strlen(given) = 19 THEN try_strptime(given, '%Y-%m-%d %H:%M:%S') END);
CREATE MACRO date_of(given) AS CASE WHEN starts_with_digit(given) THEN try_strptime(given, '%Y-%m-%d')::DATE END;
CREATE MACRO time_of(given) AS CASE WHEN starts_with_digit(given) THEN naive('1970-01-01 ' || given)::TIME END;
CREATE MACRO timestamp_of(given) AS CASE WHEN starts_with_digit(given) THEN
    coalesce(usual_moment(given), naive(replace(given, 'T', ' '))) END;
CREATE MACRO instant(given, zone) AS epoch_us(
    CASE WHEN has_offset(given) THEN zoned(given)
         WHEN suffix(given, 'Z') THEN timezone('UTC', naive(rtrim(given, 'Z')))
         ELSE timezone(zone, naive(given)) END);
CREATE MACRO timestamptz_of(given, zone) AS CASE WHEN starts_with_digit(given) THEN
    coalesce(if(zone = 'UTC', epoch_us(usual_moment(given)), NULL), instant(replace(given, 'T', ' '), zone)) END;
CREATE MACRO hex_form(digits) AS lower(replace(digits, '-', ''));
CREATE MACRO uuid_text(given) AS (
    CASE WHEN strlen(given) = 36 THEN lower(given) ELSE coalesce(try_cast(given AS UUID)::VARCHAR, given) END);
CREATE MACRO canonical(number) AS list_transform(list_transform(list_transform(
    [regexp_extract(number, '^([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?$', ['sign', 'whole', 'fraction', 'exponent'])],
    lambda n: struct_pack(sign := n.sign, digits := n.whole || n.fraction,
                          point := length(n.whole) + coalesce(try_cast(n.exponent AS INTEGER), 0))),
    lambda n: struct_pack(
        sign := n.sign,
        whole := ltrim(rpad(left(n.digits, greatest(n.point, 0)), greatest(n.point, 0)::INTEGER, '0'), '0'),
        fraction := rtrim(repeat('0', greatest(-n.point, 0)) || substr(n.digits, greatest(n.point, 0) + 1), '0'))),
    lambda n: CASE WHEN n.whole = '' AND n.fraction = '' THEN '0'
                   ELSE if(n.sign = '-', '-', '') || if(n.whole = '', '0', n.whole)
                        || if(n.fraction = '', '', '.' || n.fraction) END)[1];
CREATE MACRO without_zeros(number) AS (
    CASE WHEN NOT contains(number, '.') THEN if(number = '-0', '0', number)
         WHEN rtrim(rtrim(number, '0'), '.') = '-0' THEN '0'
         ELSE rtrim(rtrim(number, '0'), '.') END);
CREATE MACRO decimal_form(given) AS (
    CASE WHEN regexp_full_match(given, '-?(0|[1-9]\d*)(\.\d+)?') THEN without_zeros(given)
         WHEN regexp_full_match(given, '[+-]?(0+\.?0*|\.0+)([eE][+-]?\d+)?') THEN '0'
         WHEN regexp_full_match(given, '[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?0*\d{1,6})?') THEN canonical(given)
         ELSE given END);
CREATE MACRO plain_number(token) AS (
    CASE WHEN regexp_full_match(token, '-?0(\.0+)?([eE][+-]?\d+)?') THEN '0'
         WHEN regexp_full_match(token, '-?\d+(\.\d+)?([eE][+-]?0*\d{1,6})?') THEN canonical(token) ELSE token END);
CREATE MACRO plain_numbers(bare) AS (
    CASE WHEN regexp_matches(bare, '\d[eE]|-0')
           THEN array_to_string(list_transform(
               regexp_extract_all(bare, '-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[^\d-]+|.'),
               lambda token: plain_number(token)), '')
         ELSE regexp_replace(regexp_replace(bare, '(\.\d*[1-9])0+(\D|$)', '\1\2', 'g'), '\.0+(\D|$)', '\1', 'g') END);
CREATE MACRO exact_numbers(bare) AS regexp_replace(plain_numbers(bare), '-?\d[\d.]{15,}', '"\\u0001\0"', 'g');
CREATE MACRO strings(document) AS regexp_extract_all(document, '(?s)"[^"\\]*(?:\\.[^"\\]*)*"');
CREATE MACRO without_strings(document) AS regexp_replace(document, '(?s)"[^"\\]*(?:\\.[^"\\]*)*"', '""', 'g');
CREATE MACRO has_odd_numbers(document) AS regexp_matches(
    document, '(^|[\[,:\s])-?\d+(\.\d*0([,\]}\s]|$)|(\.\d+)?[eE])|-0([,\]}\s]|$)|\d[\d.]{15}');
CREATE MACRO with_plain_numbers(document) AS (
    CASE WHEN has_odd_numbers(document)
           THEN array_to_string(list_transform(list_zip(
               string_split(list_transform([without_strings(document)], lambda bare: exact_numbers(bare))[1], '""'),
               strings(document)), lambda parts: concat(parts[1], parts[2])), '')
         ELSE document END);
CREATE MACRO sorted_keys(document) AS coalesce(try_cast(document AS JSON)::VARIANT::JSON::VARCHAR, trim(document));
CREATE MACRO json_form(given) AS list_transform(
    [with_plain_numbers(given)], lambda document: sorted_keys(document))[1];
CREATE MACRO json_quick_form(given) AS (
    CASE WHEN regexp_matches(given, '\d[\d.]{15}') THEN json_form(given) ELSE sorted_keys(given) END);
CREATE MACRO json_flat_form(given, members) AS struct_pack(members := members, rest :=
    CASE WHEN len(json_keys(given)) = list_aggregate(members, 'count') AND len(json_keys(given)) > 0
              AND NOT contains(substr(given, 2), '{') AND NOT regexp_matches(given, '\d[\d.]{15}')
           THEN NULL ELSE json_quick_form(given) END);
CREATE MACRO json_shown(given) AS regexp_replace(json_form(given), '"\\u0001([^"]*)"', '\1', 'g');
"""
