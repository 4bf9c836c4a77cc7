"""
Reads intervals from text, in a fixed list of spellings that mean the same everywhere.

The spellings are: ``1 year 2 mons 3 days 04:05:06.7`` and units in words, with whole numbers; ``3 days, 4:05:06`` as
Python writes it; ``04:05:06``; ``P1Y2M3DT4H5M6.7S``; ``1-2 3 04:05:06`` of the SQL standard. Other text raises
ValueError, for example a fraction of a year, a day and a time with a point between them (which PostgreSQL reads as
hours), a number without a unit, or a time with only hours and minutes.
"""

import re

Interval = tuple[int, int, int]
"""Months, days and microseconds. PostgreSQL keeps these three apart ("Interval Input")."""

_SECOND = 1_000_000
_UNITS: dict[str, Interval] = {
    unit: length
    for units, length in (
        ("y yr yrs year years", (12, 0, 0)),
        ("mon mons month months", (1, 0, 0)),
        ("w week weeks", (0, 7, 0)),
        ("d day days", (0, 1, 0)),
        ("h hr hrs hour hours", (0, 0, 3600 * _SECOND)),
        ("min mins minute minutes", (0, 0, 60 * _SECOND)),
        ("s sec secs second seconds", (0, 0, _SECOND)),
        ("ms millisecond milliseconds", (0, 0, 1_000)),
        ("us microsecond microseconds", (0, 0, 1)),
    )
    for unit in units.split()
}
_FRACTION = r"(?:\.([0-9]{1,6})0*)?"
_CLOCK = rf"([+-]?)([0-9]{{1,9}}):([0-5][0-9]):([0-5][0-9]){_FRACTION}"
_IN_WORDS = re.compile(
    rf"[ ]*(?:([+-]?)([0-9]{{1,18}}){_FRACTION}[ ]*([a-z]+)|{_CLOCK})(?![:.0-9a-z])(?:,(?= ))?", re.IGNORECASE
)
_AGO = re.compile(r" ago$", re.IGNORECASE)
_SQL = re.compile(rf"(?:([+]?)([0-9]{{1,9}})-([0-9]|1[01])(?: |$))?(?:([+]?[0-9]{{1,9}}) )?(?:{_CLOCK})?")
_ISO = re.compile(
    r"P(?=.)(?:([+-]?[0-9]{1,9})Y)?(?:([+-]?[0-9]{1,9})M)?(?:([+-]?[0-9]{1,9})W)?(?:([+-]?[0-9]{1,9})D)?"
    rf"(?:T(?=.)(?:([+-]?[0-9]{{1,9}})H)?(?:([+-]?[0-9]{{1,9}})M)?(?:([+-]?)([0-9]{{1,15}}){_FRACTION}S)?)?"
)


def interval(text: str) -> Interval:
    """Return the interval in months, days and microseconds. Raises ValueError for spellings not listed above."""
    body = text.strip(" ")
    if body.startswith("P"):
        return _iso(body)
    if any(character.isalpha() for character in body):
        return _words(body)
    return _sql(body)


def _iso(text: str) -> Interval:
    matched = _ISO.fullmatch(text)
    if matched is None:
        raise ValueError("no interval")
    years, months, weeks, days, hours, minutes = (int(field or 0) for field in matched.groups()[:6])
    sign, seconds, fraction = matched.groups()[6:]
    microseconds = _signed(sign, int(seconds or 0) * _SECOND + _microseconds(fraction))
    return 12 * years + months, 7 * weeks + days, (hours * 60 + minutes) * 60 * _SECOND + microseconds


def _words(text: str) -> Interval:
    body = text.removeprefix("@")
    negated = _AGO.search(body)
    body = _AGO.sub("", body)
    sums = [0, 0, 0]
    position = 0
    while position < len(body):
        part = _IN_WORDS.match(body, position)
        if part is None:
            raise ValueError("no interval")
        position = part.end()
        for place, amount in enumerate(_part(part)):
            sums[place] += amount
    months, days, microseconds = (-amount for amount in sums) if negated else sums
    return months, days, microseconds


def _part(part: re.Match[str]) -> Interval:
    sign, number, fraction, unit, *clock = part.groups()
    if unit is None:
        return 0, 0, _clock(*clock)
    months, days, microseconds = _UNITS.get(unit.lower(), (0, 0, 0))
    if not months and not days and not microseconds:
        raise ValueError("no unit")
    if fraction is not None and microseconds != _SECOND:
        raise ValueError("a fraction of something else than a second")
    whole = int(number)
    return (
        _signed(sign, whole * months),
        _signed(sign, whole * days),
        _signed(sign, whole * microseconds + _microseconds(fraction)),
    )


def _sql(text: str) -> Interval:
    matched = _SQL.fullmatch(text)
    if matched is None or not text:
        raise ValueError("no interval")
    _, years, months, days, *clock = matched.groups()
    if days is not None and clock[1] is None:
        raise ValueError("a number without a unit")
    microseconds = _clock(*clock) if clock[1] is not None else 0
    return 12 * int(years or 0) + int(months or 0), int(days or 0), microseconds


def _clock(sign: str | None, hours: str | None, minutes: str | None, seconds: str | None, fraction: str | None) -> int:
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return _signed(sign, whole * _SECOND + _microseconds(fraction))


def _microseconds(fraction: str | None) -> int:
    return int((fraction or "").ljust(6, "0"))


def _signed(sign: str | None, amount: int) -> int:
    return -amount if sign == "-" else amount
