"""Groups small tables, since a transaction takes longer to begin and end than to move a small table's rows."""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

from migrator.source.size import TableSize

T = TypeVar("T")

R = TypeVar("R")

SMALL_BYTES = 256 * 1024
"""A scan or transaction takes longer to begin and end than to read or send the rows of a table up to this size."""

_GROUP_BYTES = 4 * 1024 * 1024

MAX_GROUP_TABLES = 64
"""The most tables of a group. The locks of a transaction may allow fewer (``lock_room.py``)."""


def is_small(table_size: TableSize) -> bool:
    """Return whether a table of this size is grouped with others."""
    return table_size.weight <= SMALL_BYTES


def is_small_group(sizes: Collection[TableSize]) -> bool:
    """
    Return whether the tables are so small and few that one session reads them all sooner than several begin.

    Of a session that reads the target, the driver takes 45 ms of CPU to ask for all types, in which it reads 50,000
    rows. With many tables it is the statements that take the time, and these are sent by several sessions.
    """
    return len(sizes) <= MAX_GROUP_TABLES and sum(size.weight for size in sizes) <= _GROUP_BYTES


def group_small_tables(
    tables: Iterable[T], size_of: Callable[[T], TableSize | None], most_bytes: int
) -> Iterator[list[T]]:
    """
    Yield the tables in their order: small tables in groups of at most ``most_bytes``, the others each alone.

    ``size_of`` returns the size of a table, or None for a table that has to be alone.
    """
    group: list[T] = []
    weight = 0
    for table in tables:
        size = size_of(table)
        if size is None or not is_small(size):
            yield [table]
            continue
        weight += size.weight
        if group and (weight > min(most_bytes, _GROUP_BYTES) or len(group) == MAX_GROUP_TABLES):
            yield group
            group, weight = [], size.weight
        group.append(table)
    if group:
        yield group


def map_grouped(items: Sequence[T], key: Callable[[T], Hashable], work: Callable[[list[T]], Sequence[R]]) -> list[R]:
    """Call ``work`` once for all items with the same ``key``, and return the results in the order of ``items``."""
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        places[key(item)].append(place)
    results: dict[int, R] = {}
    for group in places.values():
        results |= zip(group, work([items[place] for place in group]), strict=True)
    return [results[place] for place in range(len(items))]
