"""
Finds the rows of a table that came, went or changed, by key.

Both sides are read once more. Of each row only the hash, the key and the place are stored, in a DuckDB file on disk:
the rowid in the source, and the ctid in the target, where nobody writes meanwhile. What differs goes into a scratch
database of SQLite's, from which the copier's own scan selects the rows to send.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from migrator.names import quote_sqlite
from migrator.planning.plan import TablePlan
from migrator.refresh.survey import Surveyed
from migrator.source.chunks import identity_of
from migrator.source.scan import ScanColumn, StorageClass
from migrator.source.schema import SourceTable
from migrator.verification.canonical import Side
from migrator.verification.comparison import Comparison, Databases
from migrator.verification.differences import Further, both_sides
from migrator.verification.digest import Digest, KnownDigest, hashes
from migrator.verification.staging import stage

_LEAST_ROWS = 10_000
"""In a smaller table it costs little to write all rows, so no share of changed rows is too large."""


@dataclass(frozen=True, slots=True)
class RowChanges:
    """The changed rows of one table; ``prefix`` begins the names of the scratch tables with their places."""

    table: TablePlan
    prefix: str
    inserted: int
    updated: int
    deleted: int
    digest: KnownDigest | None = None
    """The digest of the source's table as it is now; None if more has to be read for it."""
    seconds: float = 0.0
    """The time that finding them took."""

    @property
    def sent(self) -> str:
        """The scratch table with the places of the source's rows that are sent, in the column ``identity``."""
        return f"{self.prefix} sent"

    @property
    def gone(self) -> str:
        """The scratch table with the places of the target's rows that are deleted: ``part`` and ``place``."""
        return f"{self.prefix} gone"

    @property
    def total(self) -> int:
        """The number of rows that differ."""
        return self.inserted + self.updated + self.deleted

    def is_most_of(self, rows: int, share: float) -> bool:
        """Return whether more than a share of the ``rows`` differs, so that loading the table anew takes less time."""
        return rows >= _LEAST_ROWS and self.total > rows * share


def has_places(table: SourceTable) -> bool:
    """Return whether the rows of a source table can be told apart, even if all their values are equal."""
    return table.rowid is not None or bool(table.key)


def stage_changes(databases: Databases, found: Surveyed, batch_bytes: int, into: tuple[Path, str]) -> RowChanges:
    """
    Find the changed rows of a table and stage their places; ``into`` is the scratch database and the tables' prefix.

    Blocks, and needs disk space for hash, key and place of each row of both sides. Raises the errors of reading either
    side, and ``duckdb.Error`` for a value that the form of its column can't read.
    """
    started = time.monotonic()
    scratch, prefix = into
    comparison = _of_sent(found, batch_bytes)
    source = found.plan.source
    storage = StorageClass.INTEGER if source.rowid is not None else StorageClass.TEXT
    places = Further((ScanColumn(identity_of(source), storage),), ("tableoid::bigint AS part", "ctid::text AS place"))
    own = f"c{len(comparison.scan_columns)}"

    def selected(side: Side) -> str:
        bucket = hashes(side.forms, comparison).bucket
        columns = f"{own} AS identity, {bucket} AS bucket" if side is comparison.source_side else "part, place"
        return _narrow(comparison, side, columns)

    with both_sides(databases, comparison, selected, places) as duck:
        duck.execute(f"CREATE TEMP TABLE differing AS {_joined(comparison)}")
        # A row without a partner has no identity or no place.
        [(inserted, updated, deleted)] = duck.execute(
            "SELECT count(*) FILTER (place IS NULL), count(*) FILTER (identity IS NOT NULL AND place IS NOT NULL), "
            "count(*) FILTER (identity IS NULL) FROM differing"
        ).fetchall()
        digest = None
        if (
            not comparison.by_server
            and comparison.pairs == found.plan.pairs[: len(comparison.pairs)]
            and not found.plan.computed
        ):
            digest = KnownDigest(comparison, _digest(duck))
        changes = RowChanges(found.plan, prefix, inserted, updated, deleted, digest)
        stage(
            duck, "SELECT identity FROM differing WHERE identity IS NOT NULL ORDER BY identity", scratch, changes.sent
        )
        stage(duck, "SELECT part, place FROM differing WHERE place IS NOT NULL", scratch, changes.gone)
    return replace(changes, seconds=time.monotonic() - started)


def _digest(duck: duckdb.DuckDBPyConnection) -> Digest:
    """Return the digest of the source's rows."""
    sums = duck.execute(
        "SELECT bucket, count(*), sum(row_hash)::VARCHAR FROM source_rows GROUP BY bucket ORDER BY bucket"
    ).fetchall()
    return Digest(tuple((bucket, rows, int(hash_sum)) for bucket, rows, hash_sum in sums))


def _of_sent(found: Surveyed, batch_bytes: int) -> Comparison:
    """
    Return the comparison of the columns that are sent. The target computes the others from these.

    In the forms of the last run, every row that has not changed has the same form on both sides.
    """
    table = found.plan
    earlier = found.comparison or Comparison(
        table.source, table.target, table.pairs, found.check.table_size, batch_bytes
    )
    return replace(
        earlier,
        source=table.source,
        pairs=earlier.pairs[: len(table.columns)],
        table_size=found.check.table_size,
    )


def _narrow(comparison: Comparison, side: Side, columns: str) -> str:
    """Return SQL for the hash and the key of each of ``rows_read``, with further ``columns``."""
    sql = hashes(side.forms, comparison)
    keys = "".join(f", {side.forms[place]} AS k{i}" for i, place in enumerate(comparison.key))
    return f"SELECT {sql.row} AS row_hash{keys}, {columns} FROM rows_read"


def _joined(comparison: Comparison) -> str:
    """Return SQL for the places of rows that differ: by their key, or without a key, equal rows by their number."""
    columns = "s.identity AS identity, t.part AS part, t.place AS place"
    if comparison.key:
        on = " AND ".join(f"s.k{i} IS NOT DISTINCT FROM t.k{i}" for i in range(len(comparison.key)))
        return (
            f"SELECT {columns} FROM source_rows s FULL OUTER JOIN target_rows t ON {on} "
            "WHERE s.row_hash IS DISTINCT FROM t.row_hash"
        )
    numbered = "(SELECT *, row_number() OVER (PARTITION BY row_hash) AS number FROM {table})"
    return (
        f"SELECT {columns} FROM {numbered.format(table='source_rows')} s "
        f"FULL OUTER JOIN {numbered.format(table='target_rows')} t "
        "ON s.row_hash = t.row_hash AND s.number = t.number WHERE s.row_hash IS NULL OR t.row_hash IS NULL"
    )


def only(table: SourceTable, rows: str) -> SourceTable:
    """Return the source table, from which only the rows are read whose identities are in the scratch table ``rows``."""
    condition = f"{identity_of(table)} IN (SELECT identity FROM {rows})"
    conditions = filter(None, (table.selection.not_dropped, condition))
    selection = replace(table.selection, not_dropped=" AND ".join(conditions))
    return replace(table, selection=selection)


def in_schema(schema: str, name: str) -> str:
    """Return the name of a scratch table as it stands in a statement of SQLite's."""
    return f"{quote_sqlite(schema)}.{quote_sqlite(name)}"
