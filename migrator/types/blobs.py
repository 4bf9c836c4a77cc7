"""bytea. BLOBs are sent byte for byte; text in a source column is sent as its bytes."""

import pgpq.encoders

from migrator.source.scan import StorageClass
from migrator.sql.utf8 import IS_UTF16, utf8_bytes
from migrator.target.schema import TargetColumn
from migrator.types.family import TypeFamily, one_column, only_array, problems_if_number, stored_as
from migrator.types.problem import Problem


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse numbers: a number can be written as bytes in several ways."""
    return (stored_as(expression, StorageClass.BLOB, StorageClass.TEXT),)


BLOBS = TypeFamily(
    "blobs",
    frozenset({"bytea"}),
    scan_columns=one_column(StorageClass.BLOB, utf8_bytes("{0}")),
    problems=problems,
    convert=only_array,
    encoder=pgpq.encoders.BinaryEncoderBuilder,
    as_text=TypeFamily(
        "blobs",
        frozenset(),
        # PostgreSQL, "bytea Hex Format". SQLite writes the hexadecimal digits, since Arrow has no function for that.
        scan_columns=one_column(
            StorageClass.TEXT, f"CASE WHEN {{0}} IS NOT NULL THEN '\\x' || hex({utf8_bytes('{0}')}) END"
        ),
        problems=problems,
        convert=only_array,
        encoder=None,
    ),
    fast=TypeFamily(
        "blobs",
        frozenset(),
        scan_columns=one_column(
            StorageClass.BLOB, f"iif({IS_UTF16}, {utf8_bytes('{0}')}, {{0}})"
        ),  # reads the bytes of text too
        problems=problems_if_number,
        convert=only_array,
        encoder=pgpq.encoders.BinaryEncoderBuilder,
    ),
)
