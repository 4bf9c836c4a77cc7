"""What is done together: small tables with their like, since beginning and ending takes longer than what is between."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

from migrator.source.size import Profile

T = TypeVar("T")

R = TypeVar("R")

SMALL_BYTES = 256 * 1024
"""A table up to here takes longer to begin and to end than to read or to send."""

_TOGETHER_BYTES = 4 * 1024 * 1024

MAX_GROUP_TABLES = 64
"""Tables in one lot. What there is room for in a transaction may be less (``lock_room.py``)."""


def is_small(profile: Profile) -> bool:
    """Return whether a table is done together with others."""
    return profile.weight <= SMALL_BYTES


def group_small_tables(
    things: Iterable[T], profile: Callable[[T], Profile | None], most_bytes: int
) -> Iterator[list[T]]:
    """
    Yield the things in their order: small ones in lots of at most ``most_bytes``, the others alone.

    ``profile`` gives the size of a thing, or None for one that has to be alone.
    """
    together: list[T] = []
    weight = 0
    for thing in things:
        size = profile(thing)
        if size is None or not is_small(size):
            yield [thing]
            continue
        weight += size.weight
        if together and (weight > min(most_bytes, _TOGETHER_BYTES) or len(together) == MAX_GROUP_TABLES):
            yield together
            together, weight = [], size.weight
        together.append(thing)
    if together:
        yield together


def map_grouped(
    things: Sequence[T], dry_run_key: Callable[[T], Hashable], work: Callable[[list[T]], Sequence[R]]
) -> list[R]:
    """Do ``work`` on all things of one key at once, and return the result of each in the order of ``things``."""
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, thing in enumerate(things):
        places[dry_run_key(thing)].append(place)
    results: dict[int, R] = {}
    for some in places.values():
        results |= zip(some, work([things[place] for place in some]), strict=True)
    return [results[place] for place in range(len(things))]
