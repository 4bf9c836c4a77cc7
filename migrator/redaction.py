"""
Keeps secrets out of what is said: every spelling of each, in every string, however deep.

The one place that knows how a secret may look after it went through a URL, a repr, JSON or an INI file.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"


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


def redactor(secrets: Iterable[str]) -> Callable[[Any], Any]:
    """
    Make a function that returns its argument with every secret replaced by ``***``.

    Strings are searched, mappings and sequences are gone through, and anything else that is no number, bool or None is
    turned into its text first, so that an exception or a URL object can't carry a secret past.
    """
    # The longest first: one may be a part of another. A pattern of a hundred such texts takes longer to compile than
    # a short run takes to look for all of them.
    texts = sorted({text for secret in secrets for text in spellings(secret)}, key=len, reverse=True)
    if not texts:
        return lambda value: value

    def masked(said: str) -> str:
        for text in texts:
            said = said.replace(text, MASK)
        return said

    def clean(value: Any) -> Any:  # noqa: ANN401 - a log field may be anything
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return masked(value)
        if isinstance(value, Mapping):
            return {clean(key): clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [clean(item) for item in value]
        return masked(str(value))

    return clean
