"""Tells from names and code which column takes its values from a sequence, if PostgreSQL records no dependency."""

import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from migrator.names import POSTGRES_NAME_BYTES, cut, quote_postgres

_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_NAME = re.compile(rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})?")
_LITERAL = r"nextval\s*\(+\s*'((?:[^']|'')+)'"
_CALL = re.compile(_LITERAL, re.IGNORECASE)
_ASSIGNMENT = re.compile(rf"\bnew\.({_IDENTIFIER})\s*:?=[^;]*?\b{_LITERAL}", re.IGNORECASE)
_INTO = re.compile(rf"\b{_LITERAL}[^;]*?\binto\s+(?:strict\s+)?new\.({_IDENTIFIER})", re.IGNORECASE)
_WORD = re.compile(r"[^\W_a-z]+(?![a-z])|[^\W_a-z]?[a-z]+|[^\W_]+")
_SHORTEST_PLURAL = 4
_NOUNS = frozenset({"seq", "sequence"})
"""The words that say of a name that it is a sequence's."""


class NumberColumn(Struct, frozen=True):
    """A column of whole numbers that a sequence may feed."""

    place: int | None
    """The position of its table among the planned tables; None for a table that the job doesn't fill."""
    table: str
    column: str
    sole_key: bool
    """Whether the column is its table's primary key, alone."""

    @property
    def names(self) -> frozenset[str]:
        """The names, in lower case, that a sequence of this column has by convention."""
        names = {_object_name(self.table, self.column), cut(f"{self.table}_{self.column}_seq")}
        if self.sole_key:  # Hibernate and others name the sequence of a table's key after the table
            names |= {_object_name(self.table), cut(f"{self.table}_seq"), cut(f"seq_{self.table}")}
        return frozenset(name.lower() for name in names)

    @property
    def words(self) -> tuple[str, ...]:
        """The words of both names, in the singular."""
        return _words(f"{self.table}_{self.column}")


def called(code: str) -> list[str]:
    """Return the names in the calls of ``nextval`` with a literal, as they are written there."""
    return [name for name in map(_unquoted, _CALL.findall(code)) if _NAME.fullmatch(name)]


def spellings(name: str, schema: str) -> list[str]:
    """Return the identifiers that ``name`` may stand for: itself, and in ``schema``, with and without quotes."""
    if _NAME.fullmatch(name) and "." in re.sub(r'"[^"]*"', "", name):
        return [name]
    exact = f"{quote_postgres(schema)}.{quote_postgres(name)}"
    return [exact, name, f"{quote_postgres(schema)}.{name}"] if _NAME.fullmatch(name) else [exact]


def assigned(code: str) -> Iterator[tuple[str, str]]:
    """Yield column and sequence for each assignment of ``nextval`` to a column of ``NEW`` in a trigger's function."""
    pairs = [*_ASSIGNMENT.findall(code), *((column, name) for name, column in _INTO.findall(code))]
    for column, name in pairs:
        sequence = _unquoted(name)
        if _NAME.fullmatch(sequence):
            yield column[1:-1].replace('""', '"') if column.startswith('"') else column.lower(), sequence


def columns_named(sequence: str, columns: Sequence[NumberColumn]) -> list[NumberColumn]:
    """
    Return the columns to which the name of a sequence points.

    The name is one that PostgreSQL or a usual library gives to the column's sequence. Or its words are those of the
    table and the column, in the same order: ``event_auth_chain_id`` of ``event_auth_chains.chain_id``. Or they are
    those of a table alone, which has one column of such numbers: ``device_inbox_sequence``.
    """
    by_name = [column for column in columns if sequence.lower() in column.names]
    if by_name:
        return by_name
    words = _without_nouns(_words(sequence))
    by_words = [column for column in columns if column.words == words] or _numbers_of_table(words, columns)
    return by_words if len(by_words) == 1 else []


def _numbers_of_table(words: tuple[str, ...], columns: Sequence[NumberColumn]) -> list[NumberColumn]:
    """Return the key of the table that has these ``words``; if its key is no number, its columns of numbers."""
    of_table = [column for column in columns if _words(column.table) == words]
    keys = [column for column in of_table if column.sole_key]
    return keys or [column for column in of_table if _words(column.column)[-1:] == ("id",)]


def likely_column(sequence: str, columns: Iterable[NumberColumn]) -> NumberColumn | None:
    """Return the column whose table and name have all words of the sequence's name and the fewest others, if one."""
    words = set(_without_nouns(_words(sequence)))
    others = [(len(set(column.words) - words), column) for column in columns if words and words <= set(column.words)]
    fewest = min((count for count, _ in others), default=0)
    likely = [column for count, column in others if count == fewest]
    return likely[0] if len(likely) == 1 else None


def _object_name(table: str, column: str = "", label: str = "seq") -> str:
    """
    Return the name that PostgreSQL gives to the sequence of a serial column, before it adds numbers.

    PostgreSQL takes bytes from the longer of both names until the whole fits (``makeObjectName`` in ``indexcmds.c``).
    """
    names = [name.encode() for name in (table, column) if name]
    room = POSTGRES_NAME_BYTES - len(label) - len(names)
    lengths = [len(name) for name in names]
    while sum(lengths) > room:
        longest = 0 if len(lengths) == 1 or lengths[0] > lengths[1] else 1
        lengths[longest] -= 1
    cut_names = [name[:length].decode(errors="ignore") for name, length in zip(names, lengths, strict=True)]
    return "_".join([*cut_names, label])


def _words(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case and in the singular, without immediate repetitions."""
    words = [_singular(word.lower()) for word in _WORD.findall(name)]
    return tuple(word for at, word in enumerate(words) if at == 0 or words[at - 1] != word)


def _singular(word: str) -> str:
    plural = len(word) >= _SHORTEST_PLURAL and word.endswith("s") and not word.endswith("ss")
    return word[:-1] if plural else word


def _without_nouns(words: tuple[str, ...]) -> tuple[str, ...]:
    first, last = (words[:1], words[-1:])
    if last and last[0] in _NOUNS:
        return words[:-1]
    return words[1:] if first and first[0] in _NOUNS else words


def _unquoted(literal: str) -> str:
    return literal.replace("''", "'")
