"""
Keeps the hash of each row of both sides, with the place where the row is, so that each side is read only once.

One reading gives a table's digest and, if that shows a difference, the rows that differ: nothing is read a second time
to find them. The hashes are kept in memory up to a limit, and beyond it in temporary files.
"""

from pathlib import Path
from threading import Lock

import duckdb
import pyarrow as pa
from msgspec import Struct

from migrator.names import TableName, quote_sqlite
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.scan import ScanSession, StorageClass
from migrator.source.schema import SourceTable
from migrator.verification.comparison import (
    ALL_BLOCKS,
    BlockRange,
    Comparison,
    identity_column,
    source_rows,
    target_rows,
)
from migrator.verification.digest import Digest, hashes, total
from migrator.verification.staging import stage

SIDES = ("source", "target")

_DUCKDB = {StorageClass.INTEGER: "BIGINT", StorageClass.TEXT: "VARCHAR"}

_PLACE = """
'(' || ('0x' || left(hex(place), 8))::BIGINT || ',' || ('0x' || right(hex(place), 4))::BIGINT || ')'
"""
"""A place as PostgreSQL reads it, of the bytes that it sends: block and number (PostgreSQL, ``tidsend``)."""


class Differing(Struct, frozen=True):
    """How many rows of a table differ, and the digests of the source's rows, of those that are sent and that go."""

    inserted: int
    updated: int
    deleted: int
    source: Digest
    sent: Digest
    gone: Digest


class RowHashes:
    """The hashes of the rows of several tables. Threads may use it at the same time, each for other tables."""

    def __init__(self, duck: duckdb.DuckDBPyConnection) -> None:
        self._duck = duck
        self._joining = Lock()

    def begin(self, side: str, comparison: Comparison) -> None:
        """Make room for the hashes of a ``side`` of a table, ``source`` or ``target``; forget what was kept of it."""
        # Threads that read chunks of the table at the same time could not create it.
        name = _kept(side, comparison.target.name)
        kind = _DUCKDB[identity_column(comparison.source).storage]
        places = f"identity {kind}" if side == "source" else "part BIGINT, place BLOB"
        with self._duck.cursor() as cursor:
            cursor.execute(f"CREATE OR REPLACE TABLE {name} (row_hash UBIGINT, key_hash UBIGINT, {places})")

    def forget(self, table: TableName) -> None:
        """Forget what is kept of both sides of a table."""
        with self._duck.cursor() as cursor:
            for side in SIDES:
                cursor.execute(f"DROP TABLE IF EXISTS {_kept(side, table)}")

    def has_both(self, table: TableName) -> bool:
        """Return whether both sides of a table were read."""
        names = [f"{side} {table.quoted}" for side in SIDES]
        with self._duck.cursor() as cursor:
            found = cursor.execute("SELECT count(*) FROM duckdb_tables() WHERE list_contains(?, table_name)", [names])
            return found.fetchall() == [(len(names),)]

    def read_source(
        self, session: ScanSession, address: TargetAddress, comparison: Comparison, chunk: Chunk = WHOLE_TABLE
    ) -> None:
        """Read a chunk of the source's table. Blocks. Raises SourceUnreadable and ``duckdb.Error``."""
        with source_rows(session, address, comparison, chunk, (identity_column(comparison.source),)) as reader:
            self._keep("source", comparison, reader, f"c{len(comparison.scan_columns)}")

    def read_target(self, session: ReadOnlySession, comparison: Comparison, blocks: BlockRange = ALL_BLOCKS) -> None:
        """Read some blocks of the target's table. Blocks. Raises the errors of the session, and ``duckdb.Error``."""
        # The text of a place would take the server as long as the rest of a narrow row: six bytes come instead.
        further = ("ctid AS place", *(("tableoid::bigint AS part",) if comparison.target.partitioned else ()))
        part = "part" if comparison.target.partitioned else "0"
        with target_rows(session, comparison, blocks, further) as reader:
            self._keep("target", comparison, reader, f"{part}, place")

    def _keep(self, side: str, comparison: Comparison, reader: pa.RecordBatchReader, places: str) -> None:
        forms = (comparison.source_side if side == "source" else comparison.target_side).forms
        sql = hashes(forms, comparison)
        with self._duck.cursor() as cursor:
            cursor.register("rows_read", reader)
            name = _kept(side, comparison.target.name)
            cursor.execute(f"INSERT INTO {name} SELECT {sql.row}, {sql.key}, {places} FROM rows_read")

    def digest(self, side: str, comparison: Comparison) -> Digest:
        """Return the digest of the rows that were read of a side, ``source`` or ``target``."""
        with self._duck.cursor() as cursor:
            return _digest(cursor, _kept(side, comparison.target.name), comparison)

    def share(self, comparison: Comparison) -> float:
        """Return the share of the source's rows that were read which the target lacks; 0 if none was read."""
        source, target = (_kept(side, comparison.target.name) for side in SIDES)
        with self._duck.cursor() as cursor:
            [(lacking, rows)] = cursor.execute(
                f"SELECT (SELECT count(*) FROM {source} ANTI JOIN {target} USING (row_hash)), "
                f"(SELECT count(*) FROM {source})"
            ).fetchall()
            return lacking / rows if rows else 0.0

    def differing(self, comparison: Comparison, scratch: Path, prefix: str) -> Differing | None:
        """
        Stage the places of the rows that differ in ``scratch``: ``sent`` of the source's, ``gone`` of the target's.

        Returns None if without the rows that are gone and with those that are sent, the target would not hold what the
        source holds: then rows can't be told apart by their hashes.
        """
        name = comparison.target.name
        # One table after the other: two joins at once would share the memory, and more of them would go to disk. And
        # only one connection may write to a database of SQLite's.
        with self._joining, self._duck.cursor() as cursor:
            cursor.execute(f"CREATE TEMP TABLE differing AS {_joined(comparison)}")
            cursor.execute(
                "CREATE TEMP TABLE sent AS SELECT s_row AS row_hash, s_key AS key_hash, identity "
                "FROM differing WHERE s_row IS NOT NULL"
            )
            cursor.execute(
                "CREATE TEMP TABLE gone AS SELECT t_row AS row_hash, t_key AS key_hash, part, place "
                "FROM differing WHERE t_row IS NOT NULL"
            )
            [(sent, gone, updated)] = cursor.execute(
                "SELECT (SELECT count(*) FROM sent), (SELECT count(*) FROM gone), "
                f"(SELECT count(*) FROM sent SEMI JOIN gone USING (key_hash) WHERE {bool(comparison.key)})"
            ).fetchall()
            source = _digest(cursor, _kept("source", name), comparison)
            coming, going = (_digest(cursor, table, comparison) for table in ("sent", "gone"))
            if not _leads_to(source, _digest(cursor, _kept("target", name), comparison), going, coming):
                return None
            stage(cursor, "SELECT identity FROM sent ORDER BY identity", scratch, f"{prefix} sent")
            stage(cursor, f"SELECT part, {_PLACE} AS place FROM gone", scratch, f"{prefix} gone")
        return Differing(sent - updated, updated, gone - updated, source, coming, going)


def has_places(table: SourceTable) -> bool:
    """Return whether the rows of a source table can be told apart, even if all their values are equal."""
    return table.rowid is not None or bool(table.key)


def _kept(side: str, table: TableName) -> str:
    return quote_sqlite(f"{side} {table.quoted}")


def _digest(cursor: duckdb.DuckDBPyConnection, table: str, comparison: Comparison) -> Digest:
    sums = cursor.execute(
        f"SELECT (key_hash % {comparison.buckets})::INTEGER AS bucket, count(*), sum(row_hash)::VARCHAR "
        f"FROM {table} GROUP BY bucket ORDER BY bucket"
    ).fetchall()
    return Digest(tuple((bucket, rows, int(hash_sum)) for bucket, rows, hash_sum in sums))


def _leads_to(source: Digest, target: Digest, going: Digest, coming: Digest) -> bool:
    """Return whether the target's digest becomes the source's, if some rows go and others come."""
    return total([target, coming]) == total([source, going])


def _joined(comparison: Comparison) -> str:
    """Return SQL for the rows of one side that the other lacks: by their hashes, and equal rows by their number."""
    source, target = (_kept(side, comparison.target.name) for side in SIDES)
    columns = (
        "s.row_hash AS s_row, s.key_hash AS s_key, identity, t.row_hash AS t_row, t.key_hash AS t_key, part, place"
    )
    on = "s.row_hash = t.row_hash"
    if not comparison.key:
        numbered = "(SELECT *, row_number() OVER (PARTITION BY row_hash) AS number FROM {})"
        source, target = numbered.format(source), numbered.format(target)
        on += " AND s.number = t.number"
    return (
        f"SELECT {columns} FROM {source} s FULL OUTER JOIN {target} t ON {on} "
        "WHERE s.row_hash IS NULL OR t.row_hash IS NULL"
    )
