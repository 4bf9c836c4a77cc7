"""
How a source table was digested, in a form that the ledger keeps: the same digest can be made again without the target.

That is how a later run tells rows that have changed from a file that merely looks changed. The target can't help there:
once the application has taken over, its tables may have other columns and other types.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Self

import duckdb
import pyarrow as pa

from migrator.ledger.carried import Recorded
from migrator.names import TableName
from migrator.source.aggregates import added_up, answers
from migrator.source.batches import ScanRequest, scan
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.scan import ScanColumn, ScanSession, StorageClass
from migrator.source.schema import SourceTable
from migrator.source.size import Profile
from migrator.verification import digest as verification_digest
from migrator.verification.canonical import MACROS, source_side
from migrator.verification.comparison import Comparison, outspoken
from migrator.verification.digest import Digest


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a digest of a source table was made of. It doesn't depend on how the table was cut, nor on any setting."""

    scan_columns: tuple[ScanColumn, ...]
    forms: tuple[str, ...]
    """DuckDB's SQL over ``c0``, ``c1``, …: the lanes."""
    key: tuple[int, ...]
    buckets: int
    reader: str
    """What computes the forms and the hashes; another version's can't be compared."""

    @classmethod
    def of(cls, comparison: Comparison) -> Self:
        """Return what a comparison makes of the source's rows; of types that only the server reads, their text."""
        forms = source_side(comparison.readings).forms
        return cls(comparison.scan_columns, forms, comparison.key, comparison.buckets, reader())

    def to_json(self) -> dict[str, Any]:
        """Return it for the ledger."""
        return {
            "lanes": [[lane.expression, str(lane.storage)] for lane in self.scan_columns],
            "forms": list(self.forms),
            "key": list(self.key),
            "buckets": self.buckets,
            "reader": self.reader,
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """Return what ``to_json`` made of it."""
        scan_columns = tuple(ScanColumn(expression, StorageClass(storage)) for expression, storage in given["lanes"])
        return cls(scan_columns, tuple(given["forms"]), tuple(given["key"]), given["buckets"], given["reader"])

    def digest(self, session: ScanSession, table: SourceTable, size: "Size", piece: Chunk = WHOLE_TABLE) -> Digest:
        """
        Return the digest of a piece of the table as it is now. Blocks while the piece is scanned.

        Raises SourceUnreadable, and ``duckdb.Error`` for a value that the forms of its column don't take.
        """
        schema = pa.schema([(f"c{i}", lane.arrow_type) for i, lane in enumerate(self.scan_columns)])
        where = piece.where(table)
        batches = scan(session, ScanRequest(table, self.scan_columns, size.profile, size.batch_bytes, where))
        rows = (pa.record_batch(batch.columns, schema=schema) for batch in batches)
        hashes = verification_digest.hashes_of(self.forms, self.key, self.buckets)
        with outspoken(schema, rows) as read:
            return verification_digest.of_rows(read, hashes)


def recorded(comparison: Comparison, found: Digest) -> Recorded:
    """Return a digest of the source as the ledger keeps it, with the recipe of the comparison that it was made for."""
    return Recorded(Recipe.of(comparison).to_json(), found.hexadecimal(), found.rows)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a table is, and the batches in which it is read."""

    profile: Profile
    batch_bytes: int


def size_of(session: ScanSession, table: SourceTable, batch_bytes: int) -> Size:
    """Return the size of a table of the source, which SQLite adds up. Blocks; raises SourceUnreadable."""
    width = added_up([f"coalesce(octet_length({column.quoted}), 0)" for column in table.columns if not column.missing])
    questions = ["count(*)", f"CAST(sum({width}) AS INTEGER)", f"max({width})"]
    rows, size, widest = answers(session, table, questions)
    return Size(Profile(TableName("main", table.name), rows, size or 0, widest or 0), batch_bytes)


@cache
def reader() -> str:
    """Return what tells this version's forms and hashes from another's."""
    return sha256(f"{duckdb.__version__} {MACROS}".encode()).hexdigest()[:16]
