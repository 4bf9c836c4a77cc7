"""
Finds the rows of a table that were changed in PostgreSQL since the migration, and stages their values.

Both sides are read as the verification reads them; the rows of the buckets that differ are joined in DuckDB, on disk.
What differs goes as record batches into a scratch database of SQLite's, from which the new file is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from migrator.planning.plan import TablePlan
from migrator.rollback.renderings import Renderings, renderings_of
from migrator.source.chunks import identity_of
from migrator.source.scan import ScanColumn, StorageClass
from migrator.verification.canonical import source_side, target_side
from migrator.verification.comparison import Comparison, Databases
from migrator.verification.differences import Further, both_sides, rows_in_buckets
from migrator.verification.staging import stage

SAMPLE = 1_000
"""The number of unchanged rows, the newest of those that were read, from which the forms are learnt."""


@dataclass(frozen=True, slots=True)
class StagedTable:
    """The changes of one table, whose rows are in the tables of a scratch database that begin with ``prefix``."""

    plan: TablePlan
    prefix: str
    renderings: tuple[Renderings, ...]
    """The forms of each column of ``plan.compared``."""
    unchanged: int
    changed: int
    added: int
    deleted: int

    @property
    def is_unchanged(self) -> bool:
        """Whether nobody has changed a row."""
        return not (self.changed or self.added or self.deleted)

    def staged(self, kind: str) -> str:
        """Return the name of the scratch table for rows of a kind: changed, added, deleted, sample."""
        return f'"{self.prefix} {kind}"'

    def names(self, column: int) -> list[str]:
        """Return the names of the staged values of a column."""
        return [f"e{column}_{place}" for place in range(len(self.renderings[column].selects))]


def unchanged(table: TablePlan, rows: int) -> StagedTable:
    """Return the changes of a table in which nobody has changed one of the ``rows``."""
    return StagedTable(table, "", (), rows, 0, 0, 0)


def stage_changes(
    databases: Databases, table: TablePlan, comparison: Comparison, buckets: Sequence[int], into: tuple[Path, str]
) -> StagedTable:
    """
    Stage the rows of ``buckets`` that differ in a scratch database; ``into`` is its path, and the tables' prefix.

    Blocks, and needs disk space for the rows of the buckets. Raises the errors of reading either side.
    """
    scratch, prefix = into
    renderings = tuple(renderings_of(column) for column in table.compared)
    selects = [select for of_column in renderings for select in of_column.selects]
    names = [f"e{i}_{j}" for i, of_column in enumerate(renderings) for j in range(len(of_column.selects))]
    storage = StorageClass.INTEGER if table.source.rowid is not None else StorageClass.TEXT
    identity = ScanColumn(identity_of(table.source), storage)
    further = Further((identity,), tuple(f"{select} AS {name}" for select, name in zip(selects, names, strict=True)))

    with both_sides(databases, comparison, lambda side: rows_in_buckets(comparison, side, buckets), further) as duck:
        own = f"c{len(comparison.scan_columns)}"
        joined = _joined(comparison, own)
        values = ", ".join(f"t.{name}" for name in names)
        both, same = "s.row_hash IS NOT NULL AND t.row_hash IS NOT NULL", "s.row_hash = t.row_hash"
        queries = {
            "deleted": f"SELECT s.{own} AS identity FROM {joined} WHERE t.row_hash IS NULL",
            "changed": f"SELECT s.{own} AS identity, {_same(comparison)}, {values} FROM {joined} "
            f"WHERE {both} AND NOT {same} AND NOT ({_only_computed(comparison)})",
            "added": f"SELECT {values} FROM {joined} WHERE s.row_hash IS NULL",
            "sample": f"SELECT s.{own} AS identity, {values} FROM {joined} WHERE {both} AND {same} "
            f"ORDER BY identity DESC LIMIT {SAMPLE}",
        }
        counts = {kind: stage(duck, query, scratch, f"{prefix} {kind}") for kind, query in queries.items()}
        rows = comparison.table_size.rows - counts["deleted"] - counts["changed"]
    return StagedTable(table, prefix, renderings, rows, counts["changed"], counts["added"], counts["deleted"])


def _joined(comparison: Comparison, own: str) -> str:
    """Return SQL that joins the rows of both sides: by their key, or in a table without a key, equal rows by number."""
    if comparison.key:
        on = " AND ".join(f"s.k{i} IS NOT DISTINCT FROM t.k{i}" for i in range(len(comparison.key)))
        return f"source_rows s FULL OUTER JOIN target_rows t ON {on}"
    numbered = "(SELECT *, row_number() OVER (PARTITION BY row_hash{order}) AS number FROM {table})"
    source = numbered.format(order=f" ORDER BY {own}", table="source_rows")
    target = numbered.format(order="", table="target_rows")
    return f"{source} s FULL OUTER JOIN {target} t ON s.row_hash = t.row_hash AND s.number = t.number"


def _same(comparison: Comparison) -> str:
    """Return SQL for each column that is 1 if the value of a changed row is as it was."""
    forms = zip(source_side(comparison.forms, "s.").forms, target_side(comparison.forms, "t.").forms, strict=True)
    return ", ".join(
        f"(({source}) IS NOT DISTINCT FROM ({target}))::BIGINT AS same{i}" for i, (source, target) in enumerate(forms)
    )


def _only_computed(comparison: Comparison) -> str:
    """Return SQL that is true for a row that differs only in values which PostgreSQL computes and SQLite has not."""
    source, target = source_side(comparison.forms, "s."), target_side(comparison.forms, "t.")
    same = (
        f"({ours}) IS NOT DISTINCT FROM ({theirs})" + (f" OR ({shown}) IS NULL" if pair.target.generated else "")
        for pair, ours, theirs, shown in zip(comparison.pairs, source.forms, target.forms, source.shown, strict=True)
    )
    return " AND ".join(f"({one})" for one in same)
