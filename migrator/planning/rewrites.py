"""
Writes the SQL of a rule: an expression over the source's table that SQLite evaluates during a scan.

The copier and the verification both begin with this expression, and share no other code for values. A value that a rule
can't read stays as it is, and is then checked like any other value.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

from migrator.errors import ConfigurationError
from migrator.planning.interval_units import interval_of
from migrator.planning.rules import NO_RULE, ColumnRule, Stored
from migrator.sql.utf8 import IS_UTF16
from migrator.target.schema import TargetColumn

MOMENTS = frozenset({"date", "timestamp", "timestamptz"})

TEXTS = frozenset({"text", "varchar", "bpchar", "citext", "name", "json", "jsonb"})


class _Step(Struct, frozen=True):
    """A field of a rule, the target types for which it has a meaning (none means all), and its SQL."""

    name: str
    serves: frozenset[str]
    rewrite: Callable[[ColumnRule, TargetColumn], str]
    """Returns SQL over ``given``, which is the result of the steps before this one."""


def rewritten(quoted: str, rule: ColumnRule, column: TargetColumn) -> str:
    """
    Return the SQL that reads the source column ``quoted`` for the target ``column`` under the rule.

    Without a rule, the SQL is the column itself. Fields of the rule for other types are ignored, since a pattern may
    match columns of several types.
    """
    expression = quoted if rule.expression is None else f"({rule.expression})"
    for step in _set_steps(rule):
        if not step.serves or column.type_name in step.serves:
            expression = f"(SELECT {step.rewrite(rule, column)} FROM (SELECT {expression} AS given))"
    return expression


def check_meaning(rule: ColumnRule, name: str, column: TargetColumn) -> None:
    """Raise ConfigurationError for a field of the rule that has no meaning for the type of ``column``."""
    for step in [*_set_steps(rule), *_set_steps(rule, _WITHOUT_SQL)]:
        if step.serves and column.type_name not in step.serves:
            raise ConfigurationError(
                f"the rule {step.name!r} of {name} has no meaning for {column.declared}",
                next_step=f"Take it out there; it is for {', '.join(sorted(step.serves))}.",
            )


def _set_steps(rule: ColumnRule, steps: "tuple[_Step, ...] | None" = None) -> Iterator[_Step]:
    """Yield the steps that the rule sets, in the order in which they apply."""
    candidates = _STEPS if steps is None else steps
    return (step for step in candidates if getattr(rule, step.name) != getattr(NO_RULE, step.name))


def literal(value: Stored) -> str:
    """Return a value as a literal of SQLite."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def _among(values: tuple[Stored, ...]) -> str:
    # Storage classes are compared too, so that affinity can't make 1 and '1' equal.
    words = ", ".join(literal(value) for value in values if isinstance(value, str))
    numbers = ", ".join(literal(value) for value in values if not isinstance(value, str))
    return (
        f"(typeof(given) = 'text' AND CAST(given AS TEXT) COLLATE BINARY IN ({words}) "
        f"OR typeof(given) IN ('integer', 'real') AND given IN ({numbers}))"
    )


def _null(rule: ColumnRule, _column: TargetColumn) -> str:
    return f"CASE WHEN {_among(rule.null)} THEN NULL ELSE given END"


def _empty_as_null(_rule: ColumnRule, _column: TargetColumn) -> str:
    return f"CASE WHEN {_among(('',))} THEN NULL ELSE given END"


def _true(rule: ColumnRule, _column: TargetColumn) -> str:
    return f"CASE WHEN {_among(rule.true)} THEN 1 ELSE given END"


def _false(rule: ColumnRule, _column: TargetColumn) -> str:
    return f"CASE WHEN {_among(rule.false)} THEN 0 ELSE given END"


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def _epoch(rule: ColumnRule, column: TargetColumn) -> str:
    """Write a count since 1970 as text; a count out of SQLite's range (years 0 to 9999) is left as it is."""
    unit = _PER_SECOND[rule.epoch or "s"]
    whole = _moment("CAST(given AS INTEGER)", unit, column)
    # Only seconds have a fraction. For a time of today, a double holds six digits of the fraction.
    fraction = _moment("CAST(round(given * 1000000.0) AS INTEGER)", 10**6, column) if unit == 1 else "given"
    return (
        f"CASE WHEN typeof(given) = 'integer' OR ({_DIGITS}) THEN coalesce({whole}, given) "
        f"WHEN typeof(given) = 'real' THEN coalesce({fraction}, given) ELSE given END"
    )


_DIGITS = "typeof(given) = 'text' AND given GLOB '[0-9]*' AND given NOT GLOB '*[^0-9]*'"


def _moment(count: str, unit: int, column: TargetColumn) -> str:
    """Return SQL for the text of ``count`` units since 1970; it gives NULL if the time is out of range."""
    # SQLite's % has the sign of the dividend, and seconds before 1970 have to be rounded down too.
    remainder = f"((({count}) % {unit} + {unit}) % {unit})"
    seconds = f"((({count}) - {remainder}) / {unit})"
    nanoseconds = f"({remainder} * {10**9 // unit})"
    # The text keeps digits beyond microseconds, so that the conversion refuses the value.
    fraction = (
        f"CASE WHEN {nanoseconds} % 1000 THEN printf('.%09d', {nanoseconds}) "
        f"ELSE printf('.%06d', {nanoseconds} / 1000) END"
    )
    time = f"(strftime(' %H:%M:%S', {seconds}, 'unixepoch') || {fraction})"
    if column.type_name == "date":
        # The text keeps a time of day other than midnight, so that the conversion refuses it.
        time = f"replace({time}, ' 00:00:00.000000', '')"
    zone = " || '+00:00'" if column.type_name == "timestamptz" else ""
    return f"strftime('%Y-%m-%d', {seconds}, 'unixepoch') || {time}{zone}"


def _julian(_rule: ColumnRule, column: TargetColumn) -> str:
    """Write a Julian day as text, to the millisecond, since a double holds no more digits."""
    moment = "strftime('%Y-%m-%d %H:%M:%f', given)"
    if column.type_name == "date":
        moment = f"replace({moment}, ' 00:00:00.000', '')"
    zone = " || '+00:00'" if column.type_name == "timestamptz" else ""
    return f"CASE WHEN typeof(given) IN ('integer', 'real') THEN coalesce({moment}{zone}, given) ELSE given END"


def _go_time(_rule: ColumnRule, column: TargetColumn) -> str:
    """
    Write the text of Go's ``time.String()``, ``2026-02-17 05:20:54.5 +0000 UTC m=+0.1``, as ISO 8601.

    The offset is kept; the zone's name and the monotonic clock (``m=``) are dropped. Any other text stays as it is, so
    that the conversion refuses it.
    """
    digits = "[0-9][0-9]"
    moment = f"{digits * 2}-{digits}-{digits} {digits}:{digits}:{digits}"
    # After the seconds come a fraction, if there is one, a blank, and an offset of five characters.
    offset = "substr(given, 20 + instr(substr(given, 20), ' '), 5)"
    fraction = "substr(given, 20, instr(substr(given, 20), ' ') - 1)"
    is_fraction = f"({fraction} = '' OR {fraction} GLOB '.[0-9]*' AND {fraction} NOT GLOB '.*[^0-9]*')"
    well_formed = (
        f"typeof(given) = 'text' AND given GLOB '{moment}* [-+]{digits * 2} [A-Z+-]*' AND {is_fraction} "
        f"AND {offset} GLOB '[-+]{digits * 2}'"
    )
    zone = f" || substr({offset}, 1, 3) || ':' || substr({offset}, 4)" if column.type_name == "timestamptz" else ""
    # A column without time zones takes only times in UTC. The operator needs another rule for other times.
    in_utc = "" if zone else f" AND {offset} = '+0000'"
    return f"CASE WHEN {well_formed}{in_utc} THEN substr(given, 1, 19) || {fraction}{zone} ELSE given END"


def _nul_bytes(_rule: ColumnRule, _column: TargetColumn) -> str:
    """Take out NUL characters. SQLite's ``replace`` would treat NUL as an empty pattern and do nothing."""
    stripped = (
        "(WITH RECURSIVE piece(done, rest) AS (SELECT x'', CAST(given AS BLOB) UNION ALL "
        "SELECT CAST(done || substr(rest, 1, instr(rest, x'00') - 1) AS BLOB), substr(rest, instr(rest, x'00') + 1) "
        "FROM piece WHERE instr(rest, x'00')) "
        "SELECT CAST(done || rest AS TEXT) FROM piece WHERE NOT instr(rest, x'00'))"
    )
    # In UTF-16, a byte is not a character. JSON writes NUL as an escape. After each \\ is replaced, no other text looks
    # like that escape.
    without_pairs = r"replace(json_quote(given), '\\', '\u005c')"
    in_utf16 = rf"json_extract(replace({without_pairs}, '\u0000', ''), '$')"
    without_nul = f"iif({IS_UTF16}, {in_utf16}, {stripped})"
    return f"CASE WHEN typeof(given) = 'text' AND NOT {_NO_NUL} THEN {without_nul} ELSE given END"


_BEYOND_ASCII = "'*[^' || char(1) || '-' || char(127) || ']*'"

# Text functions stop at a NUL, and the rest of the value would be lost. So values with a NUL stay as they are.
_NO_NUL = "(instr(given, char(0)) = 0)"


def _invalid_utf8(rule: ColumnRule, _column: TargetColumn) -> str:
    """
    Replace bytes that are not UTF-8 by U+FFFD, or read the whole value as Latin-1.

    SQLite has no test for valid UTF-8. A character is valid if writing its code point again gives the same bytes.
    """
    repaired = (
        "(WITH RECURSIVE walk(at, one) AS (SELECT 1, substr(given, 1, 1) UNION ALL "
        "SELECT at + 1, substr(given, at + 1, 1) FROM walk WHERE one <> '') "
        "SELECT group_concat(char(unicode(one)), '') FROM walk WHERE one <> '')"
    )
    digit = "(instr('0123456789ABCDEF', substr(hex(substr(CAST(given AS BLOB), at, 1)), {}, 1)) - 1)"
    latin = (
        "(WITH RECURSIVE walk(at) AS (SELECT 1 UNION ALL "
        "SELECT at + 1 FROM walk WHERE at < octet_length(given)) "
        f"SELECT group_concat(char({digit.format(1)} * 16 + {digit.format(2)}), '') FROM walk)"
    )
    return (
        f"CASE WHEN NOT {IS_UTF16} AND typeof(given) = 'text' AND given GLOB {_BEYOND_ASCII} AND {_NO_NUL} "
        f"AND CAST({repaired} AS BLOB) <> CAST(given AS BLOB) "
        f"THEN {latin if rule.invalid_utf8 == 'latin-1' else repaired} ELSE given END"
    )


def _truncate(_rule: ColumnRule, column: TargetColumn) -> str:
    """Cut text at the column's length, and a fraction of a second at the digits that the column keeps."""
    if column.type_name in _WITH_FRACTION:
        digits = _second_digits(column)
        after = "substr(given, instr(given, '.') + 1)"
        zone = f"ltrim({after}, '0123456789')"
        kept = f"substr(substr({after}, 1, length({after}) - length({zone})), 1, {digits})"
        cut = f"rtrim(substr(given, 1, instr(given, '.')) || {kept}, '.') || {zone}"
        return f"CASE WHEN typeof(given) = 'text' AND instr(given, '.') THEN {cut} ELSE given END"
    if column.length is None:
        return "given"
    return f"CASE WHEN typeof(given) = 'text' AND {_NO_NUL} THEN substr(given, 1, {column.length}) ELSE given END"


def _round(_rule: ColumnRule, column: TargetColumn) -> str:
    """Round a number to the column's scale, a double by its exact value. Text of over 15 characters stays as it is."""
    if column.scale is None or column.scale < 0:
        return "given"
    numeral = (
        "typeof(given) = 'text' AND length(given) <= 15 AND given GLOB '[-0-9.]*' "
        "AND given GLOB '*[0-9]*' AND given NOT GLOB '*[^-0-9.]*' AND given NOT GLOB '*.*.*' AND given NOT GLOB '?*-*'"
    )
    finite = "typeof(given) = 'real' AND given BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308"
    return f"CASE WHEN {finite} OR ({numeral}) THEN printf('%.{column.scale}f', given) ELSE given END"


_WITH_FRACTION = frozenset({"time", "timestamp", "timestamptz", "interval"})

_MICROSECONDS = 6


def _second_digits(column: TargetColumn) -> int:
    """Return how many digits of a second the column keeps."""
    # An interval's modifier has its precision in the lower 16 bits, and all of them set for none (PostgreSQL,
    # src/include/utils/timestamp.h: INTERVAL_TYPMOD).
    precision = column.modifier & 0xFFFF if column.type_name == "interval" else column.modifier
    return precision if 0 <= precision <= _MICROSECONDS else _MICROSECONDS


_EVERYTHING: frozenset[str] = frozenset()

_STEPS = (
    _Step("null", _EVERYTHING, _null),
    _Step("empty_as_null", _EVERYTHING, _empty_as_null),
    _Step("true", frozenset({"bool"}), _true),
    _Step("false", frozenset({"bool"}), _false),
    _Step("epoch", MOMENTS, _epoch),
    _Step("julian", MOMENTS, _julian),
    _Step("interval_unit", frozenset({"interval"}), lambda rule, _column: interval_of(rule.interval_unit or "s")),
    _Step("go_time", frozenset({"timestamp", "timestamptz"}), _go_time),
    _Step("nul_bytes", TEXTS, _nul_bytes),
    _Step("invalid_utf8", TEXTS, _invalid_utf8),
    _Step("truncate", frozenset({"varchar", "bpchar"}) | _WITH_FRACTION, _truncate),
    _Step("round", frozenset({"numeric"}), _round),
)

# These rules need no SQL. SQLite has no table of time zones, so the copier and the verification each apply the zone
# themselves. PostgreSQL itself keeps only the last value of a duplicate key. A sequence changes no stored value.
_WITHOUT_SQL = (
    _Step("timezone", frozenset({"timestamptz"}), lambda _rule, _column: "given"),
    _Step("duplicate_keys", frozenset({"jsonb"}), lambda _rule, _column: "given"),
    _Step("sequence", frozenset({"int2", "int4", "int8", "numeric"}), lambda _rule, _column: "given"),
)
