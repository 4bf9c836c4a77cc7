"""
Learns in which form the source stores the values of a column, from rows that nobody has changed.

Each form that ``renderings`` lists is applied to PostgreSQL's values of these rows, and the results are held against
the stored values, storage class included. The form that gives the most of the newest rows is taken.
"""

import sqlite3
from dataclasses import dataclass

from migrator.names import quote_sqlite
from migrator.planning.plan import ColumnPlan
from migrator.rollback.changes import StagedTable
from migrator.rollback.renderings import Rendering
from migrator.source.chunks import identity_of

_NEWEST = 100
"""The rows that decide if old values have several forms."""

_AT_ONCE = 200
"""Forms that are tried in one statement."""


@dataclass(frozen=True, slots=True)
class LearntForm:
    """The form in which a column's new values are stored, and how well it fits the old values."""

    column: str
    rendering: Rendering
    null: str
    """The literal that is stored for NULL."""
    rows: int
    """The number of values that were tried."""
    fitting: int
    """The number of these that the form gives exactly."""

    @property
    def is_doubtful(self) -> bool:
        """Whether there was no old value to learn from, or some old values have another form."""
        return not self.rows or self.fitting < self.rows

    def line(self, table: str) -> str:
        """Return the form as one line for a person."""
        if not self.rows:
            return f"{table}.{self.column}: {self.rendering.name} (no old value to learn from)"
        if self.fitting == self.rows:
            return f"{table}.{self.column}: {self.rendering.name}"
        return (
            f"{table}.{self.column}: {self.rendering.name}, as {self.fitting} of the newest {self.rows} old values; "
            "the others stay as they are"
        )


def learn(connection: sqlite3.Connection, table: StagedTable) -> tuple[LearntForm, ...]:
    """
    Return the form of each column of a table.

    ``connection`` has the scratch database attached as ``stage`` and the old file as ``old``. Raises ``sqlite3.Error``.
    """
    return tuple(_learnt(connection, table, place, column) for place, column in enumerate(table.plan.compared))


def rendered(sql: str, names: list[str], alias: str) -> str:
    """Return a form's SQL over the staged values ``names`` of a table ``alias``."""
    for place, name in enumerate(names):
        sql = sql.replace(f"{{{place}}}", f"{alias}.{name}")
    return f"({sql})"


def _learnt(connection: sqlite3.Connection, table: StagedTable, place: int, column: ColumnPlan) -> LearntForm:
    of_column, names = table.renderings[place], table.names(place)
    # The unary plus takes the affinity away: a form has to give the value as it is stored, and its class.
    stored = f"o.{column.source.quoted}"
    first = f"s.{names[0]}"
    sample = (
        f"FROM (SELECT *, row_number() OVER (ORDER BY identity DESC) AS age FROM stage.{table.staged('sample')}) s "
        f"JOIN old.{quote_sqlite(table.plan.source.name)} o ON {identity_of(table.plan.source, 'o')} = s.identity "
    )
    best: tuple[tuple[int, int, int], Rendering] | None = None
    rows = 0
    for start in range(0, len(of_column.candidates), _AT_ONCE):
        candidates = of_column.candidates[start : start + _AT_ONCE]
        fits = [
            f"(+{stored} IS {sql} COLLATE BINARY AND typeof({stored}) = typeof({sql}))"
            for sql in (rendered(candidate.sql, names, "s") for candidate in candidates)
        ]
        sums = ", ".join(f"sum({fit}), sum(age <= {_NEWEST} AND {fit})" for fit in fits)
        rows, *counts = connection.execute(f"SELECT count(*), {sums} {sample} WHERE {first} IS NOT NULL").fetchone()
        for number, candidate in enumerate(candidates):
            fitting, newest = counts[2 * number] or 0, counts[2 * number + 1] or 0
            score = (newest, fitting, -(start + number))
            if best is None or score > best[0]:
                best = score, candidate
    if best is None:
        raise AssertionError(f"no form is known for {column.target.declared}")
    return LearntForm(column.source.name, best[1], _null(connection, table, place, (column, sample)), rows, best[0][1])


def _null(connection: sqlite3.Connection, table: StagedTable, place: int, where: tuple[ColumnPlan, str]) -> str:
    """Return the literal that the newest row with NULL in PostgreSQL has, or the first that the column may hold."""
    column, sample = where
    literals = table.renderings[place].nulls
    if len(literals) > 1:
        first, stored = f"s.{table.names(place)[0]}", f"o.{column.source.quoted}"
        found = connection.execute(
            f"SELECT quote({stored}) {sample} WHERE {first} IS NULL ORDER BY identity DESC LIMIT 1"
        ).fetchone()
        if found is not None and found[0] in literals:
            return str(found[0])
    return literals[1] if column.source.not_null and len(literals) > 1 else literals[0]
