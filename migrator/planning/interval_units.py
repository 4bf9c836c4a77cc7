"""
Writes the SQL of the rule ``interval_unit``, which reads numbers as lengths of time.

Django stores a duration on SQLite as a number of microseconds; others count seconds or milliseconds.
"""

from collections.abc import Mapping
from typing import Final

NANOSECONDS: Final[Mapping[str, int]] = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3_600 * 10**9,
    "d": 86_400 * 10**9,
}
"""The length of each unit of ``interval_unit``."""

_DAY = 86_400 * 10**9


def interval_of(name: str) -> str:
    """
    Return SQL that writes a number of units, in ``given``, as the text of an interval; ``name`` is the unit's name.

    The text has days and a time of day, as Python's ``timedelta`` has: -1 second is -1 day 23:59:59.

    A double counts if it is the nearest double of a whole number of microseconds. Any other double stays as it is, so
    that the conversion refuses it.
    """
    unit = NANOSECONDS[name]
    per_microsecond = unit / 1_000
    microseconds = f"round(given * {per_microsecond!r})"
    is_whole = f"abs(given * {per_microsecond!r}) < 9e15 AND {microseconds} / {per_microsecond!r} = given"
    return (
        f"CASE WHEN typeof(given) = 'integer' OR ({_SIGNED_DIGITS}) THEN {_interval('CAST(given AS INTEGER)', unit)} "
        f"WHEN typeof(given) = 'real' AND {is_whole} THEN {_interval(f'CAST({microseconds} AS INTEGER)', 1_000)} "
        "ELSE given END"
    )


# A number of more than 18 digits might be beyond SQLite's integers, and CAST would change it.
_SIGNED_DIGITS = (
    "typeof(given) = 'text' AND length(ltrim(given, '-')) BETWEEN 1 AND 18 AND ltrim(given, '-') NOT GLOB '*[^0-9]*' "
    "AND given NOT GLOB '?*-*'"
)


def _interval(count: str, unit: int) -> str:
    """Return SQL for the text of an interval of ``count`` times ``unit`` nanoseconds."""
    per_day = _DAY // unit
    rest = f"((({count}) % {per_day} + {per_day}) % {per_day})"
    days = f"(({count}) / {per_day} - (({count}) % {per_day} < 0))"
    nanoseconds = f"({rest} * {unit})"
    seconds = f"({nanoseconds} / {10**9})"
    # The text keeps digits beyond microseconds, so that the conversion refuses the value.
    fraction = (
        f"CASE WHEN {nanoseconds} % 1000 THEN printf('.%09d', {nanoseconds} % {10**9}) "
        f"ELSE printf('.%06d', {nanoseconds} % {10**9} / 1000) END"
    )
    clock = f"printf('%02d:%02d:%02d', {seconds} / 3600, {seconds} / 60 % 60, {seconds} % 60)"
    return f"{days} || ' days ' || {clock} || {fraction}"
