"""Splits a SQLite statement into tokens (SQLite, "The tokenizer" and "SQL Language Expressions")."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a token is."""

    WORD = "word"
    """A keyword, or a name without quotes."""
    NAME = "name"
    """A name in quotes: ``"a"``, `` `a` `` or ``[a]``."""
    STRING = "string"
    BLOB = "blob"
    NUMBER = "number"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Token:
    """One token, and where it stands in the text."""

    kind: Kind
    text: str
    """As it stands in the statement."""
    start: int
    end: int

    @property
    def value(self) -> str:
        """A name or string without its quotes; of other tokens the text."""
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
        """Whether SQLite takes it for text where no column has this name (SQLite, "Quirks", 8)."""
        return self.text.startswith('"')

    def is_word(self, *words: str) -> bool:
        """Return whether it is one of these keywords, given in capitals."""
        return self.kind is Kind.WORD and self.text.upper() in words

    def is_operator(self, *operators: str) -> bool:
        """Return whether it is one of these operators."""
        return self.kind is Kind.OPERATOR and self.text in operators


class Unreadable(ValueError):  # noqa: N818 - says what the text is
    """A text isn't the SQL that it should be, or more of it than is understood here."""


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
    """Return the tokens of a text, without blanks and comments; raises Unreadable for what is none."""
    found: list[Token] = []
    at = 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        if match is None or match.lastgroup is None:
            raise Unreadable(f"nothing begins with {sql[at : at + 10]!r}")
        if match.lastgroup != "space":
            found.append(Token(Kind(match.lastgroup), match.group(), at, match.end()))
        at = match.end()
    return found


def text_of(sql: str, some: Iterable[Token]) -> str:
    """Return the text that tokens of ``sql`` cover, blanks and comments between them included."""
    covered = list(some)
    return sql[covered[0].start : covered[-1].end] if covered else ""


def fold(name: str) -> str:
    """Return what two names share that SQLite takes for one: it folds the letters of ASCII, and no others."""
    return name.translate(_FOLDED)


_FOLDED = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
