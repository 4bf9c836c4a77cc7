"""Defines in which state a migration can be, and what is known about one."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from migrator.ledger.loads import CopiedTable
from migrator.ledger.runs import RunLine, StageLine
from migrator.ledger.state import LastRefresh
from migrator.names import TableName
from migrator.status.failures import Failure
from migrator.status.progress import RunProgress


class State(StrEnum):
    """The state of a migration, as `status` names it."""

    NEVER_BEGUN = "never begun"
    UNDER_WAY = "under way"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    REHEARSED = "rehearsed"
    COMPLETE = "complete"


ENDED: Final = frozenset({State.COMPLETE, State.FAILED, State.REHEARSED})
"""The states that don't change by themselves, and not by a job that is started again."""


class TableBegun(Struct, frozen=True):
    """A table of which some chunks are in the target, and others not yet."""

    name: TableName
    rows: int
    """Rows of the chunks that are in the target."""
    bytes: int
    chunks: int
    """Chunks that are in the target."""
    of_chunks: int


class MigrationStatus(Struct, frozen=True):
    """What the ledger says about one migration. All times are of the server's clock."""

    name: str
    state: State
    now: datetime
    completed_at: datetime | None = None
    runs: tuple[RunLine, ...] = ()
    """The newest runs, the newest first."""
    settings: Mapping[str, Any] | None = None
    """The settings of the newest run, without secrets."""
    stages: tuple[StageLine, ...] = ()
    """Stages of the newest run, in the order in which they began."""
    tables: tuple[CopiedTable, ...] = ()
    """Tables of which every row is in the target."""
    begun: tuple[TableBegun, ...] = ()
    tables_total: int | None = None
    """The number of tables that the migration takes; None until preflight knows it."""
    progress: RunProgress | None = None
    """What the newest run was doing when it last wrote so; None if it didn't, or has ended."""
    failure: Failure | None = None
    """What the newest run said about its failure beyond its message."""
    parked: tuple[str, ...] = ()
    """Keys and indexes that were taken away for the load and aren't back."""
    rehearsed: bool = False
    """Whether the rows were brought in a rehearsal, and no refresh has cut over yet."""
    refreshed: LastRefresh | None = None
    """What the last refresh has done; None if there was none."""
    kept: tuple[str, ...] = ()
    """Lines about rows that gave way to the source's."""

    @property
    def newest_run(self) -> RunLine | None:
        """The newest run, or None."""
        return self.runs[0] if self.runs else None

    @property
    def tables_verified(self) -> int:
        """The number of tables of which every value was compared and is equal."""
        return sum(table.digest is not None for table in self.tables)
