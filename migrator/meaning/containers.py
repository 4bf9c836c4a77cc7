"""
Parses the text of arrays, composites, ranges and multiranges into the texts of their parts.

This module reads only the outer form (PostgreSQL, "Arrays", "Composite Types", "Range Types"). A text of another form
raises ValueError.
"""

import re

from msgspec import Struct

Nested = list["str | Nested | None"]

_BLANKS = " \t\n\r\v\f"


class Array(Struct, frozen=True):
    """The elements of an array, as lists nested by dimension; None is NULL."""

    lower: tuple[int, ...]
    """The lower bound of each dimension; empty if all are 1, which is the default."""
    items: Nested


class Range(Struct, frozen=True):
    """The bounds of a range; None is an infinite bound."""

    lower: str | None
    upper: str | None
    with_lower: bool
    with_upper: bool
    empty: bool = False


_EMPTY = Range(None, None, with_lower=False, with_upper=False, empty=True)
_BOUNDS = re.compile(r"((?:\[[+-]?[0-9]+(?::[+-]?[0-9]+)?\])+)[ \t\n\r\v\f]*=")
_BOUND = re.compile(r"\[(?:([+-]?[0-9]+):)?[+-]?[0-9]+\]")


def _tokens(delimiter: str) -> re.Pattern[str]:
    apart = re.escape(delimiter)
    return re.compile(
        rf'[ \t\n\r\v\f]*(?:([{{}}])|({apart})|"((?:[^"\\]|\\.)*)"[ \t\n\r\v\f]*|([^"\\{{}}{apart}]+))', re.DOTALL
    )


_TOKENS = {delimiter: _tokens(delimiter) for delimiter in ",;"}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def array(text: str, delimiter: str = ",") -> Array:
    """Return the array that ``text`` spells, with ``delimiter`` between elements. Raises ValueError for other text."""
    body = text.strip(_BLANKS)
    lower: tuple[int, ...] = ()
    if bounds := _BOUNDS.match(body):
        lower = tuple(int(bound or 1) for bound in _BOUND.findall(bounds[1]))
        body = body[bounds.end() :].lstrip(_BLANKS)
    if not body.startswith("{") or not body.endswith("}"):
        raise ValueError("no array")
    return Array(lower if set(lower) - {1} else (), _items(body, delimiter))


def _items(body: str, delimiter: str) -> Nested:
    if '"' not in body and "\\" not in body and "{" not in body[1:] and body.index("}") == len(body) - 1:
        inner = body[1:-1].strip(_BLANKS)
        return [_bare(item) for item in inner.split(delimiter)] if inner else []
    outermost: Nested = []
    stack = [outermost]
    position = 0
    tokens = _TOKENS[delimiter]
    while position < len(body):
        token = tokens.match(body, position)
        if token is None:
            raise ValueError("no array")
        position = token.end()
        bracket, _, quoted, bare = token.groups()
        if bracket == "{":
            inside: Nested = []
            stack[-1].append(inside)
            stack.append(inside)
        elif bracket == "}":
            stack.pop()
            if not stack:
                raise ValueError("no array")
        elif quoted is not None:
            stack[-1].append(_ESCAPED.sub(r"\1", quoted) if "\\" in quoted else quoted)
        elif bare is not None and bare.strip(_BLANKS):
            stack[-1].append(_bare(bare))
    if len(stack) > 1 or len(outermost) != 1 or not isinstance(outermost[0], list):
        raise ValueError("no array")
    return outermost[0]


def _bare(item: str) -> str | None:
    item = item.strip(_BLANKS)
    return None if item.upper() == "NULL" else item


_FIELD = re.compile(r'(?:"(?:[^"\\]|\\.|"")*"|\\.|[^,)\]"\\])*', re.DOTALL)
_FIELD_OF_RECORD = re.compile(r'(?:"(?:[^"\\]|\\.|"")*"|\\.|[^,)"\\])*', re.DOTALL)
_PIECE = re.compile(r'"((?:[^"\\]|\\.|"")*)"|\\(.)|([^"\\]+)', re.DOTALL)
_IN_QUOTES = re.compile(r'\\(.)|"(")', re.DOTALL)


def record(text: str) -> list[str | None]:
    """Return the texts of a composite's columns, None for NULL. Raises ValueError for other text."""
    body = text.strip(_BLANKS)
    if not body.startswith("("):
        raise ValueError("no composite")
    fields: list[str | None] = []
    position = 0
    while position == 0 or body[position : position + 1] == ",":
        field, position = _field(_FIELD_OF_RECORD, body, position + 1)
        fields.append(field)
    if body[position:] != ")":
        raise ValueError("no composite")
    return fields


def one_range(text: str) -> Range:
    """Return the range that ``text`` spells. Raises ValueError for other text."""
    item, end = _range(text, 0)
    if text[end:].strip(_BLANKS):
        raise ValueError("no range")
    return item


def ranges(text: str) -> list[Range]:
    """Return the ranges of the multirange that ``text`` spells. Raises ValueError for other text."""
    body = text.strip(_BLANKS)
    if not body.startswith("{") or not body.endswith("}"):
        raise ValueError("no multirange")
    body = body[1:-1].strip(_BLANKS)
    items: list[Range] = []
    position = 0
    while position < len(body):
        item, position = _range(body, position)
        items.append(item)
        remaining = body[position:].lstrip(_BLANKS)
        if remaining and not remaining.startswith(","):
            raise ValueError("no multirange")
        position = len(body) - len(remaining) + 1
    return items


def _range(text: str, position: int) -> tuple[Range, int]:
    position = len(text) - len(text[position:].lstrip(_BLANKS))
    if text[position : position + 5].lower() == "empty":
        return _EMPTY, position + 5
    opening = text[position : position + 1]
    lower, position = _field(_FIELD, text, position + 1)
    if opening not in {"[", "("} or text[position : position + 1] != ",":
        raise ValueError("no range")
    upper, position = _field(_FIELD, text, position + 1)
    closing = text[position : position + 1]
    if closing not in {"]", ")"}:
        raise ValueError("no range")
    # An infinite bound is never included, whichever bracket it has (PostgreSQL, "Range Types", infinite ranges).
    with_lower, with_upper = opening == "[" and lower is not None, closing == "]" and upper is not None
    return Range(lower, upper, with_lower=with_lower, with_upper=with_upper), position + 1


def _field(pattern: re.Pattern[str], text: str, position: int) -> tuple[str | None, int]:
    """Return the text of the field or bound at ``position``, None if it is empty, and the position of its end."""
    matched = pattern.match(text, position)
    if matched is None or matched.end() == position:
        return None, position
    raw = matched[0]
    if '"' not in raw and "\\" not in raw:
        return raw, matched.end()
    pieces = (
        _IN_QUOTES.sub(lambda escape: escape[1] or escape[2], quoted)
        if bare is None and escaped is None
        else escaped or bare
        for quoted, escaped, bare in (piece.groups() for piece in _PIECE.finditer(raw))
    )
    return "".join(pieces), matched.end()
