"""Writes a SQLite value as a PostgreSQL literal, with the same rules that apply to the column's rows."""

import json
import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal

from migrator.names import quote_literal
from migrator.planning.rules import ColumnRule

Value = int | float | str | bytes | None

_WIDTHS = {"smallint": 16, "int2": 16, "integer": 32, "int": 32, "int4": 32, "bigint": 64, "int8": 64}

_EXACT_IN_DOUBLE = 1 << 53


class NoEqual(ValueError):  # noqa: N818 - says what the value is
    """A column of the type can't have the value; the message says why."""


def spelled(value: Value, kind: str, rule: ColumnRule) -> str | None:
    """
    Return the literal of a value for a column of the type ``kind``, after the column's ``rule``; None for NULL.

    Words like ``now`` and ``today`` are not accepted as moments: PostgreSQL reads them as the current time, but SQLite
    does not. Raises NoEqual if a column of this type can't have the value.
    """
    if value is None or value in rule.null or (value == "" and rule.empty_as_null):
        return None
    base, size = re.sub(r"\(.*\)", "", kind).strip(), re.search(r"\((\d+)(?:, ?(\d+))?\)", kind)
    if base == "boolean" and value in {*rule.true, *rule.false}:
        return "true" if value in rule.true else "false"
    if rule.changes_values and not (rule.true or rule.false or rule.null or rule.empty_as_null):
        raise NoEqual("a rule makes other values of this column")
    bounds = tuple(int(part) for part in size.groups() if part) if size else ()
    literal = _literal(value, base, bounds)
    if literal is None:
        shown = value if isinstance(value, str) else repr(value)
        raise NoEqual(f"SQLite stores {shown!r}, which a column of type {kind} can't have")
    return literal


def _literal(value: float | str | bytes, base: str, bounds: tuple[int, ...]) -> str | None:  # noqa: C901, PLR0911
    """Return the literal of a value for the type ``base``; None if the type doesn't have the value."""
    if base in _WIDTHS:
        limit = 1 << (_WIDTHS[base] - 1)
        return str(value) if isinstance(value, int) and -limit <= value < limit else None
    if base == "boolean":
        return {0: "false", 1: "true"}.get(value) if isinstance(value, int) else None
    if base in {"double precision", "float8"}:
        if isinstance(value, int) and abs(value) <= _EXACT_IN_DOUBLE:
            return str(value)
        return f"'{value!r}'::double precision" if isinstance(value, float) else None
    if base in {"numeric", "decimal"}:
        return _numeric(value, bounds)
    if base in {"text", "varchar", "character varying"}:
        text = str(value) if isinstance(value, int) else value
        fits = isinstance(text, str) and "\0" not in text and len(text) <= (bounds[0] if bounds else len(text))
        return quote_literal(text) if isinstance(text, str) and fits else None
    if base == "bytea":
        raw = value.encode() if isinstance(value, str) else value
        return f"'\\x{raw.hex()}'::bytea" if isinstance(raw, bytes) else None
    if base == "uuid" and isinstance(value, bytes):
        return quote_literal(value.hex()) if len(value) == 16 else None  # noqa: PLR2004 - a UUID has 16 bytes
    if base in {"json", "jsonb"} and isinstance(value, int):
        return quote_literal(str(value))
    if base == "timestamptz" and isinstance(value, str) and re.fullmatch(rf"{_DAY}[ T]{_CLOCK}", value):
        value += "Z"  # a text without an offset is in UTC
    if base in _READABLE and isinstance(value, str):
        pattern, check = _READABLE[base]
        return quote_literal(value) if re.fullmatch(pattern, value, re.DOTALL) and _passes(check, value) else None
    return None


def _numeric(value: float | str | bytes, bounds: tuple[int, ...]) -> str | None:
    if not isinstance(value, int | float):
        return None
    exact = Decimal(repr(value))
    if not exact.is_finite():
        return None
    if bounds:
        precision, scale = bounds[0], bounds[1] if len(bounds) > 1 else 0
        if exact != round(exact, scale) or abs(exact) >= Decimal(10) ** (precision - scale):
            return None
    return str(value) if isinstance(value, int) else f"{exact:f}"


def _passes(check: Callable[[str], object], value: str) -> bool:
    try:
        check(value)
    except (ValueError, RecursionError):
        return False
    return True


def _no_key_twice(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is there twice")


def _json(value: str) -> object:
    if "\\u" in value:
        raise ValueError("escapes are left to the server's own reader")
    return json.loads(value, object_pairs_hook=_no_key_twice, parse_constant=_no_number)


def _no_number(word: str) -> object:
    raise ValueError(f"{word} is no number in JSON")


_DAY, _CLOCK = r"\d{4}-\d\d-\d\d", r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?"

_OFFSET = r"(Z|[+-]\d\d:\d\d)"

_READABLE: dict[str, tuple[str, Callable[[str], object]]] = {
    "date": (_DAY, date.fromisoformat),
    "time": (_CLOCK, time.fromisoformat),
    "timestamp": (rf"{_DAY}[ T]{_CLOCK}", datetime.fromisoformat),
    "timestamptz": (rf"{_DAY}[ T]{_CLOCK}{_OFFSET}", datetime.fromisoformat),
    "uuid": (r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}", str),
    "json": (r".*", _json),
    "jsonb": (r".*", _json),
}
