"""
Reads dates and times from text, in the spellings that the job accepts for ``date``, ``time`` and ``timestamp``.

The spellings are ISO 8601 with or without a time zone, with a blank or ``T`` between date and time, at most six digits
of a second besides zeros at the end, and the years 1 to 9999. ValueError is raised for text that PostgreSQL would read
as the next day or minute (24:00, a 60th second), that it would cut (an offset, a time of day), or that depends on its
clock (``now``). A range may reach to ``infinity``.
"""

import re
from datetime import date

_DAY = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_CLOCK = r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,6})0*)?)?"
_OFFSET = r"(Z|[+-][0-9]{2}(?::?[0-9]{2}(?::[0-9]{2})?)?)?"
_DATE = re.compile(_DAY)
_TIME = re.compile(_CLOCK)
_TIMETZ = re.compile(_CLOCK + _OFFSET)
_TIMESTAMP = re.compile(rf"{_DAY}(?:[ T]{_CLOCK})?")
_TIMESTAMPTZ = re.compile(rf"{_DAY}(?:[ T]{_CLOCK}{_OFFSET})?")
_WORDS = frozenset({"infinity", "-infinity"})
_SECOND = 1_000_000
_DAY_LONG = 86_400 * _SECOND


def day(text: str) -> int | str:
    """Return the number of the day since the year 1, or the word for infinity. Raises ValueError for other text."""
    if (word := text.lower()) in _WORDS:
        return word
    return _day(*_match(_DATE, text))


def time(text: str) -> int:
    """Return microseconds since midnight. Raises ValueError for other text."""
    return _clock(*_match(_TIME, text))


def timetz(text: str) -> tuple[int, int]:
    """Return microseconds since midnight and the offset in seconds. The default is 0, since every session is in UTC."""
    *clock, offset = _match(_TIMETZ, text)
    return _clock(*clock), _offset(offset)


def timestamp(text: str) -> int | str:
    """Return microseconds since the day before 0001-01-01, or the word for infinity. A date means its midnight."""
    if (word := text.lower()) in _WORDS:
        return word
    year, month, of_month, *clock = _match(_TIMESTAMP, text)
    return _day(year, month, of_month) * _DAY_LONG + _clock(*clock)


def timestamptz(text: str) -> int | str:
    """Return microseconds in UTC, counted as in ``timestamp``, or the word for infinity. The default offset is UTC."""
    if (word := text.lower()) in _WORDS:
        return word
    year, month, of_month, *clock, offset = _match(_TIMESTAMPTZ, text)
    return _day(year, month, of_month) * _DAY_LONG + _clock(*clock) - _offset(offset) * _SECOND


def _match(pattern: re.Pattern[str], text: str) -> tuple[str | None, ...]:
    if matched := pattern.fullmatch(text):
        return matched.groups()
    raise ValueError("no moment")


def _day(year: str | None, month: str | None, of_month: str | None) -> int:
    return date(int(year or 0), int(month or 0), int(of_month or 0)).toordinal()


def _clock(hour: str | None, minute: str | None, second: str | None, fraction: str | None) -> int:
    seconds = (int(hour or 0) * 60 + int(minute or 0)) * 60 + int(second or 0)
    return seconds * _SECOND + int((fraction or "").ljust(6, "0"))


def _offset(text: str | None) -> int:
    if text is None or text == "Z":
        return 0
    digits = text[1:].replace(":", "").ljust(6, "0")
    seconds = (int(digits[:2]) * 60 + int(digits[2:4])) * 60 + int(digits[4:])
    return -seconds if text.startswith("-") else seconds
