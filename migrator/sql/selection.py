"""Describes which rows of a source table are carried, as conditions in SQLite's SQL, and how many stay behind."""

import json
from typing import Any

from msgspec import Struct


class Orphans(Struct, frozen=True):
    """The orphans of one foreign key for which a rule decides."""

    foreign_key: str
    column: str
    """The first column of the key, at which the rule stands."""
    rule: str
    """``drop`` if the rows stay behind, ``null`` if they are carried with NULL in the columns of the key."""
    rows: int
    columns: tuple[str, ...]
    """The columns of the source in which the reference is."""
    condition: str
    """The condition of the rows, in SQLite's SQL over the table's stored rows."""

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for programs."""
        return {"foreign_key": self.foreign_key, "column": self.column, "rule": self.rule, "rows": self.rows}


class Selection(Struct, frozen=True):
    """The part of a table that is carried under the operator's rules for rows, and what stays behind."""

    where: str = ""
    """The operator's condition in SQLite's SQL; empty for all rows. A row for which it is NULL stays behind."""
    excluded_by_where: int = 0
    """The number of rows that the condition leaves behind."""
    not_dropped: str = ""
    """The condition of the rows that are not dropped as orphans; empty if none are dropped."""
    set_null: tuple[tuple[str, str], ...] = ()
    """Columns that are read as NULL in the rows that meet a condition."""
    orphans: tuple[Orphans, ...] = ()
    """What the rules for orphans have done, by foreign key."""

    @property
    def condition(self) -> str:
        """The condition that every carried row meets; empty if all rows are carried."""
        # A comment at the end of the operator's condition ends with the line.
        own = f"({self.where}\n)" if self.where else ""
        return " AND ".join(part for part in (own, self.not_dropped) if part)

    @property
    def left_behind(self) -> int:
        """The number of rows that stay behind."""
        return self.excluded_by_where + sum(orphans.rows for orphans in self.orphans if orphans.rule == "drop")

    def expression(self, column: str, quoted: str) -> str:
        """Return SQL that reads a column, whose name stands as ``quoted`` in a statement."""
        conditions = [condition for name, condition in self.set_null if name == column]
        if not conditions:
            return quoted
        return f"CASE WHEN {' OR '.join(conditions)} THEN NULL ELSE {quoted} END AS {quoted}"

    def lines(self, table: str) -> list[str]:
        """Return what is not carried of ``table``, each reason in one line for people."""
        lines = []
        if self.where:
            where = json.dumps(self.where, ensure_ascii=False)
            lines.append(f"{table}: {_counted(self.excluded_by_where)} left behind (where = {where})")
        for orphans in (orphans for orphans in self.orphans if orphans.rows):
            done = "left behind" if orphans.rule == "drop" else "carried with NULL in the place of the reference"
            rule = f'orphans = "{orphans.rule}"'
            reason = f"orphans of {orphans.foreign_key}, {rule} at {orphans.column}"
            lines.append(f"{table}: {_counted(orphans.rows)} {done} ({reason})")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for programs."""
        return {
            "left_behind": self.left_behind,
            "orphans": [orphans.to_json() for orphans in self.orphans],
        }


def _counted(rows: int) -> str:
    return "1 row is" if rows == 1 else f"{rows} rows are"


ALL_ROWS = Selection()
