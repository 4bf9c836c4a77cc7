"""Defines the result of a refresh: what was done with each table, and with how many of its rows."""

from dataclasses import dataclass
from enum import StrEnum

from migrator.names import TableName


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


@dataclass(frozen=True, slots=True)
class TableRefresh:
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
    """The time in seconds that finding and writing the rows took."""

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
            "inserted": self.inserted,
            "updated": self.updated,
            "deleted": self.deleted,
            "seconds": round(self.seconds, 3),
        }
        return fields | ({"reason": self.reason} if self.reason else {})
