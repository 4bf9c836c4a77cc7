"""
Translates SQLite's defaults, so that an INSERT without the column stores the same value in PostgreSQL.

SQLite itself computes a constant default: in memory, in a column of the same declaration, so that its own affinity and
spelling apply. Defaults with the current time or random values are translated.
"""

import re
import sqlite3
from contextlib import closing
from itertools import pairwise

from migrator.names import quote_literal
from migrator.planning.rules import ColumnRule
from migrator.schema.literals import NoEqual, spelled
from migrator.schema.operands import Sort, Untranslatable
from migrator.schema.translation import translated
from migrator.source.schema import SourceColumn
from migrator.sql.expressions import Call, Literal, Name, Node, read
from migrator.sql.lexing import Unreadable, tokens

_FUNCTIONS = frozenset(
    {
        *("abs", "char", "coalesce", "hex", "ifnull", "iif", "json", "json_array", "json_object", "length", "lower"),
        *("ltrim", "nullif", "replace", "round", "rtrim", "substr", "substring", "trim", "typeof", "unicode", "upper"),
    }
)
"""Functions that a constant may call: they always give the same result, and give it quickly."""

_MOST_BYTES = 1 << 20


def default_of(column: SourceColumn, given: str, kind: str, rule: ColumnRule) -> str | None:
    """
    Return the default in PostgreSQL's SQL for a column of the type ``kind``; None if the default is NULL.

    ``given`` is the default expression in SQLite's SQL, and ``rule`` the column's rule. Raises NoEqual if a column of
    this type can't have the value, and Untranslatable if the expression can't be translated.
    """
    node = _read(given)
    if (moment := _moment(node)) is not None:
        return _as_moment(moment, kind, rule)
    if _is_constant(given):
        return spelled(_stored(column, given), kind, rule)
    operand = translated(given, {}, may_change=True)
    sort = {"text": Sort.TEXT, "uuid": Sort.TEXT, "bytea": Sort.BYTES, "bigint": Sort.INTEGER}.get(kind)
    if sort is None or operand.sort is not sort or rule.changes_values:
        raise NoEqual(f"a column of type {kind} has no such value")
    return f"({operand.sql})::{kind}"


def _read(expression: str) -> Node:
    try:
        return read(expression)
    except Unreadable as error:
        raise Untranslatable(str(error)) from None


def _is_constant(expression: str) -> bool:
    words = tokens(expression)
    called = {
        word.text.lower()
        for word, following in pairwise(words)
        if following.is_operator("(")
        if word.kind == "word" and not word.is_word("CAST", "IN", "AND", "OR", "NOT", "WHEN", "THEN", "ELSE", "CASE")
    }
    return called <= _FUNCTIONS and not any(word.is_word(*_PRESENT) for word in words)


def _stored(column: SourceColumn, expression: str) -> int | float | str | bytes | None:
    """Return the value that SQLite stores for the default in a column of the same declaration; raise Untranslatable."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
        declared = '"' + column.declared_type.replace('"', "") + '"' if column.declared_type else ""
        for spelling in (
            f"({expression})",
            expression,
        ):  # a bare name is text without parentheses, and an error with them
            try:
                connection.execute(f"CREATE TABLE t (c {declared} DEFAULT {spelling})")
                connection.execute("INSERT INTO t DEFAULT VALUES")
            except (sqlite3.Error, sqlite3.Warning):
                connection.execute("DROP TABLE IF EXISTS t")
                continue
            [value] = connection.execute("SELECT c FROM t").fetchone()
            return value  # type: ignore[no-any-return]
    raise Untranslatable("SQLite itself computes no value from it")


# SQLite's words for the current time, which is always in UTC (SQLite, "CREATE TABLE", 3.2).
_PRESENT = {
    "CURRENT_TIMESTAMP": "%Y-%m-%d %H:%M:%S",
    "CURRENT_DATE": "%Y-%m-%d",
    "CURRENT_TIME": "%H:%M:%S",
}

_FORMATS = {
    "datetime": "%Y-%m-%d %H:%M:%S",
    "date": "%Y-%m-%d",
    "time": "%H:%M:%S",
    "unixepoch": "%s",
    "julianday": "%J",
}

# As 'now' in SQLite, statement_timestamp() is the same moment within a statement and a new one in the next statement.
_NOW = "statement_timestamp()"

_PARTS = {"Y": "YYYY", "m": "MM", "d": "DD", "H": "HH24", "M": "MI", "S": "SS", "f": "SS.MS", "j": "DDD"}

_SHIFT = re.compile(r"([+-]?)(\d{1,6}) (second|minute|hour|day)s?")


def _moment(node: Node) -> tuple[str, str] | None:
    """
    Return the format and the SQL of the current time that a default stands for; None if it is another expression.

    Raises Untranslatable for a time that depends on the place where SQLite ran.
    """
    if isinstance(node, Name) and not node.is_quoted and (form := _PRESENT.get(node.name.upper())):
        return form, _NOW
    if not isinstance(node, Call) or node.name not in {*_FORMATS, "strftime"}:
        return None
    arguments = list(node.arguments)
    form = _FORMATS.get(node.name, "")
    if node.name == "strftime":
        form = _text(arguments.pop(0)) if arguments else ""
        if not form:
            raise Untranslatable("a format has to be a literal")
    if arguments and not _is_now(arguments.pop(0)):
        raise Untranslatable("it is computed from something else than the present")
    moment = _NOW
    for modifier in arguments:
        shift = _SHIFT.fullmatch(_text(modifier))
        if shift is None:
            raise Untranslatable("PostgreSQL has no such modifier of the present time")
        sign, amount, unit = shift.groups()
        moment = f"({moment} {sign or '+'} interval '{int(amount)} {unit}s')"
    return form, moment


def _text(node: Node) -> str:
    return node.value if isinstance(node, Literal) and isinstance(node.value, str) else ""


def _is_now(node: Node) -> bool:
    if isinstance(node, Literal):
        return isinstance(node.value, str) and node.value.lower() == "now"
    return isinstance(node, Name) and node.name.upper() in {"CURRENT_TIMESTAMP", "NOW"}


def _as_moment(moment: tuple[str, str], kind: str, rule: ColumnRule) -> str:
    """Return SQL for the current time in a column of the type ``kind``; raise NoEqual if the type has no such value."""
    form, now = moment
    base = re.sub(r"\(.*\)", "", kind).strip()
    if form == "%s":
        return _epoch(now, base, rule)
    if rule.changes_values:
        raise NoEqual("a rule makes other values of this column")
    if form == "%J" and base == "double precision":
        return f"(extract(epoch FROM {now}) / 86400 + 2440587.5)::double precision"
    utc = f"timezone('UTC', {now})"
    text = f"to_char({utc}, {quote_literal(_to_char(form))})"
    is_day = form == "%Y-%m-%d"
    has_offset = form.endswith(("Z", "+00:00"))
    spellings = {"text": text, "varchar": text, "character varying": text}
    if is_day:
        spellings["date"] = f"({utc})::date"
    if form == "%H:%M:%S":
        spellings["time"] = f"date_trunc('second', {utc})::time"
    if has_offset and form.startswith("%Y-%m-%d"):
        spellings["timestamptz"] = f"({text})::timestamptz"
    elif is_day or form.startswith(("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M")):
        spellings["timestamp"] = f"({text})::timestamp"
        spellings["timestamptz"] = f"timezone('UTC', ({text})::timestamp)"
    if base not in spellings:
        raise NoEqual(f"such a moment is no {kind}")
    return spellings[base]


def _epoch(now: str, base: str, rule: ColumnRule) -> str:
    seconds = f"floor(extract(epoch FROM {now}))"
    if base in {"bigint", "integer", "numeric"} and not rule.changes_values:
        return f"({seconds})::{base}"
    if base == "text" and not rule.changes_values:
        return f"({seconds})::bigint::text"
    if rule.epoch == "s" and base in {"timestamp", "timestamptz"}:
        moment = f"date_trunc('second', {now})"
        return moment if base == "timestamptz" else f"timezone('UTC', {moment})"
    raise NoEqual(f"a number of seconds is no {base}")


def _to_char(form: str) -> str:
    """Translate a format of strftime into a format of to_char; raise Untranslatable for other parts."""
    translated_parts: list[str] = []
    for part in re.findall(r"%.|[^%]+|%", form, re.DOTALL):
        if part.startswith("%") and part != "%%":
            if part[1:] not in _PARTS:
                raise Untranslatable(f"{part} has no equal in to_char")
            translated_parts.append(_PARTS[part[1:]])
            continue
        literal_text = part.replace("%%", "%")
        translated_parts.append(
            literal_text
            if re.fullmatch(r"[-:. /]+", literal_text)
            else '"' + re.sub(r'(["\\])', r"\\\1", literal_text) + '"'
        )
    return "".join(translated_parts)
