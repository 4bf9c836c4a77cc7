"""
Removes secrets from output: every spelling of each secret, in every string, at every depth.

Only this module knows how a secret may look after it went through a URL, a repr, JSON or an INI file.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote

MASK: Final = "***"

# What follows is a password whoever it belongs to: in a URL, up to the last "@" of the word; in libpq's connection
# strings (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING), and in a URL's query.
_IN_URL: Final = re.compile(r"(?P<before>\b[a-zA-Z][\w+.-]*://[^\s:/@\"']*:)[^\s\"']+(?=@)")

_IN_PARAMETERS: Final = re.compile(
    r"(?P<before>(?:\b|_|PG|pg|ssl)(?:password|PASSWORD)\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s'\"&;,]+)"
)

_WHOLE_URL: Final = re.compile(r"[a-zA-Z][\w+.-]*://(?:[^\s:/@]*(?::(?P<password>.*))?@)?(?P<rest>[^@]*)", re.DOTALL)

_PASSWORD_PARAMETER: Final = re.compile(r"[?&](?:ssl)?password=([^&]+)")

# Names of fields are ours, and short: a password that is a common word must not tear a report apart.
_PLAIN_WORD: Final = re.compile(r"[a-z_]{1,32}")


def spellings(secret: str) -> Iterator[str]:
    """Yield a secret as it may stand in a URL, a repr, a JSON document or an INI file. Nothing for an empty one."""
    if not secret:
        return
    plain = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    encoded = {quote(secret, safe=""), quote(secret), quote_plus(secret), quote(secret, safe=" +")}
    lower = {re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), text) for text in encoded}
    for text in plain | encoded | lower:
        yield text
        yield text.replace("%", "%%")  # Alembic's configuration file


def password_of(url: str) -> Iterator[str]:
    """Yield the passwords that a URL holds, as it spells them and decoded. Nothing for other text."""
    if (match := _WHOLE_URL.fullmatch(url.strip())) is not None:
        found = (match["password"], *_PASSWORD_PARAMETER.findall(match["rest"]))
        yield from (spelled for part in found if part for spelled in (part, unquote(part)))


def redactor(secrets: Iterable[str]) -> Callable[[Any], Any]:
    """
    Return a function that returns its argument with every secret replaced by ``***``.

    It also replaces passwords in URLs and connection strings, whosever they are. It keeps keys of mappings that are
    plain words. It searches strings, and goes through mappings and sequences. It turns anything else that is no number,
    bool or None into text first, so that an exception or a URL object can't carry a secret past.
    """
    # The longest first: one may be a part of another. A pattern of a hundred such texts takes longer to compile than
    # a short run takes to look for all of them.
    texts = sorted({text for secret in secrets for text in spellings(secret)}, key=len, reverse=True)

    def masked(output: str) -> str:
        for text in texts:
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


def _key(key: object) -> str | None:
    """Return a mapping's key that is a plain word as it is."""
    return key if isinstance(key, str) and _PLAIN_WORD.fullmatch(key) else None
