"""
Finds JSON documents in which an object has a key twice: ``jsonb`` keeps the last of them, and the others are lost.

Other parsers make a Python object of every value, or take as long as PostgreSQL itself. But the documents of a column
look alike. So Python reads a few of them and makes a regular expression, which a valid document matches only if each of
its objects has each key at most once. Arrow tries it on all documents of a batch; those that don't match are read one
by one.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from migrator.types.problem import Problem, ProblemCode

DUPLICATE_KEY: Final = Problem(
    ProblemCode.DUPLICATE_JSON_KEY, "has a key twice in one object, and jsonb keeps the last alone"
)

NESTED_TOO_DEEPLY: Final = Problem(
    ProblemCode.JSON_TOO_DEEP, "is nested too deeply to be searched for keys that are there twice"
)

SAMPLE = 100
"""The number of documents from which a pattern is learnt."""

_MOST_PATTERNS = 8

_MOST_KEYS = 100
"""The most keys of one pattern. RE2's automaton grows with their square, and RE2 falls back to a slow way at 8 MB."""

_DEEPEST = 30

_HOPELESS = 0.9
"""If a larger part doesn't match, the documents have no form in common, and no more patterns are learnt."""

_STRING = r'"(?:[^"\\]|\\.)*"'

_SCALAR = r"[-+.0-9A-Za-z]+"


class _Object(tuple[tuple[str, Any], ...]):
    """An object as it is written: every key with its value, duplicates included."""

    __slots__ = ()


read = json.JSONDecoder(object_pairs_hook=_Object, parse_int=str, parse_float=str).decode


class DuplicateKeyFinder:
    """Searches the documents of one column, batch by batch, with the patterns learnt from earlier batches."""

    def __init__(self) -> None:
        self._patterns: list[str] = []
        self._learns = True

    def rows(self, documents: pa.Array) -> list[tuple[int, Problem]]:
        """Return the places of ``documents``, all valid JSON, that would lose a key, each with the reason."""
        unknown = _Unchecked(documents, pc.indices_nonzero(pc.is_valid(documents)))
        for pattern in self._patterns:
            unknown = unknown.without(pattern)
        found: list[tuple[int, Problem]] = []
        while self._learns and len(unknown.places) > SAMPLE:
            sample, unknown = unknown.split()
            found += sample.read()
            unknown = self._learn(sample, unknown)
        return sorted(found + list(unknown.read()))

    def _learn(self, sample: "_Unchecked", unknown: "_Unchecked") -> "_Unchecked":
        """Make a pattern of the sample and return the documents it doesn't match; stop learning if it matches few."""
        pattern = _pattern(sample)
        remaining = unknown if pattern is None else unknown.without(pattern)
        if pattern is None or len(remaining.places) > _HOPELESS * len(unknown.places):
            self._learns = False
            return remaining
        self._patterns.append(pattern)
        self._learns = len(self._patterns) < _MOST_PATTERNS
        return remaining


@dataclass(frozen=True, slots=True)
class _Unchecked:
    """The documents of a batch, by their places, that are not checked yet."""

    documents: pa.Array
    places: pa.Array

    def without(self, pattern: str) -> Self:
        """Return those that don't match."""
        matching = pc.match_substring_regex(self._taken(), pattern)
        return type(self)(self.documents, self.places.filter(pc.invert(matching)))

    def _taken(self) -> pa.Array:
        all_of_them = len(self.places) == len(self.documents)
        return self.documents if all_of_them else self.documents.take(self.places)

    def split(self) -> tuple[Self, Self]:
        """Return a sample from all over, and the others."""
        step = len(self.places) // SAMPLE
        place = pa.array(range(len(self.places)))
        chosen = pc.equal(pc.subtract(place, pc.multiply(pc.divide(place, step), step)), 0)
        return (
            type(self)(self.documents, self.places.filter(chosen)),
            type(self)(self.documents, self.places.filter(pc.invert(chosen))),
        )

    def texts(self) -> Iterator[tuple[int, str]]:
        """Yield each place with its document; invalid UTF-8, which is refused elsewhere, is replaced."""
        taken = self._taken().cast(pa.binary())
        for place, document in zip(self.places.to_pylist(), taken, strict=True):
            yield place, document.as_py().decode(errors="replace")

    def read(self) -> Iterator[tuple[int, Problem]]:
        """Yield the places of documents that lose a key, each with the reason."""
        for place, document in self.texts():
            try:
                if _has_duplicate_key(read(document)):
                    yield place, DUPLICATE_KEY
            except RecursionError:
                yield place, NESTED_TOO_DEEPLY
            except ValueError:  # no valid JSON, which is refused elsewhere
                continue


def _has_duplicate_key(value: object) -> bool:
    if isinstance(value, _Object):
        return len({key for key, _ in value}) < len(value) or any(_has_duplicate_key(member) for _, member in value)
    return isinstance(value, list) and any(_has_duplicate_key(member) for member in value)


@dataclass(slots=True)
class _Node:
    """What was found at one place of the documents: an object with these keys in this order, a list, or neither."""

    members: "dict[str, _Node]" = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    items: "_Node | None" = None

    def learn(self, value: object, depth: int = 0) -> None:
        """Add one more value. Values nested deeper than a limit are ignored, so their documents don't match."""
        if depth > _DEEPEST:
            return
        if isinstance(value, _Object):
            at = 0
            for key, member in value:
                if key not in self.members:
                    self.members[key] = _Node()
                    self.order.insert(at, key)
                at = self.order.index(key) + 1
                self.members[key].learn(member, depth + 1)
        elif isinstance(value, list):
            self.items = self.items or _Node()
            for member in value:
                self.items.learn(member, depth + 1)

    def count(self) -> int:
        """Return the number of keys in the pattern."""
        below = sum(node.count() for node in self.members.values())
        return len(self.members) + below + (self.items.count() if self.items else 0)

    def pattern(self) -> str:
        """
        Return the regular expression of a value.

        It may be loose about commas and numbers, since the documents are valid JSON. It is exact about tokens: strings
        and brackets end where they do in JSON, so that an object is matched by the keys of one object.
        """
        members = (
            rf'(?:\s*"{re.escape(key)}"\s*:\s*{self.members[key].pattern()}\s*,?)?'
            for key in self.order
            if key.isprintable() and not {'"', "\\"} & set(key)
        )
        ways = [_STRING, _SCALAR, rf"\{{{''.join(members)}\s*\}}"]
        if self.items:
            ways.append(rf"\[(?:\s*{self.items.pattern()}\s*,?)*\s*\]")
        return f"(?:{'|'.join(ways)})"


def _pattern(sample: _Unchecked) -> str | None:
    """Return a pattern that documents like the sample's match; None if it would be too large."""
    node = _Node()
    for document in sorted((text for _, text in sample.texts()), key=len, reverse=True):  # the fullest has the order
        try:
            node.learn(read(document))
        except (ValueError, RecursionError):
            continue
    return None if node.count() > _MOST_KEYS else rf"(?s)^\s*{node.pattern()}\s*$"
