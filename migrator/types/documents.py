"""
Searches JSON documents for what ``jsonb`` would refuse or lose, such as an object that has a key twice.

Other parsers make a Python object of every value, or take as long as PostgreSQL itself. But the documents of a column
look alike. So Python reads a few documents and makes a regular expression from them. A text matches this pattern only
if it is a JSON document (RFC 8259) that ``jsonb`` keeps whole: each object has each key at most once, no escape spells
a NUL or half a surrogate pair, and no exponent has more than four digits. Arrow tries the pattern on all documents of a
record batch. Python reads the documents that don't match, each by itself.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct, field

from migrator.types.problem import Problem, ProblemCode

DUPLICATE_KEY: Final = Problem(
    ProblemCode.DUPLICATE_JSON_KEY, "has a key twice in one object, and jsonb keeps the last alone"
)

NESTED_TOO_DEEPLY: Final = Problem(
    ProblemCode.JSON_TOO_DEEP, "is nested too deeply to be searched for keys that are there twice"
)

SAMPLE = 100
"""The number of documents from which a pattern is made."""

_MOST_PATTERNS = 8

_MOST_KEYS = 100
"""The most keys of one pattern. RE2's automaton grows with their square, and RE2 uses a slow method above 8 MB."""

_FEW_KEYS = 12

_LONGEST_PATTERN = 60_000

_NOT_ASCII = 0x80

_DEEPEST = 30

_HOPELESS = 0.9
"""If a larger part of the documents doesn't match, they have no form in common, and no more patterns are made."""

_BLANK = r"[ \t\n\r]*"

_PLAIN_STRING = r'"[^"\\\x00-\x1f]*"'

_HEX = "[0-9a-fA-F]"

# Neither a NUL nor one of the other characters below 16, nor half a surrogate pair.
_ESCAPE = (
    rf'\\(?:["\\/bfnrt]|u(?:00[1-9a-fA-F]{_HEX}|0[1-9a-fA-F]{_HEX}{_HEX}|[1-9a-cA-CeEfF]{_HEX}{_HEX}{_HEX}'
    rf"|[dD][0-7]{_HEX}{_HEX}|[dD][89abAB]{_HEX}{_HEX}\\u[dD][c-fC-F]{_HEX}{_HEX}))"
)

_STRING = rf'"(?:[^"\\\x00-\x1f]|{_ESCAPE})*"'

_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,4})?"

_WORD = "true|false|null"


class _Object(tuple[tuple[str, Any], ...]):
    """An object as it is written: every key with its value, also keys that are there twice."""

    __slots__ = ()


def _no_json(word: str) -> None:
    raise ValueError(word)


read = json.JSONDecoder(object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=_no_json).decode
"""Returns the value of a text, with every member of objects; raises ValueError for a text that isn't JSON."""


def duplicate_key(document: str) -> Problem | None:
    """Return the problem of a document that would lose a key; None for a text that isn't JSON, too."""
    try:
        return DUPLICATE_KEY if has_duplicate_key(read(document)) else None
    except RecursionError:
        return NESTED_TOO_DEEPLY
    except ValueError:  # not valid JSON, which another check refuses
        return None


class DocumentSearch:
    """Searches the documents of one column, batch by batch, with the patterns made from earlier batches."""

    def __init__(self, judge: Callable[[str], Problem | None] = duplicate_key) -> None:
        """``judge`` returns the problem of a document that matches no pattern, or None; bare numbers match none."""
        self._judge = judge
        self._patterns: list[str] = []
        self._learns = True

    def rows(self, documents: pa.Array) -> list[tuple[int, Problem]]:
        """Return the places of ``documents``, which are UTF-8, that have a problem, each with its problem."""
        # In bytes, since RE2 is faster at them than at characters.
        unchecked = _Unchecked(documents.cast(pa.binary()), pc.indices_nonzero(pc.is_valid(documents)))
        for pattern in self._patterns:
            unchecked = unchecked.without(pattern)
        losses: list[tuple[int, Problem]] = []
        while self._learns and len(unchecked.places) > SAMPLE:
            sample, unchecked = unchecked.split()
            losses += sample.judged(self._judge)
            unchecked = self._learn(sample, unchecked)
        return sorted((*losses, *unchecked.judged(self._judge)), key=lambda loss: loss[0])

    def _learn(self, sample: "_Unchecked", unchecked: "_Unchecked") -> "_Unchecked":
        """Make a pattern from the sample and return the documents that don't match it; stop if most don't match."""
        pattern = _pattern(sample)
        remaining = unchecked if pattern is None else unchecked.without(pattern)
        if pattern is None or len(remaining.places) > _HOPELESS * len(unchecked.places):
            self._learns = False
            return remaining
        self._patterns.append(pattern)
        self._learns = len(self._patterns) < _MOST_PATTERNS
        return remaining


class _Unchecked(Struct, frozen=True):
    """The documents of a batch that are not checked yet, by their places."""

    documents: pa.Array
    places: pa.Array

    def without(self, pattern: str) -> Self:
        """Return the documents that don't match the pattern."""
        matching = pc.match_substring_regex(self._taken(), pattern)
        return type(self)(self.documents, self.places.filter(pc.invert(matching)))

    def _taken(self) -> pa.Array:
        takes_all = len(self.places) == len(self.documents)
        return self.documents if takes_all else self.documents.take(self.places)

    def split(self) -> tuple[Self, Self]:
        """Return a sample from the whole batch, and the other documents."""
        step = len(self.places) // SAMPLE
        place = pa.array(range(len(self.places)))
        chosen = pc.equal(pc.subtract(place, pc.multiply(pc.divide(place, step), step)), 0)
        return (
            type(self)(self.documents, self.places.filter(chosen)),
            type(self)(self.documents, self.places.filter(pc.invert(chosen))),
        )

    def texts(self) -> Iterator[tuple[int, str]]:
        """Yield each place with its document. Invalid UTF-8 is replaced here, since another check refuses it."""
        for place, document in zip(self.places.to_pylist(), self._taken(), strict=True):
            yield place, document.as_py().decode(errors="replace")

    def judged(self, judge: Callable[[str], Problem | None]) -> Iterator[tuple[int, Problem]]:
        """Yield the places of documents that have a problem, each with its problem."""
        for place, document in self.texts():
            if problem := judge(document):
                yield place, problem


def has_duplicate_key(value: object) -> bool:
    """Return whether an object in a value that ``read`` has returned has a key twice."""
    if isinstance(value, _Object):
        return len({key for key, _ in value}) < len(value) or any(has_duplicate_key(member) for _, member in value)
    return isinstance(value, list) and any(has_duplicate_key(member) for member in value)


class _Node(Struct):
    """Holds what the documents have at one place: an object with these keys in this order, a list, or neither."""

    members: "dict[str, _Node]" = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    items: "_Node | None" = None
    times: int = 0
    """How often there was a value at this place."""
    objects: int = 0
    """How many of these values were objects."""

    def learn(self, value: object, depth: int = 0) -> None:
        """Add a value. Values that are nested deeper than a limit are ignored, so their documents don't match."""
        if depth > _DEEPEST:
            return
        self.times += 1
        if isinstance(value, _Object):
            self.objects += 1
            position = 0
            for key, member in value:
                if key not in self.members:
                    self.members[key] = _Node()
                    self.order.insert(position, key)
                position = self.order.index(key) + 1
                self.members[key].learn(member, depth + 1)
        elif isinstance(value, list):
            self.items = self.items or _Node()
            for member in value:
                self.items.learn(member, depth + 1)

    def count(self) -> int:
        """Return the number of keys in the pattern."""
        below = sum(node.count() for node in self.members.values())
        return len(self.members) + below + (2 * self.items.count() if self.items else 0)

    def pattern(self, string: str, number: str = _NUMBER) -> str:
        """Return the regular expression of a value; ``string`` and ``number`` are those of strings and numbers."""
        alternatives = [string, _WORD, rf"\{{{_BLANK}{self._members(string)}\}}", *([number] if number else [])]
        if self.items:
            item = rf"{self.items.pattern(string)}{_BLANK}"
            alternatives.append(rf"\[{_BLANK}(?:{item}(?:,{_BLANK}{item})*)?\]")
        return f"(?:{'|'.join(alternatives)})"

    def _members(self, string: str) -> str:
        """
        Return the regular expression of an object's members, in their order and each of them once at most.

        The most frequent member has to be there, so that it is known where commas stand. Where none is in all objects
        there is an alternative for each of a few that may be the first.
        """
        keys = [key for key in self.order if key.isprintable() and not {'"', "\\"} & set(key)]
        members = [rf'"{_in_bytes(key)}"{_BLANK}:{_BLANK}{self.members[key].pattern(string)}{_BLANK}' for key in keys]
        if not members:
            return ""
        times = [self.members[key].times for key in keys]
        is_small = len(keys) <= _FEW_KEYS and not any(self.members[key].count() for key in keys)
        if is_small and max(times) < self.objects:
            return f"(?:{'|'.join(_in_order([], members[place:]) for place in range(len(members)))})?"
        usual = times.index(max(times))
        return f"(?:{_in_order(members[:usual], members[usual:])})?"


def _in_order(before: list[str], members: list[str]) -> str:
    """Return the regular expression of the first of ``members``, with any others before and behind it."""
    [first, *behind] = members
    return "".join(
        [
            *(f"(?:{member},{_BLANK})?" for member in before),
            first,
            *(f"(?:,{_BLANK}{member})?" for member in behind),
        ]
    )


def _in_bytes(key: str) -> str:
    """Return the regular expression of a key's bytes."""
    return "".join(rf"\x{byte:02x}" if byte >= _NOT_ASCII else re.escape(chr(byte)) for byte in key.encode())


def _pattern(sample: _Unchecked) -> str | None:
    """Return a pattern that matches documents like those of the sample; None if it would be too large."""
    node = _Node()
    # The longest document comes first: it shows the order of most keys.
    documents = sorted((text for _, text in sample.texts()), key=len, reverse=True)
    for document in documents:
        try:
            node.learn(read(document))
        except (ValueError, RecursionError):
            continue
    if node.count() > _MOST_KEYS:
        return None
    string = _STRING if any("\\" in document for document in documents) else _PLAIN_STRING
    pattern = rf"(?s)^{_BLANK}{node.pattern(string, '')}{_BLANK}$"
    return pattern if len(pattern) <= _LONGEST_PATTERN else None
