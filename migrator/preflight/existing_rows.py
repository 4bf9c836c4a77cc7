"""
Compares existing rows of target tables, which this job did not write, with the source's rows.

An application writes some rows when it first starts: a version, a default account. If the source holds exactly the same
rows, nothing is lost when the job loads the table again. If a table has any other existing row, somebody may need that
row: then the job refuses, unless the operator has decided otherwise (``on_existing_rows``).
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

import structlog

from migrator.catalog import foreign_keys
from migrator.catalog.row_security import refuse_forced
from migrator.errors import MissingPrivilege, RowsInTheWay
from migrator.events import Event
from migrator.ledger.loads import KnownRows
from migrator.names import TableName, pattern
from migrator.planning.plan import TablePlan
from migrator.planning.rules import OnExistingRows
from migrator.preflight.unfilled_columns import NEVER, unfilled_columns
from migrator.runtime.limits import ExampleOptions
from migrator.runtime.retry import is_transient
from migrator.runtime.settlement import NOTHING_TO_PASTE, RuleSection, Settlement
from migrator.source.database import Source
from migrator.source.size import TableSize
from migrator.target.database import Target, row_counts
from migrator.target.lock_room import lock_room
from migrator.verification.comparison import Comparison, Databases
from migrator.verification.differences import Difference
from migrator.verification.presence import Presence, presence_of

log = structlog.get_logger()

MOST_NAMED = 20
"""The most tables that the advice names one by one. Of more tables, it gives the word for all."""


@dataclass(frozen=True, slots=True)
class OccupiedTable:
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
    """Whether the target's table has a primary key, by which rows can stay beside the source's (``keep``)."""
    uncompared: int = 0
    """All existing rows, if values of the source, which are refused, keep these rows from being compared."""
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
        return self.decision == "refuse" or self.begun or self.cannot_merge

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

    def __str__(self) -> str:
        """Return the table's name with the numbers of its rows, and some rows that the source doesn't hold."""
        counts = {
            "equal to the source's": self.equal,
            f"equal but for {', '.join(self.unfilled)}, for which the source has no values": self.richer,
            "different": self.different,
            "only there": self.extra,
            "not compared, since values of the source's rows are refused": self.uncompared,
        }
        counted = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
        shown = self.examples[0].line() if self.examples else ""  # `check` has all of them in its report
        noun = "row" if self.rows == 1 else "rows"
        return f"{self.table} ({self.rows} {noun}: {counted})" + (f", where {shown}" if shown else "")

    def to_json(self) -> dict[str, Any]:
        """Return the finding for programs, with all examples."""
        return {**self.counts(), "examples": [example.to_json() for example in self.examples]}

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


@dataclass(frozen=True, slots=True)
class RowComparison:
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
            except Exception as error:
                if not values_refused or is_transient(error):
                    raise
                compared = self._not_compared(table, rows)
            if compared.unexpected:
                found.append(replace(compared, begun=compared.table in begun))
        return found


def refusal_of(existing: Sequence[OccupiedTable]) -> RowsInTheWay | None:
    """Log each table whose existing rows are refused; return the error that names them all, or None without any."""
    refused = [table for table in existing if table.is_refused]
    for table in refused:
        log.error(Event.ROWS_IN_THE_WAY, message=str(table), **table.counts())
    if not refused:
        return None
    return RowsInTheWay(
        f"the target already holds rows that this job did not put there: {', '.join(map(str, refused))}",
        next_step=_next_step(existing, refused),
        tables={str(table.table): table.rows for table in refused},
    ).settled_with(_settlement(existing, refused))


def _next_step(existing: Sequence[OccupiedTable], refused: Sequence[OccupiedTable]) -> str:
    if any(table.begun for table in refused):
        begun = ", ".join(str(table.table) for table in refused if table.begun)
        return (
            f"Find out who writes to {begun}, which an earlier run has begun to fill. To begin anew, run with "
            "--restart --force, which empties the tables first."
        )
    without_key = [table for table in refused if table.cannot_merge]
    if without_key:
        listed = ", ".join(str(table.table) for table in without_key)
        return (
            f"Give {flag(without_key, 'replace')} in place of keep: {listed} has no primary key, which would tell the "
            "rows that stay from those of the source."
        )
    return (
        f"Add {flag(existing, 'replace')} to let the source's rows take their place; what gives way is kept in the "
        "target's schema migrator, and in the file of --kept-rows. With keep in place of replace, rows whose key only "
        "the target has stay there. Or use an empty database."
    )


def _settlement(existing: Sequence[OccupiedTable], refused: Sequence[OccupiedTable]) -> Settlement:
    """Return the flag that lets the source's rows take the place of all existing rows, where this is a way out."""
    if any(table.begun for table in refused):
        return NOTHING_TO_PASTE
    given = flag(existing, "replace")
    return Settlement((given,), flag_sections=((given, tuple(_section(table) for table in refused)),))


def _section(table: OccupiedTable) -> RuleSection:
    """Return the rule that says of a table what the flag says."""
    keep = ('on_existing_rows = "keep"  # lets rows stay whose key only the target has',) if table.has_key else ()
    replace_all = 'on_existing_rows = "replace"  # the source\'s rows take their place'
    return RuleSection(f'[tables."{pattern(table.source)}"]', replace_all, keep, f"already there: {table}")


def flag(tables: Sequence[OccupiedTable], word: OnExistingRows) -> str:
    """Return the flag, for a shell, that decides about the existing rows of all these tables."""
    names = sorted(f"{pattern(table.source)}:{word}" for table in tables)
    return f"--on-existing-rows={quote(','.join(names)) if len(names) <= MOST_NAMED else word}"


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

    ``allowed`` holds the rows that the ledger knows. Raises MissingPrivilege or TargetRefused if a pending
    table can't take the source's rows, whatever these rows are.
    """
    refuse_not_owned(pending)
    return await occupied_tables(target, pending, allowed)
