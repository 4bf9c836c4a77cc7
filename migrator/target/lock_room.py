"""
Computes how many locks the server has room for, and how many tables a transaction may touch so that all locks fit.

All sessions share this room. It is ``max_locks_per_transaction``, multiplied by the sum of ``max_connections`` and
``max_prepared_transactions`` (PostgreSQL, "Lock Management"). A statement that reads or fills a table also locks its
indexes and all of its partitions. A statement that empties a table also locks its out-of-line storage.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import TargetRefused
from migrator.names import TableName

T = TypeVar("T")

AT_ONCE = 50
"""The most tables, sequences or keys in a transaction, or in a part of it, even if there is room for more locks."""

PER_STATEMENT = 8
"""Locks of a statement that creates or drops a table, an index or a foreign key, with all dependent objects."""

_OF_JOB = 2
"""The job uses at most half of the room (the divisor is 2), because other sessions need locks too."""

_STAGES = 3
"""Stages that run at the same time, each with as many sessions as there are jobs. Copy and verify share sessions."""

_SPARE = 1.25


class LockRoom(Struct, frozen=True):
    """The number of locks that the server has room for, and the number of locks that each table needs."""

    locks: int
    sessions: int
    """The sessions that share the room."""
    needed: Mapping[TableName, int]
    """The most locks that a transaction takes for each table."""

    def few(self, names: Sequence[TableName], jobs: int = 1) -> Iterator[Sequence[TableName]]:
        """Yield groups of tables, in order. Each of ``jobs`` sessions may use one group in a transaction."""
        return packed(names, lambda name: self.needed.get(name, 1), self._share(jobs))

    def few_statements(self, things: Sequence[T]) -> Iterator[Sequence[T]]:
        """Yield groups of things, in order. One transaction may run one statement for each thing of a group."""
        return packed(things, lambda _: PER_STATEMENT, self._share(1))

    def fits(self, names: Sequence[TableName]) -> bool:
        """Return whether one transaction may use all of the tables."""
        return len(next(self.few(names), ())) == len(names)

    def jobs(self, requested: int) -> int:
        """Return how many sessions a stage may have, at most ``requested``, if all use the largest tables at once."""
        largest = sorted(self.needed.values(), reverse=True)
        return next((jobs for jobs in range(requested, 1, -1) if sum(largest[: jobs * _STAGES]) <= self.locks), 1)

    def _share(self, jobs: int) -> int:
        return self.locks // _OF_JOB // (jobs * _STAGES)

    def refuse_too_large(self) -> None:
        """Raise TargetRefused if a table alone needs more locks than the server has room for."""
        large = {name: locks for name, locks in self.needed.items() if locks > self.locks}
        if not large:
            return
        listed = ", ".join(f"{name} takes {locks:,}" for name, locks in large.items())
        enough = -(-int(max(large.values()) * _SPARE) // self.sessions)
        raise TargetRefused(
            f"the server has room for {self.locks:,} locks at a time, and a table with its partitions and indexes may "
            f"take more: {listed}",
            next_step=f"Set max_locks_per_transaction to at least {enough} in the server's configuration, restart the "
            "server, and run the job again. After the migration the setting may go back.",
            tables={str(name): locks for name, locks in large.items()},
        )


async def lock_room(connection: AsyncConnection, tables: Sequence[TableName] = ()) -> LockRoom:
    """Return the room for locks, and the locks that ``tables`` need. Reads the catalogs, and locks no table."""
    locks, sessions = (await connection.execute(text(_ROOM))).one()
    bound = {"tables": [table.quoted for table in tables]}
    needed = (await connection.execute(text(_NEEDED), bound)).all() if tables else ()
    return LockRoom(locks, sessions, {tables[row.place - 1]: int(row.locks) for row in needed})


def packed(things: Sequence[T], weight: Callable[[T], int], most: int) -> Iterator[Sequence[T]]:
    """
    Yield groups of ``things``, in order. Each group has at least one thing, and at most ``AT_ONCE``.

    The sum of the weights in a group is at most ``most``, unless the group has only one thing. ``weight`` returns the
    weight of a thing.
    """
    start, total = 0, 0
    for place, thing in enumerate(things):
        total += weight(thing)
        if place > start and (total > most or place - start == AT_ONCE):
            yield things[start:place]
            start, total = place, weight(thing)
    if start < len(things):
        yield things[start:]


_ROOM = """
SELECT current_setting('max_locks_per_transaction')::int * sessions AS locks, sessions
FROM (SELECT current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int AS sessions) s
"""

_NEEDED = """
WITH RECURSIVE tree AS (
    SELECT place, to_regclass(name)::oid AS oid
    FROM unnest(CAST(:tables AS text[])) WITH ORDINALITY AS given(name, place)
    UNION
    SELECT tree.place, i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
)
SELECT place, sum(1 + (SELECT count(*) FROM pg_index WHERE indrelid = c.oid)
                  + CASE WHEN c.reltoastrelid <> 0 THEN 2 ELSE 0 END) AS locks
FROM tree JOIN pg_class c ON c.oid = tree.oid
GROUP BY place
"""
