"""
Rewrites an application's own storage forms into text that PostgreSQL reads, for the comparison.

The copier does the same by SQLite's SQL. The code is separate, so that a mistake in either code shows as a difference.
"""

import json
import re
from datetime import datetime
from typing import NoReturn

from migrator.meaning.type_shapes import Kind, Shape

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} ([0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6})", re.ASCII)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - SQLAlchemy's epoch has no zone
_AS_IT_IS = re.compile(r"[^\s\"\\{},]+")


def rewrite_source_text(shape: Shape, text: str) -> str:
    """Return a JSON list as the text of an array, SQLAlchemy's interval as an interval, and other text as it is."""
    if shape.kind is Kind.ARRAY and text.lstrip(" ").startswith("["):
        return _array(text)
    if shape.name == "interval" and (matched := _MOMENT.fullmatch(text)):
        return _interval(text, matched[1])
    return text


def _array(text: str) -> str:
    try:
        items = json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text
    if not isinstance(items, list) or any(isinstance(item, list | dict) for item in items):
        return text
    return "{" + ",".join(map(_element, items)) + "}"


def _element(item: object) -> str:
    if item is None:
        return "NULL"
    if isinstance(item, bool):
        return "true" if item else "false"
    text = str(item)
    if _AS_IT_IS.fullmatch(text) and text.upper() != "NULL":
        return text  # array_out writes it without quotes too
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


def _interval(text: str, clock: str) -> str:
    try:
        days = (datetime.fromisoformat(text[:10]) - _EPOCH).days
        datetime.fromisoformat(text)
    except ValueError:  # the day or the hour doesn't exist
        return text
    return f"{days} days {clock}"
