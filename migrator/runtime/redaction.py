"""
Masks secrets in output: every spelling of each secret, in every string, at every depth.

Only this module knows the spellings of a secret in a URL, a repr, JSON or an INI file.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote

MASK: Final = "***"

# These patterns find a password even if it is not among the known secrets: in a URL, up to the last "@" of the word; in
# libpq's connection strings (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING); and in the
# query of a URL.
_IN_URL: Final = re.compile(r"(?P<before>\b[a-zA-Z][\w+.-]*://[^\s:/@\"']*:)[^\s\"']+(?=@)")

_IN_PARAMETERS: Final = re.compile(
    r"(?P<before>(?:\b|_|PG|pg|ssl)(?:password|PASSWORD)\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s'\"&;,]+)"
)

_WHOLE_URL: Final = re.compile(r"[a-zA-Z][\w+.-]*://(?:[^\s:/@]*(?::(?P<password>.*))?@)?(?P<rest>[^@]*)", re.DOTALL)

_PASSWORD_PARAMETER: Final = re.compile(r"[?&](?:ssl)?password=([^&]+)")

# Field names of a report are short plain words. They are kept, also if a password is the same common word.
_PLAIN_WORD: Final = re.compile(r"[a-z_]{1,32}")


def spellings(secret: str) -> Iterator[str]:
    """Yield every spelling of a secret in a URL, a repr, a JSON document or an INI file; none for an empty secret."""
    if not secret:
        return
    plain = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    encoded = {quote(secret, safe=""), quote(secret), quote_plus(secret), quote(secret, safe=" +")}
    lower = {re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), text) for text in encoded}
    for text in plain | encoded | lower:
        yield text
        yield text.replace("%", "%%")  # Alembic's configuration file


def password_of(url: str) -> Iterator[str]:
    """Yield the passwords in a URL, each as it is spelled there and decoded. Yields nothing for other text."""
    if (match := _WHOLE_URL.fullmatch(url.strip())) is not None:
        passwords = (match["password"], *_PASSWORD_PARAMETER.findall(match["rest"]))
        yield from (spelled for part in passwords if part for spelled in (part, unquote(part)))


def redactor(secrets: Iterable[str]) -> Callable[[Any], Any]:
    """
    Return a function that returns its argument with every secret replaced by ``***``.

    It also replaces all passwords in URLs and connection strings. It searches strings, mappings and sequences. Keys of
    mappings that are plain words stay as they are. Numbers, bool and None stay as they are too. Any other value becomes
    text first, so that a secret in an exception or in a URL object is found.
    """
    texts = _texts(frozenset(secrets))
    shortest = len(texts[-1]) if texts else 0

    def masked(output: str) -> str:
        # Most strings of an event are shorter than any secret.
        for text in texts if len(output) >= shortest else ():
            output = output.replace(text, MASK)
        if "://" in output:
            output = _IN_URL.sub(rf"\g<before>{MASK}", output)
        if "password" in output or "PASSWORD" in output:
            output = _IN_PARAMETERS.sub(rf"\g<before>{MASK}", output)
        return output

    def clean(value: Any) -> Any:  # noqa: ANN401 - a log field may be anything
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return masked(value)
        if isinstance(value, Mapping):
            return {_key(key) or clean(key): clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [clean(item) for item in value]
        return masked(str(value))

    return clean


@lru_cache(maxsize=8)
def _texts(secrets: frozenset[str]) -> tuple[str, ...]:
    """Return all spellings of the secrets. A command asks for the same ones again and again."""
    # The longest text comes first, because a text may be a part of another text. One regular expression for a hundred
    # texts would take longer to compile than a short run takes to search for all of them.
    return tuple(sorted({text for secret in secrets for text in spellings(secret)}, key=len, reverse=True))


def _key(key: object) -> str | None:
    """Return the key if it is a plain word, otherwise None."""
    return key if isinstance(key, str) and _PLAIN_WORD.fullmatch(key) else None
