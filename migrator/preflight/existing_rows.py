"""
Compares existing rows of target tables, which this job did not write, with the source's rows.

An application writes some rows when it first starts: a version, a default account. If the source holds exactly the same
rows, nothing is lost when the job loads the table again. If a table has any other existing row, somebody may need that
row: then the job refuses, unless the operator has decided otherwise (``on_existing_rows``).
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace

from migrator.catalog import foreign_keys
from migrator.catalog.row_security import refuse_forced
from migrator.concurrency.blocking import BlockingConnection
from migrator.errors import MissingPrivilege
from migrator.ledger.loads import KnownRows
from migrator.names import TableName
from migrator.planning.plan import TablePlan
from migrator.planning.rules import OnExistingRows
from migrator.preflight.unfilled_columns import NEVER, unfilled_columns
from migrator.runtime.limits import ExampleOptions
from migrator.runtime.reason import Reason
from migrator.runtime.retry import is_transient
from migrator.runtime.wording import listed
from migrator.source.database import Source
from migrator.source.size import TableSize
from migrator.target.database import Target, row_counts
from migrator.target.lock_room import lock_room
from migrator.trials.clashes import Clash, clashes_of
from migrator.verification.comparison import Comparison, Databases
from migrator.verification.differences import Difference
from migrator.verification.presence import Presence, presence_of

log = structlog.get_logger()


class OccupiedTable(Struct, frozen=True):
    """A target table with existing rows that the ledger doesn't know, and what the source holds of these rows."""

    table: TableName
    source: str
    """The source's table, whose name the rules use."""
    equal: int
    different: int
    """Rows whose key the source holds with other values."""
    extra: int
    """Rows that only the target holds."""
    richer: int = 0
    """Rows that are equal in the columns that both sides have, and hold something in a column of the target's own."""
    unfilled: tuple[str, ...] = ()
    """Columns of the target's own, without a value from the source, that hold something other than their default."""
    examples: tuple[Difference, ...] = ()
    decision: OnExistingRows = "refuse"
    has_key: bool = True
    """Whether the target's table has a key that tells its rows apart, so that rows can stay beside the source's."""
    uncompared: int = 0
    """All existing rows, if values of the source, which are refused, keep these rows from being compared."""
    clashes: tuple[Clash, ...] = ()
    """Unique indexes by which rows can't stay beside the source's (``keep``)."""
    begun: bool = False
    """Whether an earlier run has begun to fill the table: then the source's own rows are among the existing rows."""

    @property
    def rows(self) -> int:
        """The number of existing rows."""
        return self.equal + self.unexpected

    @property
    def unexpected(self) -> int:
        """The number of existing rows that the source doesn't hold as they are."""
        return self.different + self.extra + self.richer + self.uncompared

    @property
    def is_refused(self) -> bool:
        """Whether the job must not take these rows away."""
        return self.decision == "refuse" or self.begun or self.cannot_merge or bool(self.clashes)

    @property
    def cannot_merge(self) -> bool:
        """Whether the rows should stay beside the source's, and nothing tells which of these take their place."""
        return self.decision == "keep" and not self.has_key

    @property
    def fate(self) -> str:
        """What would happen to the rows, for the report of ``check``."""
        if self.is_refused:
            return "in the way"
        if self.decision == "keep":
            return "would stay where the source doesn't have their key, else give way and be kept"
        return "would give way to the source's rows, and be kept"

    def reason(self, decision: str) -> Reason:
        """Return the table as a row of the table of a refusal, with the ``decision`` that settles it."""
        why = f"the target holds rows: {self._counted()}{self._clashes()}"
        remedy = f'on_existing_rows = "{decision}"' if decision else ""
        return Reason(str(self.table), why, self.rows, example=self._example(), remedy=remedy, is_logged=True)

    def __str__(self) -> str:
        """Return the table's name with the numbers of its rows, and some rows that the source doesn't hold."""
        shown = self._example()
        noun = "row" if self.rows == 1 else "rows"
        return (
            f"{self.table} ({self.rows} {noun}: {self._counted()})"
            + (f", where {shown}" if shown else "")
            + self._clashes()
        )

    def _clashes(self) -> str:
        return "".join(f"; {clash}" for clash in self.clashes)

    def _example(self) -> str:
        return self.examples[0].line() if self.examples else ""  # `check` has all of them in its report

    def _counted(self) -> str:
        counts = {
            "equal to the source's": self.equal,
            f"equal but for {', '.join(self.unfilled)}, for which the source has no values": self.richer,
            "different": self.different,
            "only there": self.extra,
            "not compared, since values of the source's rows are refused": self.uncompared,
        }
        return ", ".join(f"{count} {words}" for words, count in counts.items() if count)

    def to_json(self) -> dict[str, Any]:
        """Return the finding for programs, with all examples."""
        examples = [example.to_json() for example in self.examples]
        clashes = {"clashes": [clash.to_json() for clash in self.clashes]} if self.clashes else {}
        return {**self.counts(), "examples": examples, **clashes}

    def counts(self) -> dict[str, Any]:
        """Return the numbers of the finding for the log."""
        return {
            "table": str(self.table),
            "rows": self.rows,
            "equal": self.equal,
            "different": self.different,
            "only_there": self.extra,
            "richer": self.richer,
            "not_compared": self.uncompared,
            "columns_of_its_own": list(self.unfilled),
            "on_existing_rows": self.decision,
        }


class RowComparison(Struct, frozen=True):
    """Compares the existing rows of target tables with the source's rows."""

    source: Source
    target: Target
    batch_bytes: int
    example_options: ExampleOptions

    async def compare(self, table: TablePlan, rows: int, table_size: TableSize) -> OccupiedTable:
        """
        Compare the existing rows of a target table with the source's rows, in the columns that both have.

        ``rows`` is the number of existing rows, and ``table_size`` the size of the source table. Reads both databases,
        with separate connections to the target. Raises SourceUnreadable.
        """
        async with self.target.transaction() as connection:
            unfilled = await unfilled_columns(connection, table)
        size = replace(table_size, rows=max(rows, table_size.rows))  # as many buckets as the larger side needs
        comparison = Comparison(table.source, table.target, table.pairs, size, self.batch_bytes)
        found = await self._presence(comparison)
        equal = found.equal
        if NEVER in unfilled.values():
            equal = 0
        elif unfilled and equal:
            equal = (await self._presence(replace(comparison, target_condition=" AND ".join(unfilled.values())))).equal
        return OccupiedTable(
            table.name,
            table.source.name,
            equal,
            found.different,
            found.extra,
            found.equal - equal,
            tuple(unfilled),
            found.examples,
            table.on_existing_rows,
            has_key=bool(table.target.key),
        )

    @staticmethod
    def _not_compared(table: TablePlan, rows: int) -> OccupiedTable:
        return OccupiedTable(
            table.name,
            table.source.name,
            equal=0,
            different=0,
            extra=0,
            decision=table.on_existing_rows,
            has_key=bool(table.target.key),
            uncompared=rows,
        )

    async def _clashes(self, table: TablePlan, found: OccupiedTable, table_size: TableSize) -> tuple[Clash, ...]:
        """Return the unique indexes by which rows of a table can't stay; none if no row is to stay."""
        if found.decision != "keep" or not found.has_key or not found.extra:
            return ()
        reading = BlockingConnection(self.source.session)
        try:
            return await clashes_of(self.target, reading, table, table_size, self.batch_bytes)
        finally:
            reading.close()

    async def _presence(self, comparison: Comparison) -> Presence:
        databases = Databases(self.source, self.target.address)
        return await asyncio.to_thread(presence_of, databases, comparison, self.example_options)

    async def unexpected_rows(
        self,
        occupied: Mapping[TablePlan, int],
        table_sizes: Mapping[TableName, TableSize],
        begun: Collection[TableName] = (),
        *,
        values_refused: bool = False,
    ) -> list[OccupiedTable]:
        """
        Return the ``occupied`` tables that hold rows which the source doesn't hold.

        ``occupied`` gives the number of existing rows of each table; ``begun`` are the tables that an earlier run has
        begun to fill. Raises SourceUnreadable. But if values of the source are refused anyway (``values_refused``), a
        table may not be comparable, since such a value may be unreadable for the comparison: then all its existing rows
        are told as not compared.
        """
        found = []
        for table, rows in occupied.items():
            try:
                compared = await self.compare(table, rows, table_sizes[table.name])
                compared = replace(compared, clashes=await self._clashes(table, compared, table_sizes[table.name]))
            except Exception as error:
                if not values_refused or is_transient(error):
                    raise
                compared = self._not_compared(table, rows)
            if compared.unexpected:
                found.append(replace(compared, begun=compared.table in begun))
        return found


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
        ).told_as(
            f"the target's role doesn't own {listed(not_owned)}, so it can't take keys away for the load",
            [Reason(name, "the target's role doesn't own the table") for name in not_owned],
        )


async def check_target(target: Target, pending: list[TablePlan], allowed: KnownRows) -> dict[TablePlan, int]:
    """
    Return the ``pending`` tables whose existing rows have to be compared with the source, each with their number.

    ``allowed`` holds the rows that the ledger knows. Raises MissingPrivilege or TargetRefused if a pending
    table can't take the source's rows, whatever these rows are.
    """
    refuse_not_owned(pending)
    return await occupied_tables(target, pending, allowed)
