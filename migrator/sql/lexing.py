"""Splits a SQLite statement into tokens (SQLite, "The tokenizer" and "SQL Language Expressions")."""

import re
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct


class Kind(StrEnum):
    """The kind of a token."""

    WORD = "word"
    """A keyword, or a name without quotes."""
    NAME = "name"
    """A name in quotes: ``"a"``, `` `a` `` or ``[a]``."""
    STRING = "string"
    BLOB = "blob"
    NUMBER = "number"
    OPERATOR = "operator"


class Token(Struct, frozen=True):
    """One token, and its position in the statement's text."""

    kind: Kind
    text: str
    """The token as it stands in the statement."""
    start: int
    end: int

    @property
    def value(self) -> str:
        """The content of a name, string or BLOB without its quotes; for other tokens the text."""
        if self.kind is Kind.STRING:
            return self.text[1:-1].replace("''", "'")
        if self.kind is Kind.BLOB:
            return self.text[2:-1]
        if self.kind is not Kind.NAME:
            return self.text
        if self.text.startswith("["):
            return self.text[1:-1]
        return self.text[1:-1].replace(self.text[0] * 2, self.text[0])

    @property
    def is_double_quoted(self) -> bool:
        """Whether SQLite reads the token as text if no column has this name (SQLite, "Quirks", 8)."""
        return self.text.startswith('"')

    def is_word(self, *words: str) -> bool:
        """Return whether the token is one of the keywords ``words``, which must be in capitals."""
        return self.kind is Kind.WORD and self.text.upper() in words

    def is_operator(self, *operators: str) -> bool:
        """Return whether the token is one of ``operators``."""
        return self.kind is Kind.OPERATOR and self.text in operators


class Unreadable(ValueError):  # noqa: N818 - says what the text is
    """The error for a text that isn't the expected SQL, or has SQL that this package doesn't understand."""


_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<blob>[xX]'[0-9a-fA-F]*')
    |(?P<string>'(?:[^']|'')*')
    |(?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    |(?P<number>0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<operator>->>|->|\|\||<<|>>|<=|>=|==|!=|<>|[-+*/%&|~<>=(),.;])
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(sql: str) -> list[Token]:
    """Return the tokens of a text, without blanks and comments. Raises Unreadable if a part of it is no token."""
    result: list[Token] = []
    at = 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        if match is None or match.lastgroup is None:
            raise Unreadable(f"nothing begins with {sql[at : at + 10]!r}")
        if match.lastgroup != "space":
            result.append(Token(Kind(match.lastgroup), match.group(), at, match.end()))
        at = match.end()
    return result


def text_of(sql: str, some: Iterable[Token]) -> str:
    """Return the part of ``sql`` from the first to the last of the tokens ``some``, with blanks and comments."""
    covered = list(some)
    return sql[covered[0].start : covered[-1].end] if covered else ""


def fold(name: str) -> str:
    """
    Return the name with the letters of ASCII in small letters.

    Two names with the same result are equal to SQLite, which folds only the letters of ASCII.
    """
    return name.translate(_FOLDED)


_FOLDED = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def names_in(sql: str) -> list[str]:
    """Return the words of an expression that may be names of columns."""
    try:
        return [word.value for word in tokens(sql) if word.kind in {"word", "name"}]
    except Unreadable:
        return []
