"""Reads the source's address: the plain path of a file, or a URL in SQLAlchemy's form."""

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote_to_bytes

from migrator.errors import ConfigurationError

SCHEMES: Final = ("sqlite", "sqlite+aiosqlite", "sqlite+pysqlite")

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)

_OPTIONS: Final = re.compile(r"\w+=[^&/]*(?:&\w+=[^&/]*)*")


def names_a_file(text: str) -> str:
    """
    Return the text if it names a file. Raises ValueError otherwise.

    The message quotes only the scheme: an operator may give the target's URL, with its password, by mistake.
    """
    url = _URL.fullmatch(text)
    if url and url[1].lower() not in SCHEMES:
        raise ValueError(f"the scheme {url[1]}:// is not known; a file's path or sqlite:///path is accepted")
    name, _, options = (url[2].lstrip("/") if url else "").partition("?")
    in_memory = text == ":memory:" or name.startswith("file::memory:") or "memory" in parse_qs(options).get("mode", ())
    if in_memory or (url and name in {"", ":memory:"}):
        raise ValueError("it names no file; a file's path or sqlite:///path is accepted")
    return text


def path_of(text: str) -> Path:
    """
    Return the file that the text names. The file isn't opened, and may be missing.

    A path is used unchanged, with all its characters; ``~`` means the home directory unless a file of that name exists.
    Raises ConfigurationError for a URL that means one file with its percent signs decoded, and another file without.
    """
    url = _URL.fullmatch(text)
    if not url:
        return Path(text) if _is_there(Path(text)) else _at_home(text)
    body = re.sub(r"^(?:localhost)?/", "", url[2])
    name, _, options = body.partition("?")
    if not _OPTIONS.fullmatch(options):
        name, options = body, ""
    if name.startswith("file:") and parse_qs(options).get("uri", ["false"])[-1].lower() in {"true", "1", "yes", "on"}:
        return _decoded(re.sub(r"^file:(?://(?:localhost)?(?=/))?", "", name))
    # SQLAlchemy decodes %20 since 2.1 and took it literally before. The URL means the file that exists.
    meant = [path for path in dict.fromkeys([Path(name), _decoded(name)]) if _is_there(path)]
    if len(meant) > 1 and not meant[0].samefile(meant[1]):
        raise ConfigurationError(
            f"the source's URL may mean {str(meant[0])!r} or {str(meant[1])!r}, and both exist",
            next_step="Give the file's path itself, without sqlite:///.",
        )
    if not meant and _is_there(Path(body)):
        return Path(body)
    return meant[0] if meant else _decoded(name)


def _decoded(path: str) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(os.fsencode(path))))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the folder can't be searched; the error is reported when the file is read
        return False


def _at_home(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # this machine doesn't know the user after the ~
        return Path(text)
