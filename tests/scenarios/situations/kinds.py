"""
The kinds of columns that situations are made of, and when a value that arrived is the value that was stored.

The reader here knows nothing of the product: it takes what Python's ``sqlite3`` gives for the source and ``asyncpg``
for the target, and compares them as Python values.
"""

import ipaddress
import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from random import Random
from typing import Any
from uuid import UUID

Stored = None | int | float | str | bytes
Draw = Callable[[Random], Stored]

LETTERS = "abcXYZ 019_-'\"\\/%$#{}[]<>&é\u0301ßЖ漢😀\t\n"


@dataclass(frozen=True, slots=True)
class Kind:
    """A column's types at both ends, values that must arrive, and values that arrive exactly or are refused."""

    sqlite: str
    postgres: str
    plain: Draw
    odd: tuple[Stored, ...]


def _text(random: Random, longest: int) -> str:
    return "".join(random.choice(LETTERS) for _ in range(random.randint(0, longest)))


def _moment(random: Random) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=random.randint(-(10**9), 4 * 10**9))
    return moment.strftime("%Y-%m-%d %H:%M:%S") + random.choice(["", ".5", ".123456"])


def _document(random: Random) -> str:
    parts: list[Any] = [1, -2.5, "a'b", "é", None, True, [1, [2]], {"k": [None]}, {}]
    return json.dumps({_text(random, 3): random.choice(parts) for _ in range(random.randint(0, 3))})


KINDS: Mapping[str, Kind] = {
    "bigint": Kind(
        "INTEGER",
        "bigint",
        lambda r: r.choice([0, -1, 2**63 - 1, -(2**63), r.randint(-(10**6), 10**6)]),
        (1.5, "12", "x", b"\x01"),
    ),
    "integer": Kind("INTEGER", "integer", lambda r: r.randint(-(2**31), 2**31 - 1), (2**31, "x")),
    "text": Kind("TEXT", "text", lambda r: _text(r, r.choice([4, 30, 30, 3000])), ("a\0b", b"\xff")),
    "varchar": Kind("VARCHAR(12)", "varchar(12)", lambda r: _text(r, 12), ("a" * 13, "a" * 12 + " ")),
    "float": Kind(
        "REAL", "double precision", lambda r: r.choice([0.0, 0.1, 5e-324, 1.7e308, r.uniform(-1e6, 1e6)]), ("x",)
    ),
    "real": Kind("REAL", "real", lambda r: r.choice([0.5, -2.0, 1024.25]), (0.1,)),
    "boolean": Kind("BOOLEAN", "boolean", lambda r: r.randint(0, 1), (2, "maybe")),
    "bytea": Kind("BLOB", "bytea", lambda r: r.randbytes(r.randint(0, 20)), ("text",)),
    "timestamp": Kind("TIMESTAMP", "timestamp", _moment, ("2024-02-30 00:00:00", "2024-01-01 00:00:00.1234567", "now")),
    "timestamptz": Kind("TEXT", "timestamptz", lambda r: _moment(r) + r.choice(["Z", "+00:00", "+05:30"]), ("now",)),
    "date": Kind("DATE", "date", lambda r: _moment(r)[:10], ("2024-01-01 05:00:00", "yesterday")),
    "uuid": Kind("TEXT", "uuid", lambda r: str(UUID(int=r.getrandbits(128))), ("x",)),
    "jsonb": Kind("TEXT", "jsonb", _document, ('{"a":1,"a":2}', "{", '"\\u0000"')),
    "json": Kind("TEXT", "json", _document, ("{",)),
    "numeric": Kind(
        "NUMERIC", "numeric(12,3)", lambda r: r.choice([0, -3, 0.5, r.randint(0, 10**6), 1234.125]), (0.0001, "x")
    ),
    "interval": Kind("TEXT", "interval", lambda r: f"{r.randint(0, 99):02}:{r.randint(0, 59):02}:07", ("1.02:03:04",)),
    "integers": Kind("TEXT", "integer[]", lambda r: r.choice(["{}", "{1,-2}", "{NULL,3}"]), ("{1.5}", "{")),
    "inet": Kind("TEXT", "inet", lambda r: f"10.0.{r.randint(0, 255)}.{r.randint(0, 255)}", ("ten",)),
    "char": Kind("CHAR(4)", "char(4)", lambda r: f"{r.randint(0, 9999):04}", ("ab", "abcde")),
}


def same(type_name: str, stored: Stored, arrived: object) -> bool:
    """Say whether the target's value, of the type that PostgreSQL names so, is what the source has stored."""
    if stored is None or arrived is None:
        return stored is None and arrived is None
    try:
        return bool(_READERS.get(type_name, _as_text)(stored, arrived))
    except (ValueError, TypeError, InvalidOperation):
        return False


def _as_text(stored: Any, arrived: Any) -> bool:  # noqa: ANN401 - what the drivers give
    spelled = repr(stored) if isinstance(stored, float) else str(stored)
    return not isinstance(stored, bytes) and spelled == arrived


def _number(stored: Any) -> Decimal:  # noqa: ANN401
    if isinstance(stored, bytes):
        raise TypeError(stored)
    return Decimal(repr(stored) if isinstance(stored, float) else str(stored))


def _instant(stored: str) -> datetime:
    if re.search(r"\.\d{6}\d*[1-9]", stored):
        raise ValueError(stored)
    moment = datetime.fromisoformat(stored)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _span(stored: str) -> timedelta:
    days, hours, minutes, seconds = re.fullmatch(r"(?:(\d+)\.)?(\d+):(\d\d):(\d\d)", stored).groups(default="0")  # type: ignore[union-attr]
    return timedelta(days=int(days), hours=int(hours), minutes=int(minutes), seconds=int(seconds))


def _tagged(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _tagged(member) for key, member in value.items()}
    return [_tagged(member) for member in value] if isinstance(value, list) else (type(value).__name__, value)


def _document_of(text: str) -> Any:  # noqa: ANN401
    return _tagged(json.loads(text, parse_float=Decimal, parse_int=Decimal))


def _once(text: str) -> bool:
    """Say whether no object of a document has a key twice, of which jsonb would lose one."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(found)) < len(found):
            raise ValueError(text)
        return dict(found)

    json.loads(text, object_pairs_hook=pairs)
    return True


_READERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "bool": lambda s, a: type(s) is int and s in {0, 1} and a is bool(s),
    "int2": lambda s, a: _number(s) == a,
    "int4": lambda s, a: _number(s) == a,
    "int8": lambda s, a: _number(s) == a,
    "float4": lambda s, a: float(s) == a,
    "float8": lambda s, a: struct.pack("d", float(s)) == struct.pack("d", a) and s == a,
    "numeric": lambda s, a: _number(s) == a,
    "bytea": lambda s, a: (s.encode() if isinstance(s, str) else s) == a,
    "bpchar": lambda s, a: str(s).rstrip(" ") == a.rstrip(" "),
    "timestamp": lambda s, a: datetime.fromisoformat(s).tzinfo is None and _instant(s) == a.replace(tzinfo=UTC),
    "timestamptz": lambda s, a: _instant(s) == a,
    "date": lambda s, a: date.fromisoformat(s) == a,
    "uuid": lambda s, a: UUID(s) == a,
    "jsonb": lambda s, a: _once(s) and _document_of(s) == _document_of(a),
    "interval": lambda s, a: _span(s) == a,
    "int4[]": lambda s, a: [None if one == "NULL" else int(one) for one in s.strip("{}").split(",") if one] == a,
    "inet": lambda s, a: ipaddress.ip_interface(s) == ipaddress.ip_interface(a),
}
