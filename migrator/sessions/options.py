"""Reads the settings in libpq's ``options``. Poolers refuse them as a start-up parameter, but accept them as SET."""

import re
from collections.abc import Iterator


def of_options(options: str | None) -> dict[str, str] | None:
    """
    Return the settings in ``options`` (``-c name=value``, ``--name=value``); None if ``options`` has other words.

    A blank after a backslash belongs to the value. Source: PostgreSQL, "postgres" (Options), and "libpq", "Parameter
    Key Words".
    """
    words = [_ESCAPED.sub(r"\1", word) for word in _WORDS.findall(options or "")]
    settings: dict[str, str] = {}
    for assignment in _assignments(iter(words)):
        name, sign, value = assignment.partition("=")
        if not sign or not _NAME.fullmatch(name):
            return None
        settings[name.replace("-", "_")] = value
    return settings


def _assignments(words: Iterator[str]) -> Iterator[str]:
    for word in words:
        if word == "-c":
            yield next(words, "")
        elif word.startswith(("-c", "--")):
            yield word[2:]
        else:
            yield ""


_WORDS = re.compile(r"(?:\\.|\S)+", re.DOTALL)

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
