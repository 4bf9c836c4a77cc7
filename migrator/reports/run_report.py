"""Holds what ``run`` or ``verify`` found, table by table; ``repair``, ``reset`` and ``forget`` use it too."""

from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

from migrator.errors import MigratorError
from migrator.ledger.loads import CopiedTable
from migrator.names import TableName
from migrator.reports.refresh_report import TableRefresh
from migrator.runtime.stage_runner import StageRunner, StageTiming
from migrator.runtime.wording import counted
from migrator.source.schema import Skipped

if TYPE_CHECKING:  # they load Arrow and DuckDB, which a complete migration doesn't need
    from migrator.planning.plan import Plan
    from migrator.verification.compare_table import TableResult


class TableLine(Struct, frozen=True):
    """The line of one table in a report."""

    table: str
    source_rows: int
    target_rows: int
    bytes: int | None
    """Bytes sent to the target; None if the command sent nothing."""
    verified: bool
    copy_seconds: float | None = None
    """Working time of all workers that copied the table, added up; None if the command sent nothing."""
    verify_seconds: float = 0.0
    """Working time of all workers that compared the table, added up."""
    left_behind: int = 0
    """Rows of the source that the rules for rows don't carry; ``source_rows`` doesn't count them."""
    orphans: tuple[dict[str, Any], ...] = ()
    """What the rules for orphans have done, by foreign key."""


class Report(Struct, frozen=True):
    """The outcome of ``run`` or ``verify``."""

    headline: str
    tables: tuple[TableLine, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    timings: tuple[StageTiming, ...] = ()
    notes: tuple[str, ...] = ()
    migration: str | None = None
    """None if the command read no ledger."""
    failure: MigratorError | None = None
    refreshed: tuple[TableRefresh, ...] = ()
    """What a refresh has done with each table; empty without one."""

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "headline": self.headline,
            "migration": self.migration,
            "rows": sum(line.source_rows for line in self.tables),
            "tables": [asdict(line) for line in self.tables],
            "refreshed": [table.to_json() for table in self.refreshed],
            "skipped": [asdict(skipped) for skipped in self.skipped],
            "stages": [
                {**asdict(timing), "began": round(timing.began, 3), "seconds": round(timing.seconds, 3)}
                for timing in sorted(self.timings, key=attrgetter("began"))
            ],
            "notes": list(self.notes),
        }


def report_of(
    plan: "Plan",
    verdicts: "list[TableResult]",
    copied: Mapping[TableName, CopiedTable],
    runner: StageRunner,
    headline: str,
) -> Report:
    """Return the report on verified tables; ``copied`` has the bytes and times of the copy."""
    selections = {table.name: table.source.selection for table in plan.tables}
    lines = tuple(
        TableLine(
            str(verdict.table),
            verdict.source.rows,
            verdict.target.rows,
            copied[verdict.table].bytes if verdict.table in copied else None,
            verified=verdict.equal,
            copy_seconds=round(copied[verdict.table].seconds, 3) if verdict.table in copied else None,
            verify_seconds=round(verdict.seconds, 3),
            left_behind=selections[verdict.table].left_behind,
            orphans=tuple(orphans.to_json() for orphans in selections[verdict.table].orphans),
        )
        for verdict in verdicts
    )
    rows = sum(line.source_rows for line in lines)
    counts = f"{counted(len(lines), 'table')}, {counted(rows, 'row')}"
    return Report(f"{headline} ({counts})", lines, plan.skipped, tuple(runner.timings), notes=tuple(left_behind(plan)))


def left_behind(plan: "Plan") -> list[str]:
    """Return, in one line for each reason, the rows that the rules for rows don't carry."""
    return [line for table in plan.tables for line in table.source.selection.lines(table.source.name)]
