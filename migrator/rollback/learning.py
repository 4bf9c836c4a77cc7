"""
Learns in which form the source stores the values of a column, from cells that nobody has changed.

Each form that ``renderings`` lists is applied to PostgreSQL's values of these cells, and the results are held against
the stored values, storage class included. The form that gives the most of the newest rows is taken.
"""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from migrator.names import quote_literal, quote_sqlite
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.rollback.renderings import Rendering, Renderings
from migrator.rollback.scratch import Scratch, attached
from migrator.rollback.staging import names_of
from migrator.source.chunks import identity_of
from migrator.source.file import uri_of

_NEWEST = 100
"""The rows that decide if old values have several forms."""

_FIRST = 6
"""The usual forms, which are tried before all others. SQLite takes longer to read so many forms than to apply them."""

_OF_NEWEST = 1 << 20
"""Counts of the newest rows are added up above those of all rows: more than the number of rows in a sample."""


class LearntForm(Struct, frozen=True):
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
    def needed(self) -> tuple[int, ...]:
        """The places of PostgreSQL's values, of those of ``Renderings.selects``, that the form is made of."""
        return tuple(sorted({int(place) for place in re.findall(r"\{(\d)\}", self.rendering.sql)})) or (0,)

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


def learn(table: TablePlan, old: Path, scratch: Scratch, renderings: Sequence[Renderings]) -> tuple[LearntForm, ...]:
    """
    Return the form of each compared column of a table, from the sampled rows in the scratch database.

    ``old`` is the file that has the stored values. Raises ``sqlite3.Error``.
    """
    with attached(scratch.folder) as connection:
        connection.execute(f"ATTACH {quote_literal(uri_of(old))} AS old")
        return tuple(
            _learnt(
                connection,
                _Column(table, place, column, scratch, names_of(place, range(len(of_column.selects)))),
                of_column,
            )
            for place, (column, of_column) in enumerate(zip(table.compared, renderings, strict=True))
        )


def rendered(sql: str, names: Mapping[int, str], alias: str) -> str:
    """Return a form's SQL over the staged values ``names`` of a table ``alias``."""
    for place, name in names.items():
        sql = sql.replace(f"{{{place}}}", f"{alias}.{name}")
    return f"({sql})"


class _Column(Struct, frozen=True):
    table: TablePlan
    place: int
    column: ColumnPlan
    scratch: Scratch
    names: Mapping[int, str]
    """The names of its staged values, by their place."""

    @property
    def stored(self) -> str:
        return f"o.{self.column.source.quoted}"

    @property
    def sampled(self) -> str:
        """The values of PostgreSQL's, the newest first, that the old file still has; with the row of the old file."""
        source, scratch = self.table.source, self.scratch
        staged = ", ".join(f"t.{name}" for name in self.names.values())  # of a wide table, not those of all columns
        newest = f"row_number() OVER (ORDER BY p.identity DESC) <= {_NEWEST}"
        return (
            f"FROM (SELECT {staged}, p.identity, {_OF_NEWEST} * ({newest}) + 1 AS weight "
            f"FROM {scratch.name('sample')} p JOIN {scratch.name('here')} s USING (identity) "
            f"JOIN {scratch.name('there')} t USING (place) WHERE s.h{self.place} = t.h{self.place}) s "
            f"JOIN old.{quote_sqlite(source.name)} o ON {identity_of(source, 'o')} = s.identity"
        )


def _learnt(connection: sqlite3.Connection, of: _Column, renderings: Renderings) -> LearntForm:
    # The unary plus takes the affinity away: a form has to give the value as it is stored, and its class.
    stored = of.stored
    best: tuple[tuple[int, int, int], Rendering] | None = None
    rows = 0
    candidates = renderings.candidates
    for first, last in ((0, _FIRST), (_FIRST, len(candidates))):
        fits = [
            f"(+{stored} IS {sql} COLLATE BINARY AND typeof({stored}) = typeof({sql}))"
            for sql in (rendered(candidate.sql, of.names, "s") for candidate in candidates[first:last])
        ]
        sums = "".join(f", sum({fit} * s.weight)" for fit in fits)
        rows, *counts = connection.execute(
            f"SELECT count(*){sums} {of.sampled} WHERE s.{of.names[0]} IS NOT NULL"
        ).fetchone()
        for number, (count, candidate) in enumerate(zip(counts, candidates[first:last], strict=True), first):
            newest, fitting = divmod(count or 0, _OF_NEWEST)
            score = (newest, fitting, -number)
            if best is None or score > best[0]:
                best = score, candidate
        if best is not None and best[0][1] == rows:
            break  # no form behind these can fit more rows
    if best is None:
        raise AssertionError(f"no form is known for {of.column.target.declared}")
    return LearntForm(of.column.source.name, best[1], _null(connection, of, renderings), rows, best[0][1])


def _null(connection: sqlite3.Connection, of: _Column, renderings: Renderings) -> str:
    """Return the literal that the newest row with NULL in PostgreSQL has, or the first that the column may hold."""
    literals = renderings.nulls
    if len(literals) > 1:
        found = connection.execute(
            f"SELECT quote({of.stored}) {of.sampled} WHERE s.{of.names[0]} IS NULL ORDER BY s.identity DESC LIMIT 1"
        ).fetchone()
        if found is not None and found[0] in literals:
            return str(found[0])
    return literals[1] if of.column.source.not_null and len(literals) > 1 else literals[0]
