"""Writes numbers, names and values for people."""

import re
from collections.abc import Sequence
from typing import Final

_MOST_LISTED: Final = 5


def printable(words: str) -> str:
    """Return a name with unprintable signs escaped: a line break would break the layout of a table."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in words)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which gets an s unless the number is 1."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def quoted(value: str | None) -> str:
    """Return a value in quotes, or NULL for None."""
    return "NULL" if value is None else repr(value)


def listed(names: Sequence[str]) -> str:
    """Return the first of the names, and how many more there are."""
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def wrapped(text: str, width: int, indent: str) -> str:
    """
    Return text whose lines have at most ``width`` columns, broken between words; further lines begin with ``indent``.

    Signs that take two columns count twice, and colours don't count. A word that is wider than a line stays whole.
    """
    if len(text) < width and text.isascii() and "\n" not in text:
        return text
    from rich.cells import cell_len  # noqa: PLC0415 - most lines are short and don't need it

    lines = []
    for line in text.split("\n"):
        current = ""
        for word in re.split(r"(?<=\S)(?= )", line):
            if current.strip() and cell_len(_COLOURS.sub("", current + word)) > width:
                lines.append(current)
                current = indent + word.lstrip(" ")
            else:
                current += word
        lines.append(current)
    return "\n".join(lines)


_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
