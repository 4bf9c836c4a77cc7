"""bytea. BLOBs go byte for byte; text found in such a column goes as its bytes."""

import pgpq.encoders

from migrator.source.scan import StorageClass
from migrator.sql.utf8 import IS_UTF16, utf8_bytes
from migrator.target.schema import TargetColumn
from migrator.types.family import Family, first, no_number, one_lane, stored_as
from migrator.types.problem import Problem


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse numbers, whose bytes would be a matter of taste."""
    return (stored_as(expression, StorageClass.BLOB, StorageClass.TEXT),)


BLOBS = Family(
    "blobs",
    frozenset({"bytea"}),
    scan_columns=one_lane(StorageClass.BLOB, utf8_bytes("{0}")),
    problems=problems,
    convert=first,
    encoder=pgpq.encoders.BinaryEncoderBuilder,
    as_text=Family(
        "blobs",
        frozenset(),
        # PostgreSQL, "bytea Hex Format". SQLite writes the digits, since Arrow has no such kernel.
        scan_columns=one_lane(
            StorageClass.TEXT, f"CASE WHEN {{0}} IS NOT NULL THEN '\\x' || hex({utf8_bytes('{0}')}) END"
        ),
        problems=problems,
        convert=first,
        encoder=None,
    ),
    fast=Family(
        "blobs",
        frozenset(),
        scan_columns=one_lane(
            StorageClass.BLOB, f"iif({IS_UTF16}, {utf8_bytes('{0}')}, {{0}})"
        ),  # gives the bytes of text too
        problems=no_number,
        convert=first,
        encoder=pgpq.encoders.BinaryEncoderBuilder,
    ),
)
