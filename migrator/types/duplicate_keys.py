"""
Finds JSON documents in which an object has a key twice: ``jsonb`` keeps only the key's last value and loses the others.

Other parsers make a Python object of every value, or take as long as PostgreSQL itself. But the documents of a column
look alike. So Python reads a few documents and makes a regular expression from them. A valid document matches this
pattern only if each of its objects has each key at most once. Arrow tries the pattern on all documents of a record
batch. Python reads the documents that don't match, each by itself.
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
"""The number of documents from which a pattern is made."""

_MOST_PATTERNS = 8

_MOST_KEYS = 100
"""The most keys of one pattern. RE2's automaton grows with their square, and RE2 uses a slow method above 8 MB."""

_DEEPEST = 30

_HOPELESS = 0.9
"""If a larger part of the documents doesn't match, they have no form in common, and no more patterns are made."""

_STRING = r'"(?:[^"\\]|\\.)*"'

_SCALAR = r"[-+.0-9A-Za-z]+"


class _Object(tuple[tuple[str, Any], ...]):
    """An object as it is written: every key with its value, also keys that are there twice."""

    __slots__ = ()


read = json.JSONDecoder(object_pairs_hook=_Object, parse_int=str, parse_float=str).decode


class DuplicateKeyFinder:
    """Searches the documents of one column, batch by batch, with the patterns made from earlier batches."""

    def __init__(self) -> None:
        self._patterns: list[str] = []
        self._learns = True

    def rows(self, documents: pa.Array) -> list[tuple[int, Problem]]:
        """Return the places of ``documents``, which are valid JSON, that would lose a key, each with its problem."""
        unchecked = _Unchecked(documents, pc.indices_nonzero(pc.is_valid(documents)))
        for pattern in self._patterns:
            unchecked = unchecked.without(pattern)
        losses: list[tuple[int, Problem]] = []
        while self._learns and len(unchecked.places) > SAMPLE:
            sample, unchecked = unchecked.split()
            losses += sample.read()
            unchecked = self._learn(sample, unchecked)
        return sorted(losses + list(unchecked.read()))

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


@dataclass(frozen=True, slots=True)
class _Unchecked:
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
        taken = self._taken().cast(pa.binary())
        for place, document in zip(self.places.to_pylist(), taken, strict=True):
            yield place, document.as_py().decode(errors="replace")

    def read(self) -> Iterator[tuple[int, Problem]]:
        """Yield the places of documents that would lose a key, each with its problem."""
        for place, document in self.texts():
            try:
                if _has_duplicate_key(read(document)):
                    yield place, DUPLICATE_KEY
            except RecursionError:
                yield place, NESTED_TOO_DEEPLY
            except ValueError:  # not valid JSON, which another check refuses
                continue


def _has_duplicate_key(value: object) -> bool:
    if isinstance(value, _Object):
        return len({key for key, _ in value}) < len(value) or any(_has_duplicate_key(member) for _, member in value)
    return isinstance(value, list) and any(_has_duplicate_key(member) for member in value)


@dataclass(slots=True)
class _Node:
    """Holds what the documents have at one place: an object with these keys in this order, a list, or neither."""

    members: "dict[str, _Node]" = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    items: "_Node | None" = None

    def learn(self, value: object, depth: int = 0) -> None:
        """Add a value. Values that are nested deeper than a limit are ignored, so their documents don't match."""
        if depth > _DEEPEST:
            return
        if isinstance(value, _Object):
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
        return len(self.members) + below + (self.items.count() if self.items else 0)

    def pattern(self) -> str:
        """
        Return the regular expression of a value.

        The expression may be inexact about commas and numbers, since the documents are valid JSON. It is exact about
        tokens: strings and brackets end where they end in JSON, so that keys of two objects never match as one object.
        """
        members = (
            rf'(?:\s*"{re.escape(key)}"\s*:\s*{self.members[key].pattern()}\s*,?)?'
            for key in self.order
            if key.isprintable() and not {'"', "\\"} & set(key)
        )
        alternatives = [_STRING, _SCALAR, rf"\{{{''.join(members)}\s*\}}"]
        if self.items:
            alternatives.append(rf"\[(?:\s*{self.items.pattern()}\s*,?)*\s*\]")
        return f"(?:{'|'.join(alternatives)})"


def _pattern(sample: _Unchecked) -> str | None:
    """Return a pattern that matches documents like those of the sample; None if it would be too large."""
    node = _Node()
    # The longest document comes first: it shows the order of most keys.
    for document in sorted((text for _, text in sample.texts()), key=len, reverse=True):
        try:
            node.learn(read(document))
        except (ValueError, RecursionError):
            continue
    return None if node.count() > _MOST_KEYS else rf"(?s)^\s*{node.pattern()}\s*$"
