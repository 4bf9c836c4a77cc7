"""Holds what a refresh does, or would do, with each table, and about how long it takes."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from migrator.errors import MigratorError
from migrator.names import TableName
from migrator.runtime.wording import counted
from migrator.source.schema import Skipped


class Way(StrEnum):
    """How a table gets the rows that the source holds now."""

    UNCHANGED = "unchanged"
    """The source holds the rows of the last run, so nothing is written."""
    CHANGED = "changed"
    """The rows that differ are deleted and inserted, with keys and indexes in place."""
    LOADED_ANEW = "loaded anew"
    """The table is emptied and loaded by the usual way."""
    NEW = "new"
    """No earlier run has loaded the table, or its last load was not finished."""


class TableRefresh(Struct, frozen=True):
    """What a refresh does, or has done, with one table."""

    table: TableName
    source: str
    """The table's name in the source."""
    way: Way
    rows: int
    """The number of rows that the source holds now."""
    before: int | None = None
    """The number of rows after the last run; None for a new table."""
    inserted: int = 0
    """Rows whose key the target did not hold. Without a key, rows that the source holds more often than the target."""
    updated: int = 0
    """Rows whose key the target held with other values."""
    deleted: int = 0
    """Rows whose key the source no longer holds."""
    reason: str = ""
    """Why the table is loaded anew."""
    seconds: float = 0.0
    """The time in seconds that finding the changed rows took; 0 where single rows were not looked for."""
    not_read: int = 0
    """Rows that were not read, since nobody has written them since an earlier run has compared them."""

    @property
    def is_unchanged(self) -> bool:
        """Whether nothing is written."""
        return self.way is Way.UNCHANGED

    @property
    def is_loaded(self) -> bool:
        """Whether all its rows are loaded."""
        return self.way in {Way.LOADED_ANEW, Way.NEW}

    @property
    def changes(self) -> int:
        """The number of rows that differ."""
        return self.inserted + self.updated + self.deleted

    def line(self) -> str:
        """Return the result in one line for people."""
        if self.way is Way.CHANGED:
            return f"{self.table}: {self.inserted} inserted, {self.updated} updated, {self.deleted} deleted"
        return f"{self.table}: {self.way}" + (f" ({self.reason})" if self.reason else "")

    def to_json(self) -> dict[str, object]:
        """Return the result as fields for the log and the report."""
        fields: dict[str, object] = {
            "table": str(self.table),
            "source": self.source,
            "way": str(self.way),
            "rows": self.rows,
            "rows_before": self.before,
            "rows_read": self.rows - self.not_read,
            "inserted": self.inserted,
            "updated": self.updated,
            "deleted": self.deleted,
            "seconds": round(self.seconds, 3),
        }
        return fields | ({"reason": self.reason} if self.reason else {})


def told_of_earlier(tables: Sequence[TableRefresh]) -> tuple[str, ...]:
    """Return a line about the rows for which the comparison of an earlier run holds; nothing if there are none."""
    not_read = sum(table.not_read for table in tables)
    if not not_read:
        return ()
    rows = f"{counted(not_read, 'row')} of {sum(table.rows for table in tables):,}"
    records = "neither the pages of SQLite's file nor PostgreSQL's records of who wrote each row show a change since"
    return (f"{rows} were compared by an earlier run, and {records}",)


class Window(Struct, frozen=True):
    """About how long a refresh takes, and how that is known."""

    seconds: float
    basis: str
    """The figures that it follows from, in words."""
    looked_seconds: float
    """The time that it has just taken to find what has changed."""


class RefreshReport(Struct, frozen=True):
    """The outcome of ``check --refresh``: what a refresh would do."""

    tables: tuple[TableRefresh, ...]
    window: Window | None
    """None if nothing is known of earlier runs."""
    migration: str
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def failure(self) -> MigratorError | None:
        """Return None: what would be refused was raised."""
        return None

    @property
    def headline(self) -> str:
        """One line that says how much has changed."""
        changed = [table for table in self.tables if not table.is_unchanged]
        if not changed:
            return f"migration {self.migration}: nothing has changed in {counted(len(self.tables), 'table')}"
        return (
            f"migration {self.migration}: {counted(sum(table.inserted for table in changed), 'row')} to insert, "
            f"{sum(table.updated for table in changed):,} to update, {sum(table.deleted for table in changed):,} to "
            f"delete, {counted(sum(table.is_loaded for table in changed), 'table')} to load whole"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "headline": self.headline,
            "migration": self.migration,
            "refreshed": [table.to_json() for table in self.tables],
            "window": asdict(self.window) if self.window else None,
            "skipped": [asdict(skipped) for skipped in self.skipped],
            "notes": list(self.notes),
        }
