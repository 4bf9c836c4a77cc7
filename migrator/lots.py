"""What is done together: small tables with their like, since beginning and ending takes longer than what is between."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from migrator.findings import Profile

T = TypeVar("T")

SMALL_BYTES = 256 * 1024
"""A table up to here takes longer to begin and to end than to read or to send."""
_TOGETHER_BYTES = 4 * 1024 * 1024
TOGETHER = 64
"""Tables in one lot. In a transaction each is locked until its end (PostgreSQL: ``max_locks_per_transaction``)."""


def is_small(profile: Profile) -> bool:
    """Return whether a table is done together with others."""
    return profile.weight <= SMALL_BYTES


def lots(things: Iterable[T], profile: Callable[[T], Profile | None], most_bytes: int) -> Iterator[list[T]]:
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
        if together and (weight > min(most_bytes, _TOGETHER_BYTES) or len(together) == TOGETHER):
            yield together
            together, weight = [], size.weight
        together.append(thing)
    if together:
        yield together
