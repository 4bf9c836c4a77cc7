"""
Defines the canonical form of each target type, in which the values of both databases are compared.

The copier converts with Arrow and this module casts with DuckDB, so that a mistake in one of them shows as a
difference. This package imports neither ``types`` nor ``copying``; a test of the structure checks that.

Two values have the same form if and only if they are the same value to PostgreSQL: 1.50 and 1.5 as ``numeric``, two
spellings of the same ``jsonb`` or ``uuid``, the same instant at two offsets. All other differences stay differences:
NULL and '', 0.0 and -0.0, blanks, upper and lower case, and the normal forms of Unicode.

The macros that compute the forms are in ``canonical.sql``, and those for JSON documents in ``documents.sql``.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import resources
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from migrator.names import quote_literal, quote_postgres
from migrator.source.scan import ScanColumn, StorageClass
from migrator.sql.utf8 import IS_UTF16
from migrator.target.schema import TargetColumn

_CACHED_FORMS = 10_000
"""The number of forms that are kept, since many tables have columns with the same name and type."""


class ColumnPair(Struct, frozen=True):
    """A source column, as SQL over its table, and the target column that must hold the same values."""

    expression: str
    target: TargetColumn
    timezone: str = "UTC"
    """The time zone of times without an offset."""
    keys: tuple[str, ...] = ()
    """The keys that the column's JSON objects usually have; empty where they are not known."""


class CanonicalForm(Struct, frozen=True):
    """Holds the SQL that reads a column on both sides, and the DuckDB SQL that computes the form to compare."""

    scan_columns: tuple[ScanColumn, ...]
    from_source: str
    """DuckDB's SQL for the form of the source's value. ``{0}``, ``{1}`` are the scan columns."""
    select: str
    """The SQL expression by which PostgreSQL reads the value."""
    from_target: str
    """DuckDB's SQL for the form of the target's value. ``{0}`` is PostgreSQL's answer."""
    shown_source: str = "{0}::VARCHAR"
    """DuckDB's SQL for the source's value as it is shown to a person."""
    shown_target: str = "{0}::VARCHAR"
    by_server: bool = False
    """Whether PostgreSQL itself has to bring the source's text to its own spelling first."""


class Side(Struct, frozen=True):
    """The SQL of one side of a table over ``c0``, ``c1``, …: the form of each column, and the text that is shown."""

    forms: tuple[str, ...]
    shown: tuple[str, ...]


def source_side(columns: Sequence[CanonicalForm], prefix: str = "") -> Side:
    """Return the source's SQL for the forms of its ``columns``; ``prefix`` goes before every column's name."""
    starts = [0, *accumulate(len(column.scan_columns) for column in columns)]
    names = [
        [f"{prefix}c{start + place}" for place in range(len(column.scan_columns))]
        for start, column in zip(starts, columns, strict=False)
    ]
    return Side(
        tuple(column.from_source.format(*own) for column, own in zip(columns, names, strict=True)),
        tuple(column.shown_source.format(*own) for column, own in zip(columns, names, strict=True)),
    )


def target_side(columns: Sequence[CanonicalForm], prefix: str = "") -> Side:
    """Return the target's SQL for the forms of its ``columns``; ``prefix`` goes before every column's name."""
    return Side(
        tuple(column.from_target.format(f"{prefix}c{place}") for place, column in enumerate(columns)),
        tuple(column.shown_target.format(f"{prefix}c{place}") for place, column in enumerate(columns)),
    )


VALUE_MACROS = "canonical.sql"

DOCUMENT_MACROS = "documents.sql"
"""The macros for JSON documents, which use those for other values. Of them, forms use those named ``json_…``."""


@cache
def macros(*files: str) -> str:
    """Return the macros of these ``files`` as SQL, without blank lines and comments. Each file is read once."""
    package = resources.files("migrator.verification")
    lines = [line for file in files for line in package.joinpath(file).read_text(encoding="utf-8").splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("--"))


@lru_cache(maxsize=_CACHED_FORMS)
def canonical_form(pair: ColumnPair) -> CanonicalForm:  # noqa: C901, PLR0911, PLR0912 - a table, read from the top
    """Return the canonical form of the pair's values, for any values that the column may hold."""
    column, target = pair.expression, quote_postgres(pair.target.name)
    match "enum" if pair.target.enum_labels else pair.target.type_name:
        case "bool":
            # A cast to BOOLEAN would read every integer except 0 as true.
            return _number(column, StorageClass.INTEGER, "{0}", f"{target}::int4", "{0}::BIGINT")
        case "int2" | "int4" | "int8":
            return _number(column, StorageClass.INTEGER, "{0}", f"{target}::int8", "{0}::BIGINT")
        case "float4" | "float8":
            return _number(column, StorageClass.REAL, "bits({0})", f"{target}::float8", "bits({0})")
        case "bytea":
            # The bytes of text are its UTF-8. If the file is in UTF-16, DuckDB makes these bytes, not the copier's SQL.
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


@lru_cache(maxsize=_CACHED_FORMS)
def fast_form(pair: ColumnPair) -> CanonicalForm:  # noqa: PLR0911 - a table, read from the top
    """
    Return the fast form, for columns that hold nothing unusual: the pair's values are read as they are stored.

    Two values with the same fast form are the same value, but the same value may have two fast forms. Where fast forms
    differ, ``canonical_form`` decides. A value of an unusual storage class stops the scan, or has a form that no target
    value has.
    """
    column, target = pair.expression, pair.target
    full = replace(canonical_form(pair), shown_source="{0}", shown_target="{0}")  # fast forms are never shown
    text = _as_stored(column, StorageClass.TEXT)
    match "enum" if target.enum_labels else target.type_name:
        case "bool" | "int2" | "int4" | "int8":
            integer = _as_stored(column, StorageClass.INTEGER)
            return replace(full, scan_columns=integer, from_source="{0}", from_target="{0}::BIGINT")
        case "float4" | "float8":
            double = _as_stored(column, StorageClass.REAL)
            return replace(full, scan_columns=double, from_source="bits({0})", from_target="bits({0})")
        case "bytea":
            return replace(full, scan_columns=_as_stored(column, StorageClass.BLOB), from_source="{0}")
        case "uuid":
            return replace(full, scan_columns=text, from_source="uuid_text({0})", from_target="{0}")
        case "numeric" if 0 <= (target.scale or 0) <= (target.precision or _MANY) <= _DIGITS_OF_A_DOUBLE:
            # Each decimal of 15 digits has a double of its own (IEEE 754).
            return replace(
                full, scan_columns=_as_stored(column, StorageClass.REAL), from_source="{0}", from_target="{0}::DOUBLE"
            )
        case "jsonb":
            form = f"json_flat_form({{0}}, json_extract({{0}}, {_paths(pair.keys)}))" if pair.keys else _FAST_JSON
            return replace(full, scan_columns=text, from_source=form, from_target=form)
        case "json":
            return replace(full, scan_columns=text, from_source="{0}")
        case kind if kind in _STORED_AS_TEXT:
            return replace(full, scan_columns=text)
        case _:
            return full


_STORED_AS_TEXT = frozenset(
    {"date", "time", "timestamp", "timestamptz", "text", "varchar", "citext", "name", "enum", "bpchar"}
)

_FAST_JSON = "json_quick_form({0})"

_DIGITS_OF_A_DOUBLE = 15

_MANY = 1_000

_DIGITS = "lower(hex({0}))"


def _paths(keys: Sequence[str]) -> str:
    # Pointers (RFC 6901) take three quarters of the time of paths. No key has a character that has to be escaped.
    return "[" + ", ".join(quote_literal(f"/{key}") for key in keys) + "]"


def _as_stored(column: str, storage: StorageClass) -> tuple[ScanColumn, ...]:
    return (ScanColumn(column, storage),)


def _text(column: str) -> tuple[ScanColumn, ...]:
    return (ScanColumn(_as_text(column), StorageClass.TEXT),)


def _as_text(column: str) -> str:
    """Return SQL for a value as text. A BLOB becomes a SQLite literal, since its bytes may not be text."""
    return f"CASE typeof({column}) WHEN 'blob' THEN quote({column}) ELSE CAST({column} AS TEXT) END"


def _number(column: str, storage: StorageClass, form: str, target: str, target_form: str) -> CanonicalForm:
    """
    Return the form of a column of numbers, with a second scan column for values that are not numbers.

    Preflight refuses such values. But somebody may store one after preflight, and then the comparison has to find it.
    """
    classes = "'null', 'integer'" if storage is StorageClass.INTEGER else "'null', 'integer', 'real'"
    is_number = f"typeof({column}) IN ({classes})"
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
    # SQLite's own cast of a REAL to text keeps 15 digits, so DuckDB writes the doubles as text.
    scan_columns = (
        ScanColumn(f"CASE typeof({column}) WHEN 'real' THEN NULL ELSE {_as_text(column)} END", StorageClass.TEXT),
        ScanColumn(f"CASE typeof({column}) WHEN 'real' THEN {column} END", StorageClass.REAL),
    )
    text = "coalesce({0}, {1}::VARCHAR)"
    return CanonicalForm(
        scan_columns,
        form.replace("{0}", text),
        f"{target}::text",
        form,
        shown_source=shown.replace("{0}", text),
        shown_target=shown,
        by_server=by_server,
    )
