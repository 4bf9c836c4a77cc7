"""Holds what ``status`` found in the ledger."""

from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from migrator.errors import LastRunFailed, MigratorError, NotComplete
from migrator.ledger.loads import CopiedTable
from migrator.ledger.runs import RunLine, StageLine
from migrator.runtime.wording import counted
from migrator.status.next_action import NextAction
from migrator.status.progress import Work
from migrator.status.state import ENDED, MigrationStatus, State


class Status(Struct, frozen=True):
    """The outcome of ``status``: what the ledger says about one migration, or about each of several."""

    migrations: tuple[MigrationStatus, ...]
    """One migration with all that is known about it, or the states of several of which none was named."""
    next_actions: tuple[NextAction, ...]
    """What to do about each of them."""
    unknown: str | None = None
    """Message if the ledger doesn't know the named migration; it lists the migrations that the ledger knows."""

    @property
    def one(self) -> MigrationStatus | None:
        """The migration, or None if there are several."""
        return self.migrations[0] if len(self.migrations) == 1 else None

    @property
    def completed_at(self) -> object:
        """When every row of the migration was verified; None if they aren't, or if there are several migrations."""
        return self.one.completed_at if self.one else None

    @property
    def runs(self) -> tuple[RunLine, ...]:
        """The newest runs of the migration."""
        return self.one.runs if self.one else ()

    @property
    def stages(self) -> tuple[StageLine, ...]:
        """The stages of its newest run."""
        return self.one.stages if self.one else ()

    @property
    def tables(self) -> tuple[CopiedTable, ...]:
        """Its tables of which every row is in the target."""
        return self.one.tables if self.one else ()

    @property
    def state(self) -> State:
        """The state of the migration; of several, the state that most needs an operator."""
        states = {found.state for found in self.migrations}
        return next(state for state in _MOST_URGENT_FIRST if state in states)

    @property
    def has_ended(self) -> bool:
        """Whether each migration is complete, rehearsed or has failed, so that nothing changes by itself."""
        return all(found.state in ENDED for found in self.migrations)

    @property
    def headline(self) -> str:
        """One line that says how it stands."""
        if self.one is None:
            complete = sum(found.state is State.COMPLETE for found in self.migrations)
            return f"{counted(len(self.migrations), 'migration')}, {complete:,} complete"
        return f"migration {self.one.name}: {self.state}"

    @property
    def failure(self) -> MigratorError | None:
        """The error that decides the exit code, or None if each migration is complete."""
        if self.state is State.COMPLETE:
            return None
        kind = LastRunFailed if self.state is State.FAILED else NotComplete
        return kind(self.headline, state=str(self.state))

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs: docs/status.md describes the fields."""
        one = self.one
        newest = one.newest_run if one else None
        failed = newest if self.state is State.FAILED else None
        progress = one.progress if one else None
        action = self.next_actions[0] if one else None
        return {
            "headline": self.headline,
            "migration": one.name if one else None,
            "state": str(self.state),
            "completed_at": one.completed_at if one else None,
            "asked_at": self.migrations[0].now,
            "tables_total": one.tables_total if one else None,
            "tables_copied": len(one.tables) if one else None,
            "tables_verified": one.tables_verified if one else None,
            "stages_under_way": [_work_fields(work) for work in progress.work if not work.table] if progress else [],
            "in_work": [_work_fields(work) for work in progress.tables()] if progress else [],
            "waiting": progress.waits() if progress else [],
            "progress_at": progress.written_at if progress else None,
            "message": failed.message if failed else None,
            "next_action": action.to_json() if action else None,
            "runs": [asdict(run) for run in one.runs] if one else [],
            "stages": [asdict(stage) for stage in one.stages] if one else [],
            "tables": [
                {"table": str(table.name), "rows": table.rows, "bytes": table.bytes, "verified": bool(table.digest)}
                for table in self.tables
            ],
            "tables_begun": [
                {
                    "table": str(begun.name),
                    "rows": begun.rows,
                    "bytes": begun.bytes,
                    "chunks": begun.chunks,
                    "of_chunks": begun.of_chunks,
                }
                for begun in (one.begun if one else ())
            ],
            "parked": list(one.parked) if one else [],
            "kept": list(one.kept) if one else [],
            "refreshed": one.refreshed.to_json() if one and one.refreshed else None,
            "migrations": [
                {"name": found.name, "state": str(found.state), "completed_at": found.completed_at}
                for found in self.migrations
            ],
            "unknown": self.unknown,
        }


_MOST_URGENT_FIRST = (
    State.FAILED,
    State.INTERRUPTED,
    State.UNDER_WAY,
    State.NEVER_BEGUN,
    State.REHEARSED,
    State.COMPLETE,
)


def _work_fields(work: Work) -> dict[str, Any]:
    rate = None if work.rate is None else round(work.rate, 1)
    seconds_left = None if work.seconds_left is None else round(work.seconds_left)
    fields = {name: value for name, value in asdict(work).items() if name != "waiting"}
    return fields | {"rate": rate, "seconds_left": seconds_left}
