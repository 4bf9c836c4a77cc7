"""Holds what ``check`` found: sizes of tables, findings about values, and what stands in the way of a run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import asdict

from migrator.errors import MigratorError
from migrator.source.schema import Skipped
from migrator.sql.selection import ALL_ROWS, Selection

if TYPE_CHECKING:  # they load Arrow and DuckDB
    from migrator.findings.finding import Finding
    from migrator.findings.table_notices import TableNotice
    from migrator.preflight.existing_rows import OccupiedTable
    from migrator.preflight.table_check import TableCheck


class CheckReport(Struct, frozen=True):
    """The outcome of ``check``."""

    table_checks: "tuple[TableCheck, ...]"
    findings: "tuple[Finding, ...]"
    skipped: tuple[Skipped, ...]
    failure: MigratorError | None = None
    against_target: bool = True
    table_notices: "tuple[TableNotice, ...]" = ()
    """What is worth knowing of each table and asks for nothing; the findings have it by column."""
    notes: tuple[str, ...] = ()
    selections: Mapping[str, Selection] = field(default_factory=dict)
    """What the rules for rows leave behind, by the names of the checked tables."""
    existing: "tuple[OccupiedTable, ...]" = ()
    """Target tables that hold rows which the source doesn't hold."""

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        tables = [
            asdict(table_check.table_size)
            | {
                "table": str(table_check.table_size.table),
                "changes": [asdict(change) for change in table_check.changes],
            }
            | self.selection_of(table_check).to_json()
            for table_check in self.table_checks
        ]
        return {
            "tables": tables,
            "findings": [finding.to_json() for finding in self.findings],
            "skipped": [asdict(skipped) for skipped in self.skipped],
            "existing_rows": [table.to_json() for table in self.existing],
            "against_target": self.against_target,
            "table_notices": [table_notice.line() for table_notice in self.table_notices],
            "notes": list(self.notes),
        } | (self.failure.settlement.to_json() if self.failure else {})

    def selection_of(self, table_check: "TableCheck") -> Selection:
        """Return which rows of a table are carried."""
        return self.selections.get(str(table_check.table_size.table), ALL_ROWS)
