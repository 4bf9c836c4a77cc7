"""Reads bytes, bits, UUIDs, documents, hstore and geometric values from text."""

import json
import re
from decimal import Decimal
from typing import NoReturn

from migrator.meaning.numbers import decimal

_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_BITS = re.compile(r"[01]*")
_ESCAPE = re.compile(rb"\\(?:(\\)|([0-3][0-7]{2})|)")
_HSTORE = re.compile(
    r'\s*("(?:[^"\\]|\\.)*"|[^\s"\\=>,]+)\s*=>\s*("(?:[^"\\]|\\.)*"|[^\s"\\=>,]+)\s*(?:,(?=.)|$)', re.DOTALL
)
_NUMBERS = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|infinity|nan", re.IGNORECASE)


def exact(text: str) -> str:
    """Return the text itself."""
    return text


def padded(text: str) -> str:
    """Return the text of ``char(n)`` without blanks at its end, which are padding (PostgreSQL, "Character Types")."""
    return text.rstrip(" ")


def bits(text: str) -> str:
    """Return the binary digits. Other spellings of a bit string raise ValueError."""
    if not _BITS.fullmatch(text):
        raise ValueError("no bits")
    return text


def uuid(text: str) -> str:
    """Return the 32 hexadecimal digits in lower case. Raises ValueError for other text."""
    if not _UUID.fullmatch(text):
        raise ValueError("no UUID")
    return text.replace("-", "").lower()


def octets(text: str) -> bytes:
    """Return the bytes that a text spells in hexadecimal or escape form (PostgreSQL, "Binary Data Types")."""
    if text.startswith("\\x"):
        return bytes.fromhex(text[2:])
    return _ESCAPE.sub(_octet, text.encode())


def _octet(escape: re.Match[bytes]) -> bytes:
    if escape[1]:
        return b"\\"
    if escape[2]:
        return bytes([int(escape[2], 8)])
    raise ValueError("no escape of a byte")


def document(text: str) -> object:
    """Return the value of a JSON document, with exact numbers. Raises ValueError for a duplicate key."""
    return json.loads(
        text, object_pairs_hook=_object, parse_int=_number, parse_float=_number, parse_constant=_no_number
    )


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key twice")
    return members


def _number(text: str) -> tuple[str, Decimal | str]:
    return "number", decimal(text)  # with a mark, because Python's True equals 1


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def pairs(text: str) -> dict[str, str | None]:
    """Return the pairs of an ``hstore``. Raises ValueError for a duplicate key, since a value would be lost."""
    values: dict[str, str | None] = {}
    position = 0
    while text[position:].strip():
        pair = _HSTORE.match(text, position)
        if pair is None:
            raise ValueError("no pairs")
        key, value = _word(pair[1]), None if pair[2].upper() == "NULL" else _word(pair[2])
        if key in values:
            raise ValueError("a key twice")
        values[key] = value
        position = pair.end()
    return values


def _word(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL) if text.startswith('"') else text


def figure(text: str) -> tuple[str, list[str]]:
    """Return the text of a geometric value without blanks and with ``#`` for each number, and the numbers."""
    compact = re.sub(r"\s", "", text)
    return _NUMBERS.sub("#", compact), _NUMBERS.findall(compact)
