"""
Finds which rows of a table were changed in PostgreSQL since the migration: by hashes, without their values.

Of each row of both sides, three numbers are stored in DuckDB: the hash of its key, the hash of the whole row,
and where the row is. A join by the key's hash tells which rows were changed, added and deleted. So the memory and the
disk that this takes depend on the number of rows, and not on how wide they are.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import duckdb
import pyarrow as pa
from msgspec import Struct

from migrator.rollback.scratch import Scratch
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.source.database import Source
from migrator.source.scan import StorageClass
from migrator.target.schema import TargetTable
from migrator.verification.canonical import Side
from migrator.verification.comparison import Comparison, Databases, identity_column, source_rows, target_rows
from migrator.verification.digest import hashes, opened_in_memory

SAMPLE = 1_000
"""The number of unchanged rows, the newest of those that were read, from which the forms are learnt; and of changed."""

_MEGABYTES = 64
"""The memory for the hashes of one table. What doesn't fit goes to temporary files."""


class Sides(Struct, frozen=True):
    """The source, and a session of the target in which all that is read of a table sees the same moment."""

    source: Source
    address: TargetAddress
    reader: ReadOnlySession


@contextmanager
def both(databases: Databases) -> Iterator[Sides]:
    """Open a session of the target. Raises the errors of opening it."""
    with ReadOnlySession(databases.target) as reader:
        yield Sides(databases.source, databases.target, reader)


def place_in(table: TargetTable) -> tuple[str, str]:
    """
    Return PostgreSQL's SQL for where a row of the target is, as the column ``place``, and DuckDB's for its number.

    It is the row's ``ctid``, which doesn't change while a transaction sees the row. In a partitioned table, each
    partition has its own; there the number is a hash.
    """
    if table.partitioned:
        return "hashtextextended(tableoid::text || ctid::text, 0) AS place", "place"
    # Four bytes for the block and two for the item (PostgreSQL, ``tidsend``): their text would take the server as long
    # as the rest of a narrow row.
    return "ctid AS place", "('0x' || hex(place))::BIGINT"


_ITEMS = 1 << 16
"""Above the number of rows in a block (PostgreSQL, "Database Page Layout")."""


def spelled(place: int) -> str:
    """Return the ``ctid`` of a place."""
    return f"({place // _ITEMS},{place % _ITEMS})"


class Found(Struct, frozen=True):
    """The numbers of rows that were changed, added and deleted."""

    changed: int
    added: int
    deleted: int


def find_changed_rows(sides: Sides, comparison: Comparison, scratch: Scratch) -> Found:
    """
    Find the rows that only one side has, and write where they are into the scratch databases.

    The scratch tables are ``deleted`` (identity), ``changed`` (identity, place), ``added`` (place), and ``sample``
    (identity, place), which has the newest of the rows that nobody has changed, and of the changed ones. Blocks, and
    needs disk space for three numbers a row. Raises the errors of reading either side.
    """
    kind = "BIGINT" if identity_column(comparison.source).storage is StorageClass.INTEGER else "VARCHAR"
    with opened_in_memory(_MEGABYTES) as duck:
        duck.execute(f"CREATE TABLE source_hashes (key_hash UBIGINT, row_hash UBIGINT, identity {kind})")
        duck.execute("CREATE TABLE target_hashes (key_hash UBIGINT, row_hash UBIGINT, place BIGINT)")
        with ThreadPoolExecutor(2) as pool:  # while the server reads its rows, the source's are hashed
            for read in [pool.submit(side, duck, sides, comparison) for side in (_read_source, _read_target)]:
                read.result()
        duck.execute(f"CREATE TABLE pairs AS {_differing(comparison)}")
        key = f"identity {'INTEGER' if kind == 'BIGINT' else 'TEXT'}"
        scratch.fill("sample", (key, "place"), duck, _SAMPLED)
        paired = "identity IS NOT NULL AND place IS NOT NULL"
        return Found(
            scratch.fill(
                "changed", (key, "place"), duck, f"SELECT identity, place FROM pairs WHERE {paired} ORDER BY identity"
            ),
            scratch.fill(
                *("added", ("place INTEGER",), duck),
                "SELECT place FROM pairs WHERE identity IS NULL ORDER BY place",
            ),
            scratch.fill("deleted", (key,), duck, "SELECT identity FROM pairs WHERE place IS NULL ORDER BY identity"),
        )


_SAMPLED = f"""
WITH same AS (
    SELECT * FROM source_hashes WHERE identity NOT IN (SELECT identity FROM pairs WHERE identity IS NOT NULL)
    ORDER BY identity DESC LIMIT {SAMPLE}
)
SELECT identity, any_value(place) AS place FROM (
    SELECT identity, place FROM same JOIN target_hashes USING (key_hash, row_hash)
    UNION ALL
    (SELECT identity, place FROM pairs WHERE identity IS NOT NULL AND place IS NOT NULL
     ORDER BY identity DESC LIMIT {SAMPLE})
) GROUP BY identity ORDER BY identity
"""


def _read_source(duck: duckdb.DuckDBPyConnection, sides: Sides, comparison: Comparison) -> None:
    """Store the hashes and the identity of each row of the source."""
    further = (identity_column(comparison.source),)
    with sides.source.session() as scan, source_rows(scan, sides.address, comparison, further=further) as rows:
        own = f"c{len(comparison.scan_columns)}"
        _store(duck, "source_hashes", rows, _hashed(comparison, comparison.source_side, own))


def _read_target(duck: duckdb.DuckDBPyConnection, sides: Sides, comparison: Comparison) -> None:
    """Store the hashes and the place of each row of the target."""
    place, number = place_in(comparison.target)
    with target_rows(sides.reader, comparison, further=(place,)) as rows:
        _store(duck, "target_hashes", rows, _hashed(comparison, comparison.target_side, number))


def _hashed(comparison: Comparison, side: Side, where_it_is: str) -> str:
    """Return SQL for the hashes of the rows of ``rows_read``."""
    sql = hashes(side.forms, comparison)
    return f"SELECT {sql.key}, {sql.row}, {where_it_is} FROM rows_read"


def _store(duck: duckdb.DuckDBPyConnection, table: str, rows: pa.RecordBatchReader, selected: str) -> None:
    with duck.cursor() as cursor:
        cursor.register("rows_read", rows)
        cursor.execute(f"INSERT INTO {table} {selected}")


def _differing(comparison: Comparison) -> str:
    """Return SQL for the rows that differ: by their key, or in a table without a key, equal rows by number."""
    if comparison.key:
        return (
            "SELECT identity, place FROM source_hashes s FULL OUTER JOIN target_hashes t USING (key_hash) "
            "WHERE s.row_hash IS DISTINCT FROM t.row_hash"
        )
    numbered = "(SELECT *, row_number() OVER (PARTITION BY row_hash ORDER BY {order}) AS number FROM {table})"
    source = numbered.format(order="identity", table="source_hashes")
    target = numbered.format(order="place", table="target_hashes")
    return (
        f"SELECT identity, place FROM {source} s FULL OUTER JOIN {target} t USING (row_hash, number) "
        "WHERE identity IS NULL OR place IS NULL"
    )
