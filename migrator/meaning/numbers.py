"""Reads numbers from text, exactly. Text that is no number raises ValueError."""

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
"""The most digits of an integer: Python refuses more, and no type has more."""
_LARGEST_OID = 2**32 - 1
_PLAIN_MONEY = re.compile(r"-?[0-9]+(?:\.[0-9]{1,2}0*)?")
_SHOWN_MONEY = re.compile(r"-?\$?[0-9]{1,3}(?:,[0-9]{3})*(?:\.[0-9]{2})?")


def integer(text: str) -> int:
    """Return the integer that the text has in decimal digits."""
    digits = text.strip(_BLANKS)
    if len(digits) > _MOST_DIGITS or not _INTEGER.fullmatch(digits):
        raise ValueError("no integer")
    return int(digits)


def oid(text: str) -> int:
    """Return an unsigned number of four bytes; PostgreSQL would read -1 as the largest ("Object Identifier Types")."""
    number = integer(text)
    if not 0 <= number <= _LARGEST_OID:
        raise ValueError("no oid")
    return number


def decimal(text: str) -> Decimal | str:
    """Return the number, or the one spelling of NaN and infinity. -0 is 0, as it is for ``numeric``."""
    numeral = text.strip(_BLANKS)
    if word := _WORDS.get(numeral.lower()):
        return word
    return _number(numeral)


def _number(numeral: str) -> Decimal:
    if not _NUMERAL.fullmatch(numeral):
        raise ValueError("no number")
    return Decimal(numeral)


def same_double(source: str, stored: str) -> bool:
    """Return whether the source's text is a spelling of the double that the server writes as ``stored``."""
    return _spells(source, stored, narrow=False)


def same_real(source: str, stored: str) -> bool:
    """Return whether the source's text spells a double that a real of four bytes holds, and the server has that one."""
    return _spells(source, stored, narrow=True)


def same_component(source: str, stored: str) -> bool:
    """Return whether a component of a vector is the one stored: a four-byte real, or the server's text of it."""
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
    # The shortest text, all digits of the double, or the 17 digits that C and other languages write.
    return number == Decimal(repr(double)) or number == Decimal(double) or number == Decimal(f"{double:.17g}")


def boolean(text: str) -> bool:
    """Return the meaning of a word for true or false. Beginnings of words, which PostgreSQL accepts, are refused."""
    word = text.strip(_BLANKS).lower()
    if word in {"t", "true", "1", "y", "yes", "on"}:
        return True
    if word in {"f", "false", "0", "n", "no", "off"}:
        return False
    raise ValueError("no boolean")


def money(text: str) -> Decimal:
    """Return an amount with at most two digits after the point, or in the form of the locale C: ``-$1,234.00``."""
    if _PLAIN_MONEY.fullmatch(text):
        return Decimal(text)
    if _SHOWN_MONEY.fullmatch(text):
        return Decimal(text.replace("$", "").replace(",", ""))
    raise ValueError("no amount")
