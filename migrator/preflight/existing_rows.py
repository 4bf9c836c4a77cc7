"""
Tells whose the rows are that a target table holds although the job has brought it none.

An application seeds its tables when it first starts: a version, a default account. Where the source holds the very same
rows nothing is lost by loading the table anew; any other row is somebody's, and the job refuses.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from migrator.catalog import foreign_keys
from migrator.catalog.row_security import refuse_forced
from migrator.errors import MissingPrivilege, RowsInTheWay
from migrator.ledger.loads import KnownRows
from migrator.names import TableName
from migrator.planning.plan import TablePlan
from migrator.runtime.limits import ExampleOptions
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.source.database import Source
from migrator.source.size import TableSize
from migrator.target.database import Target, row_counts
from migrator.target.lock_room import lock_room
from migrator.verification import differences, digest
from migrator.verification.comparison import Comparison, Databases
from migrator.verification.differences import Difference, Kind

MOST_COMPARED = 1000
"""What an application seeds is less. A table with more rows is in use, and is refused without comparing them."""


@dataclass(frozen=True, slots=True)
class OccupiedTable:
    """A target table with rows that the ledger doesn't know of."""

    table: TableName
    rows: int
    unexpected: int
    """How many of them the source doesn't hold; all, where they can't be compared."""
    examples: tuple[Difference, ...] = ()

    def __str__(self) -> str:
        """Say how many rows there are, and show some that the source doesn't hold."""
        shown = "; ".join(example.line() for example in self.examples)
        return f"{self.table} ({self.rows})" + (f", where {shown}" if shown else "")


@dataclass(frozen=True, slots=True)
class RowComparison:
    """Compares rows that target tables hold already with the source's."""

    source: Source
    target: Target
    batch_bytes: int
    example_options: ExampleOptions

    async def compare(self, table: TablePlan, rows: int, table_size: TableSize) -> OccupiedTable:
        """
        Compare the rows of a target table, of which there are ``rows``, with the source's.

        Reads both sides, the target through a connection of its own. Raises SourceUnreadable.
        """
        if not can_compare(table, rows):
            return OccupiedTable(table.name, rows, unexpected=rows)
        comparison = Comparison(table.source, table.target, table.pairs, table_size, self.batch_bytes)
        return await asyncio.to_thread(_compare, self.source, self.target.address, comparison, self.example_options)

    async def unexpected_rows(
        self, occupied: Mapping[TablePlan, int], table_sizes: Mapping[TableName, TableSize]
    ) -> list[OccupiedTable]:
        """Return what stands in the way in ``occupied`` tables: rows that the source doesn't hold too."""
        compared = [await self.compare(table, rows, table_sizes[table.name]) for table, rows in occupied.items()]
        return [table for table in compared if table.unexpected]


def can_compare(table: TablePlan, rows: int) -> bool:
    """Return whether the rows may turn out to be the source's: they are few, and it has values for all columns."""
    fed = {column.target.name for column in table.columns}
    return rows <= MOST_COMPARED and all(column.generated or column.name in fed for column in table.target.columns)


def refusal(occupied: Sequence[OccupiedTable]) -> RowsInTheWay:
    """Return the error that names all occupied tables."""
    return RowsInTheWay(
        f"the target already holds rows that this job did not put there: {', '.join(map(str, occupied))}",
        next_step="Use an empty database, or remove the rows yourself if they are not needed.",
        tables={str(table.table): table.rows for table in occupied},
    )


def _compare(
    source: Source, address: TargetAddress, comparison: Comparison, example_options: ExampleOptions
) -> OccupiedTable:
    with ReadOnlySession(address) as session:
        held = digest.of_target(session, comparison)
    examples: list[Difference] = []

    def sink(difference: Difference) -> None:
        # What only the source has is what the job is about to bring.
        if difference.kind is not Kind.MISSING and len(examples) < example_options.count:
            examples.append(difference)

    # In these buckets are all rows of the target, and few of a large source's.
    buckets = [bucket for bucket, _, _ in held.buckets] or [0]
    options = replace(example_options, count=0)  # the sink collects the examples
    found = differences.find_differences(Databases(source, address), comparison, buckets, options, sink)
    unexpected = found.rows[Kind.EXTRA] + found.rows[Kind.DIFFERENT]
    return OccupiedTable(comparison.target.name, held.rows, unexpected, tuple(examples))


async def occupied_tables(target: Target, pending: list[TablePlan], allowed: KnownRows) -> dict[TablePlan, int]:
    """
    Return the pending tables that hold rows the ledger doesn't know of, each with their number.

    Raises MissingPrivilege if policies hide rows of them from the role, or keys of others refer to them, and
    TargetRefused if the server has no room for the locks of one of them.
    """
    async with target.connect() as connection:
        names = [table.name for table in pending]
        await refuse_forced(connection, names)
        await foreign_keys.refuse_those_of_others(connection, names)
        (await lock_room(connection, names)).refuse_too_large()
        counts = await row_counts(connection, names)
    return {
        table: rows for table in pending if (rows := counts.get(table.name)) and rows != allowed.seeded.get(table.name)
    }


def refuse_not_owned(pending: Iterable[TablePlan]) -> None:
    """Raise MissingPrivilege if the role doesn't own a table that is to be filled."""
    foreign = sorted(str(table.name) for table in pending if not table.target.owned)
    if foreign:
        raise MissingPrivilege(
            f"the target's role doesn't own {', '.join(foreign)}, so it can't take keys away for the load",
            next_step="Run as the owner, or GRANT the owning role to this one.",
            tables=foreign,
        )


async def check_target(target: Target, pending: list[TablePlan], allowed: KnownRows) -> dict[TablePlan, int]:
    """
    Return the pending tables that hold rows which may be the source's own, each with their number.

    Raises MissingPrivilege or RowsInTheWay if a pending table can't take the source's rows whatever these are.
    """
    refuse_not_owned(pending)
    occupied = await occupied_tables(target, pending, allowed)
    if not all(can_compare(table, rows) for table, rows in occupied.items()):
        raise refusal([OccupiedTable(table.name, rows, unexpected=rows) for table, rows in occupied.items()])
    return occupied
