"""Holds what ``status`` found in the ledger."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from migrator.errors import MigratorError
from migrator.ledger.loads import CopiedTable
from migrator.ledger.runs import RunLine, StageLine


@dataclass(frozen=True, slots=True)
class Status:
    """The outcome of ``status``: what the ledger says about one migration, or about each of several."""

    runs: tuple[RunLine, ...]
    stages: tuple[StageLine, ...]
    """Stages of the newest run."""
    tables: tuple[CopiedTable, ...]
    parked: tuple[str, ...]
    kept: tuple[str, ...]
    completed_at: datetime | None
    failure: MigratorError | None = field(default=None, compare=False)
    migration: str | None = None
    """None if the ledger knows no migration, or several of which none was named."""
    several: tuple[tuple[str, datetime | None], ...] = ()
    """Several migrations of which none was named: their names, and when each was completed."""
    unknown: str | None = None
    """Message if the ledger doesn't know the named migration; it lists the migrations that the ledger knows."""

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "migration": self.migration,
            "completed_at": self.completed_at,
            "runs": [asdict(run) for run in self.runs],
            "stages": [asdict(stage) for stage in self.stages],
            "tables": [
                {"table": str(table.name), "rows": table.rows, "bytes": table.bytes, "verified": bool(table.digest)}
                for table in self.tables
            ],
            "parked": list(self.parked),
            "kept": list(self.kept),
            "migrations": [{"name": name, "completed_at": at} for name, at in self.several],
            "unknown": self.unknown,
        }
