"""
Finds out, by a hash join in DuckDB, that every reference of a foreign key has its row in the parent.

SQLite looks every reference up in a list of the parent's keys that it has sorted before: 3 µs a row where the keys are
text in no order, such as UUIDs. The join takes an eighth of that. It only ever says that nothing is missing; where
something is, SQLite's look-up finds the rows. Both compare the same SQL, byte by byte. References to integers stay with
SQLite, which finds them in the parent's own tree.
"""

import threading
from collections.abc import Iterator, Sequence
from functools import cache

import duckdb
import pyarrow as pa
from msgspec import Struct

from migrator.planning.equality import equality_key
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.source.batches import ScanRequest, scan
from migrator.source.scan import ScanColumn, ScanSession, StorageClass
from migrator.source.size import TableSize
from migrator.verification import digest
from migrator.verification.comparison import stream

_TEXTS = frozenset({"text", "varchar", "bpchar", "citext", "name"})

_KINDS = (_TEXTS, frozenset({"uuid"}), frozenset({"bytea"}))
"""Types whose keys are compared byte by byte. Keys of two kinds are never equal to SQLite."""

_FEW_REFERENCES = 50_000
"""Below this number of rows nothing is gained."""

_MEMORY = "128MB"
"""The room for the keys of all parents at a time, about a million; with more keys, SQLite looks them up."""


_USUAL_BYTES = 100

_MOST_BYTES = 1_000
"""The longest part of a key that is compared here, so that memory is bounded."""

_TOO_LONG = f"zeroblob({_MOST_BYTES + 1})"


class Reference(Struct, frozen=True):
    """The columns of a foreign key, and the columns of the parent to which they refer."""

    parent: TablePlan
    children: tuple[ColumnPlan, ...]
    parents: tuple[ColumnPlan, ...]
    whole: bool
    """Whether the key is MATCH FULL, which refuses a reference of which only a part is NULL."""


def all_are_there(
    session: ScanSession, table: TablePlan, reference: Reference, table_size: TableSize, batch_bytes: int
) -> bool:
    """
    Return whether it is certain that every row that the rows of ``table`` refer to is there.

    False also where a look-up is as fast, or the keys take too much memory. ``table_size`` is the size of ``table``,
    and ``batch_bytes`` the size of a record batch. Blocks while both tables are read. Raises SourceUnreadable.
    """
    pairs = zip(reference.children, reference.parents, strict=True)
    same_kind = all(any({c.target.type_name, p.target.type_name} <= kind for kind in _KINDS) for c, p in pairs)
    if not same_kind or table_size.rows < _FEW_REFERENCES or (reference.whole and len(reference.children) > 1):
        return False
    names = [f"c{place}" for place in range(len(reference.children))]
    size = TableSize(table.name, table_size.rows, table_size.rows * _USUAL_BYTES, _MOST_BYTES * len(names))
    # Two keys that are too long are not compared: a reference that is too long counts as missing.
    referring = ScanRequest(table.source, _keys(reference.children, _TOO_LONG), size, batch_bytes)
    referred = ScanRequest(reference.parent.source, _keys(reference.parents, "NULL"), size, batch_bytes)
    schema = pa.schema([(name, pa.binary()) for name in names])
    present = " AND ".join(f"child.{name} IS NOT NULL" for name in names)
    equal = " AND ".join(f"child.{name} = parent.{name}" for name in names)
    try:
        with (
            _database().cursor() as connection,
            stream(schema, _keys_of(session, referring, schema)) as children,
            stream(schema, _keys_of(session, referred, schema)) as parents,
        ):
            connection.register("children_read", children)
            connection.register("parents_read", parents)
            [(missing,)] = connection.execute(
                f"SELECT count(*) FROM children_read child ANTI JOIN parents_read parent ON {equal} WHERE {present}"
            ).fetchall()
    except duckdb.Error:
        return False
    return bool(missing == 0)


def _keys(columns: Sequence[ColumnPlan], too_long: str) -> list[ScanColumn]:
    """Return the scan columns of a key's bytes; ``too_long`` is the SQL in the place of a part that is too long."""
    keys = [equality_key(column) for column in columns]
    return [
        ScanColumn(f"iif(octet_length({key}) > {_MOST_BYTES}, {too_long}, CAST({key} AS BLOB))", StorageClass.BLOB)
        for key in keys
    ]


def _keys_of(session: ScanSession, request: ScanRequest, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in scan(session, request):
        yield pa.record_batch(batch.columns, schema=schema)


def _database() -> duckdb.DuckDBPyConnection:
    """Return the process's database for joins, whose memory all joins share."""
    with _OPENING:
        return _opened_once()


_OPENING = threading.Lock()


@cache
def _opened_once() -> duckdb.DuckDBPyConnection:
    database = digest.opened(":memory:", {"memory_limit": _MEMORY, "temp_directory": ""})
    # The parent's keys are kept, the references pass by. DuckDB knows the number of neither, and might exchange them.
    database.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    return database
