"""Reads where the source is: a file's path as it is, or a URL as SQLAlchemy writes it."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

SCHEMES: Final = ("sqlite", "sqlite+aiosqlite", "sqlite+pysqlite")


def names_a_file(text: str) -> str:
    """
    Return the text if it does. Raises ValueError, and quotes no more than the scheme then.

    The target's URL, with its password, lands here by mistake.
    """
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() not in SCHEMES:
        raise ValueError(f"the scheme {scheme}:// is not known; a file's path or sqlite:///path is accepted")
    if text == ":memory:" or (separator and rest.lstrip("/").partition("?")[0] in {"", ":memory:"}):
        raise ValueError("it names no file; a file's path or sqlite:///path is accepted")
    return text


def path_of(text: str) -> Path:
    """Give the file that such a text names. It is not opened, and may be missing."""
    path, separator, rest = text.partition("://")
    if not separator:
        return Path(path).expanduser()
    path = re.sub(r"^(?:localhost)?/", "", rest.partition("?")[0])
    # SQLAlchemy decodes %20 since 2.1 and took it literally before, so a file of the literal name is the one meant.
    return Path(path) if Path(path).exists() else Path(unquote(path))
