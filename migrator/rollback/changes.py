"""
Finds the rows of a table that were changed in PostgreSQL since the migration, and stages their values.

First by hashes which rows these are, then from a sample of rows in which form the old file stores values, and then the
values of the changed rows alone, as that form needs them. All of it is in a scratch database of SQLite's, from which
the new file is written.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import adbc_driver_sqlite.dbapi as adbc
import duckdb
from msgspec import Struct

from migrator.errors import SourceUnreadable
from migrator.names import pattern
from migrator.planning.plan import TablePlan
from migrator.rollback.changed_rows import SAMPLE, Found, Sides, both, find_changed_rows
from migrator.rollback.learning import LearntForm, learn
from migrator.rollback.renderings import Renderings, renderings_of
from migrator.rollback.scratch import Scratch
from migrator.rollback.staging import Wanted, names_of, stage_values
from migrator.verification.comparison import Comparison, Databases, in_fast_form


class StagedTable(Struct, frozen=True):
    """The changes of one table, whose rows are in the scratch database."""

    plan: TablePlan
    scratch: Scratch
    forms: tuple[LearntForm, ...]
    """The form of each column of ``plan.compared``; none if nobody has changed a row."""
    unchanged: int
    changed: int = 0
    added: int = 0
    deleted: int = 0

    @property
    def is_unchanged(self) -> bool:
        """Whether nobody has changed a row."""
        return not (self.changed or self.added or self.deleted)

    def names(self, column: int) -> dict[int, str]:
        """Return the names of the staged values of a column, by their place in its form."""
        return names_of(column, self.forms[column].needed)

    def same(self, column: int) -> str:
        """Return SQL that is true for a cell that nobody has changed, over ``here`` as ``s`` and ``there`` as ``t``."""
        return _same(column, self.plan)


def unchanged(table: TablePlan, scratch: Scratch, rows: int) -> StagedTable:
    """Return the changes of a table in which nobody has changed one of the ``rows``."""
    return StagedTable(table, scratch, (), rows)


def stage_changes(databases: Databases, table: TablePlan, comparison: Comparison, scratch: Scratch) -> StagedTable:
    """
    Stage the rows of a table that differ in the scratch databases.

    Blocks, and needs disk space for three numbers of each row of both sides, and for the values of changed rows.
    Raises the errors of reading either side.
    """
    renderings = tuple(renderings_of(column) for column in table.compared)
    with both(databases) as sides:
        with _telling_equal_rows(table):
            found = _find(sides, comparison, scratch)
        if not (found.changed or found.added or found.deleted):
            return unchanged(table, scratch, comparison.table_size.rows)
        # The sample has the newest changed rows. Where these are all, one reading of either side does for all.
        few = max(found.changed, found.added) <= SAMPLE
        kinds = ("sample", "added") if few else ("sample",)
        stage_values(sides, comparison, scratch, Wanted(kinds, _all_of(renderings)))
        forms = learn(table, databases.source.path, scratch, renderings)
        if not few:
            needed = tuple(
                {place: of_column.selects[place] for place in form.needed}
                for form, of_column in zip(forms, renderings, strict=True)
            )
            stage_values(sides, comparison, scratch, Wanted(("changed", "added"), needed))
    changed = found.changed - _take_out_equal(table, scratch)
    rows = comparison.table_size.rows - found.deleted - changed
    return StagedTable(table, scratch, forms, rows, changed, found.added, found.deleted)


@contextmanager
def _telling_equal_rows(table: TablePlan) -> Iterator[None]:
    """Raise SourceUnreadable if equal rows have changed which have no name of their own, by what SQLite says of it."""
    try:
        yield
    except adbc.Error as error:
        name = table.source.name
        if table.source.rowid is not None or table.source.key or "UNIQUE constraint failed" not in str(error):
            raise
        raise SourceUnreadable(
            f"table {name!r}: equal rows have changed, and can't be told apart: it has no key, and columns have taken "
            "all names of the rowid",
            next_step=f"Leave the table as it is in the old file with --exclude {pattern(name)}, and bring its rows by "
            "hand; or give as --like a copy of the old file in which the table has a primary key.",
            table=name,
        ) from error


def _all_of(renderings: Sequence[Renderings]) -> tuple[dict[int, str], ...]:
    return tuple(dict(enumerate(of_column.selects)) for of_column in renderings)


def _same(column: int, table: TablePlan) -> str:
    same = f"s.h{column} = t.h{column}"
    return f"({same} OR s.n{column})" if table.compared[column].target.generated else f"({same})"


_EXACT = frozenset({"bool", "int2", "int4", "int8", "text", "varchar"})
"""Types whose values are equal if and only if their fast forms are."""


def _find(sides: Sides, comparison: Comparison, scratch: Scratch) -> Found:
    """
    Find the rows that differ in their fast forms: a few rows too many, which ``_take_out_equal`` takes out again.

    A row whose key has two fast forms would be a deleted and an added one. Then the canonical forms decide.
    """
    if comparison.key and not comparison.by_server:
        is_exact = {comparison.pairs[place].target.type_name for place in comparison.key} <= _EXACT
        # A value of another storage class than most: the canonical forms read it, or say what is wrong.
        with suppress(SourceUnreadable, duckdb.Error):
            with sides.source.session() as scan:
                fast = in_fast_form(scan, comparison)
            found = find_changed_rows(sides, fast, scratch)
            if is_exact or not (found.added and found.deleted):
                return found
    return find_changed_rows(sides, comparison, scratch)


def _take_out_equal(table: TablePlan, scratch: Scratch) -> int:
    """
    Take rows out of which no cell has changed; return their number.

    They have another fast form only, or values which PostgreSQL computes and SQLite has not.
    """
    same = " AND ".join(_same(place, table) for place in range(len(table.compared)))
    changed, here, there = (scratch.name(kind) for kind in ("changed", "here", "there"))
    taken = scratch.execute(
        f"DELETE FROM {changed} WHERE identity IN (SELECT p.identity FROM {changed} p JOIN {here} s USING (identity) "
        f"JOIN {there} t USING (place) WHERE {same}) RETURNING 1"
    )
    return len(taken)
