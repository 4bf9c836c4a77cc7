"""Where in a value it stops being what it should be: an operator finds byte 70,000 of a document only if told."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

SEARCHED_BYTES: Final = 1 << 20
"""Values that are longer aren't searched."""

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity', re.DOTALL)


def place_of_flaw(reason: str, value: bytes) -> int | None:
    """Return the offset in bytes at which a value, refused for this reason, goes wrong; None if nothing is found."""
    search = _SEARCHES.get(reason)
    return search(value) if search else None


def has_place(reason: str) -> bool:
    """Return whether values that are refused for this reason have a place where they go wrong."""
    return reason in _SEARCHES


def _no_utf8(value: bytes) -> int | None:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _no_json(value: bytes) -> int | None:
    text = value.decode(errors="replace")
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return len(text[: error.pos].encode())
    except _NotANumberError:
        tokens = (token for token in _TOKENS.finditer(text) if not token[0].startswith('"'))
        return next((len(text[: token.start()].encode()) for token in tokens), None)
    except RecursionError:
        pass  # it is valid as far as can be seen
    return None


class _NotANumberError(ValueError):
    """Python's json takes what JSON has no word for."""


def _refuse_constant(_name: str) -> NoReturn:
    raise _NotANumberError


_SEARCHES: Final[Mapping[str, Callable[[bytes], int | None]]] = {
    "is not valid UTF-8": _no_utf8,
    "is not valid JSON": _no_json,
}
