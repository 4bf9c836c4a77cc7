"""Holds what ``rollback`` did: the new file, the rows of each table by what became of them, and the forms of values."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from migrator.errors import MigratorError


class RolledBackTable(Struct, frozen=True):
    """The rows of one table of the new file."""

    table: str
    unchanged: int
    """Rows that are in the new file as they are in the old one: value and storage class."""
    changed: int
    added: int
    deleted: int


class RollbackReport(Struct, frozen=True):
    """The outcome of ``rollback``."""

    headline: str
    path: str
    tables: tuple[RolledBackTable, ...]
    forms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The forms in which changed values are stored, a line a column, by table."""
    doubtful_forms: tuple[str, ...] = ()
    """Those of the forms that not all old values have, or that there was no old value to learn from."""
    notes: tuple[str, ...] = ()

    @property
    def failure(self) -> MigratorError | None:
        """Return None: a file that isn't proved has no report."""
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "headline": self.headline,
            "path": self.path,
            "tables": [asdict(table) for table in self.tables],
            "forms": {table: list(lines) for table, lines in self.forms.items()},
            "notes": list(self.notes),
        }
