"""Reads numbers from text exactly. Text that is not a number raises ValueError."""

import re
import struct
from decimal import Decimal

_BLANKS = " \t\n\r\v\f"
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMERAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_WORDS = {
    "nan": "nan",
    "infinity": "infinity",
    "+infinity": "infinity",
    "inf": "infinity",
    "+inf": "infinity",
    "-infinity": "-infinity",
    "-inf": "-infinity",
}
_MOST_DIGITS = 4_000
"""The most digits of an integer. Python refuses more, and no type has more."""
_LARGEST_OID = 2**32 - 1
_PLAIN_MONEY = re.compile(r"-?[0-9]+(?:\.[0-9]{1,2}0*)?")
_SHOWN_MONEY = re.compile(r"-?\$?[0-9]{1,3}(?:,[0-9]{3})*(?:\.[0-9]{2})?")


def integer(text: str) -> int:
    """Return the integer that the text spells in decimal digits."""
    digits = text.strip(_BLANKS)
    if len(digits) > _MOST_DIGITS or not _INTEGER.fullmatch(digits):
        raise ValueError("no integer")
    return int(digits)


def oid(text: str) -> int:
    """Return an unsigned integer of four bytes. PostgreSQL reads -1 as the largest ("Object Identifier Types")."""
    number = integer(text)
    if not 0 <= number <= _LARGEST_OID:
        raise ValueError("no oid")
    return number


def decimal(text: str) -> Decimal | str:
    """Return the number, or a word for NaN or infinity. -0 equals 0, as in ``numeric``."""
    numeral = text.strip(_BLANKS)
    if word := _WORDS.get(numeral.lower()):
        return word
    return _number(numeral)


def _number(numeral: str) -> Decimal:
    if not _NUMERAL.fullmatch(numeral):
        raise ValueError("no number")
    return Decimal(numeral)


def same_double(source: str, stored: str) -> bool:
    """Return whether the source's text spells the same double as the server's text ``stored``."""
    return _spells(source, stored, narrow=False)


def same_real(source: str, stored: str) -> bool:
    """Return whether the source's text spells exactly the four-byte real that the server writes as ``stored``."""
    return _spells(source, stored, narrow=True)


def same_component(source: str, stored: str) -> bool:
    """Return whether a vector's component is equal to ``stored``: as a four-byte real, or as a decimal."""
    return same_real(source, stored) or decimal(source) == decimal(stored)


def _spells(source: str, stored: str, *, narrow: bool) -> bool:
    numeral, stored_numeral = source.strip(_BLANKS), stored.strip(_BLANKS)
    if numeral.lower() in _WORDS or stored_numeral.lower() in _WORDS:
        return _WORDS.get(numeral.lower()) == _WORDS.get(stored_numeral.lower())
    number = _number(numeral)
    double = float(stored_numeral)
    if narrow:
        [double] = struct.unpack("f", struct.pack("f", double))
    if not number:
        return double == 0 and number.is_signed() == stored_numeral.startswith("-")
    # A double may be spelled by its shortest text, by all its digits, or by the 17 digits that C and others write.
    return number == Decimal(repr(double)) or number == Decimal(double) or number == Decimal(f"{double:.17g}")


def boolean(text: str) -> bool:
    """Return the meaning of a word for true or false. Beginnings of words, which PostgreSQL reads, raise ValueError."""
    word = text.strip(_BLANKS).lower()
    if word in {"t", "true", "1", "y", "yes", "on"}:
        return True
    if word in {"f", "false", "0", "n", "no", "off"}:
        return False
    raise ValueError("no boolean")


def money(text: str) -> Decimal:
    """Return the amount. Its text has at most two decimal places, or the form of the locale C: ``-$1,234.00``."""
    if _PLAIN_MONEY.fullmatch(text):
        return Decimal(text)
    if _SHOWN_MONEY.fullmatch(text):
        return Decimal(text.replace("$", "").replace(",", ""))
    raise ValueError("no amount")
