"""
Describes how a source table was digested, so that a later run can compute the same digest without the target.

So a later run can tell whether rows have changed, or only the file around them. The target can't help: once the
application uses it, its tables may have other columns and other types. The ledger keeps the description.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import Any, Final, Self

import duckdb
import pyarrow as pa
from msgspec import Struct

from migrator.ledger.carried import Recorded
from migrator.names import TableName
from migrator.source.aggregates import added_up, answers
from migrator.source.batches import ScanRequest, scan
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.scan import ScanColumn, ScanSession, StorageClass
from migrator.source.schema import SourceTable
from migrator.source.size import TableSize
from migrator.verification import digest as verification_digest
from migrator.verification.canonical import DOCUMENT_MACROS, VALUE_MACROS, macros
from migrator.verification.comparison import Comparison, stream
from migrator.verification.digest import Digest


class Recipe(Struct, frozen=True):
    """Everything that a digest of a source table depends on. A digest depends neither on chunks nor on settings."""

    scan_columns: tuple[ScanColumn, ...]
    forms: tuple[str, ...]
    """DuckDB's SQL for each form. It names the scan columns ``c0``, ``c1``, …"""
    key: tuple[int, ...]
    """The places in ``forms`` of the columns that decide a row's bucket."""
    buckets: int
    reader: str
    """The version of the code that computes forms and hashes. Digests of different versions can't be compared."""

    @classmethod
    def of(cls, comparison: Comparison) -> Self:
        """Return the recipe of a comparison's source. Types that only the server can read are digested as text."""
        return cls(comparison.scan_columns, comparison.source_side.forms, comparison.key, comparison.buckets, reader())

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON for the ledger; ``lanes`` are the scan columns."""
        return {
            "lanes": [[column.expression, str(column.storage)] for column in self.scan_columns],
            "forms": list(self.forms),
            "key": list(self.key),
            "buckets": self.buckets,
            "reader": self.reader,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the recipe from ``record``, which ``to_json`` returned."""
        scan_columns = tuple(ScanColumn(expression, StorageClass(storage)) for expression, storage in record["lanes"])
        return cls(scan_columns, tuple(record["forms"]), tuple(record["key"]), record["buckets"], record["reader"])

    def digest(self, session: ScanSession, table: SourceTable, size: "Size", chunk: Chunk = WHOLE_TABLE) -> Digest:
        """
        Return the digest of a chunk of the table as it is now. Blocks while the chunk is scanned.

        Raises SourceUnreadable, and ``duckdb.Error`` for a value that the form of its column can't read.
        """
        schema = pa.schema([(f"c{place}", column.arrow_type) for place, column in enumerate(self.scan_columns)])
        where = chunk.where(table)
        batches = scan(session, ScanRequest(table, self.scan_columns, size.table_size, size.batch_bytes, where))
        rows = (pa.record_batch(batch.columns, schema=schema) for batch in batches)
        hashes = verification_digest.hashes_of(self.forms, self.key, self.buckets)
        with stream(schema, rows) as reader:
            return verification_digest.of_rows(reader, hashes)


def recorded(comparison: Comparison, digest: Digest) -> Recorded:
    """Return the ``digest`` of a source table as the ledger keeps it, with the recipe of its ``comparison``."""
    return Recorded(Recipe.of(comparison).to_json(), digest.hexadecimal(), digest.rows)


class Size(Struct, frozen=True):
    """The size of a table, and the size of the batches in which it is read."""

    table_size: TableSize
    batch_bytes: int


def size_of(session: ScanSession, table: SourceTable, batch_bytes: int) -> Size:
    """Return the size of a source table, which SQLite computes. Blocks. Raises SourceUnreadable."""
    width = added_up([f"coalesce(octet_length({column.quoted}), 0)" for column in table.columns if not column.missing])
    questions = ["count(*)", f"CAST(sum({width}) AS INTEGER)", f"max({width})"]
    rows, size, widest = answers(session, table, questions)
    return Size(TableSize(TableName("main", table.name), rows, size or 0, widest or 0), batch_bytes)


_ALIKE: Final = frozenset({"3ad33349121eb414"})
"""The versions before this one that compute the same digests: with DuckDB 2.0.0, which sorts the keys of JSON itself.
A test compares digests of that version with this one's."""


def can_repeat(record: Mapping[str, Any]) -> bool:
    """Return whether a recipe's digest can be computed again; ``record`` is the recipe from ``to_json``."""
    return record["reader"] in {reader(), *_ALIKE}


@cache
def reader() -> str:
    """Return the version of the code that computes forms and hashes: a hash of the macros and of DuckDB's version."""
    forms = macros(VALUE_MACROS, DOCUMENT_MACROS)
    return sha256(f"{duckdb.__version__} \n{forms}\n".encode()).hexdigest()[:16]
