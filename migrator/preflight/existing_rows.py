"""
Compares existing rows of target tables, which this job did not write, with the source's rows.

An application writes some rows when it first starts: a version, a default account. If the source holds exactly the same
rows, nothing is lost when the job loads the table again. If a table has any other existing row, the job refuses, since
somebody may need that row.
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
"""The largest number of existing rows that are compared. An application seeds fewer; a table with more rows is in use,
and the job refuses it without a comparison."""


@dataclass(frozen=True, slots=True)
class OccupiedTable:
    """A target table with existing rows, which the ledger doesn't know."""

    table: TableName
    rows: int
    unexpected: int
    """The number of existing rows that the source doesn't hold; all of them if they can't be compared."""
    examples: tuple[Difference, ...] = ()

    def __str__(self) -> str:
        """Return the table's name with the number of its rows, and some rows that the source doesn't hold."""
        shown = "; ".join(example.line() for example in self.examples)
        return f"{self.table} ({self.rows})" + (f", where {shown}" if shown else "")


@dataclass(frozen=True, slots=True)
class RowComparison:
    """Compares the existing rows of target tables with the source's rows."""

    source: Source
    target: Target
    batch_bytes: int
    example_options: ExampleOptions

    async def compare(self, table: TablePlan, rows: int, table_size: TableSize) -> OccupiedTable:
        """
        Compare the existing rows of a target table with the source's rows.

        ``rows`` is the number of existing rows, and ``table_size`` the size of the source table. Reads both databases,
        with a separate connection to the target. Raises SourceUnreadable.
        """
        if not can_compare(table, rows):
            return OccupiedTable(table.name, rows, unexpected=rows)
        comparison = Comparison(table.source, table.target, table.pairs, table_size, self.batch_bytes)
        return await asyncio.to_thread(_compare, self.source, self.target.address, comparison, self.example_options)

    async def unexpected_rows(
        self, occupied: Mapping[TablePlan, int], table_sizes: Mapping[TableName, TableSize]
    ) -> list[OccupiedTable]:
        """
        Return the ``occupied`` tables that hold rows which the source doesn't hold.

        ``occupied`` gives the number of existing rows of each table. Raises SourceUnreadable.
        """
        compared = [await self.compare(table, rows, table_sizes[table.name]) for table, rows in occupied.items()]
        return [table for table in compared if table.unexpected]


def can_compare(table: TablePlan, rows: int) -> bool:
    """Return whether the rows can be compared: they are few, and the source has values for all columns."""
    filled = {column.target.name for column in table.columns}
    return rows <= MOST_COMPARED and all(column.generated or column.name in filled for column in table.target.columns)


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
        target_digest = digest.of_target(session, comparison)
    examples: list[Difference] = []

    def sink(difference: Difference) -> None:
        # A row that only the source has is no obstacle: the job is about to copy it.
        if difference.kind is not Kind.MISSING and len(examples) < example_options.count:
            examples.append(difference)

    # These buckets contain all rows of the target, and only few rows of a large source table.
    buckets = [bucket for bucket, _, _ in target_digest.buckets] or [0]
    options = replace(example_options, count=0)  # the sink collects the examples
    result = differences.find_differences(Databases(source, address), comparison, buckets, options, sink)
    unexpected = result.rows[Kind.EXTRA] + result.rows[Kind.DIFFERENT]
    return OccupiedTable(comparison.target.name, target_digest.rows, unexpected, tuple(examples))


async def occupied_tables(target: Target, pending: list[TablePlan], allowed: KnownRows) -> dict[TablePlan, int]:
    """
    Return the ``pending`` tables that have existing rows, each with the number of its rows.

    ``allowed`` holds the rows that the ledger knows. Raises MissingPrivilege if policies hide rows of a pending table
    from the role, or if foreign keys of other owners' tables refer to it. Raises TargetRefused if the server has no
    room for the locks of a pending table.
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
    """Raise MissingPrivilege if the role doesn't own all ``pending`` tables."""
    not_owned = sorted(str(table.name) for table in pending if not table.target.owned)
    if not_owned:
        raise MissingPrivilege(
            f"the target's role doesn't own {', '.join(not_owned)}, so it can't take keys away for the load",
            next_step="Run as the owner, or GRANT the owning role to this one.",
            tables=not_owned,
        )


async def check_target(target: Target, pending: list[TablePlan], allowed: KnownRows) -> dict[TablePlan, int]:
    """
    Return the ``pending`` tables whose existing rows have to be compared with the source, each with their number.

    ``allowed`` holds the rows that the ledger knows. Raises MissingPrivilege, TargetRefused or RowsInTheWay if a
    pending table can't take the source's rows, whatever these rows are.
    """
    refuse_not_owned(pending)
    occupied = await occupied_tables(target, pending, allowed)
    if not all(can_compare(table, rows) for table, rows in occupied.items()):
        raise refusal([OccupiedTable(table.name, rows, unexpected=rows) for table, rows in occupied.items()])
    return occupied
