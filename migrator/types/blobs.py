"""bytea. BLOBs are sent byte for byte; text in a source column is sent as its bytes."""

import pgpq.encoders

from migrator.source.scan import StorageClass
from migrator.sql.utf8 import IS_UTF16, utf8_bytes
from migrator.target.schema import TargetColumn
from migrator.types.family import TypeFamily, one_column, only_array, stored_as
from migrator.types.problem import Problem, ProblemCode


def fast_problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse numbers, whose digits would be read, and text in a file in UTF-16, whose bytes would be UTF-16."""
    # Every number sorts before every text, and every text before every BLOB (SQLite, "Datatypes In SQLite", 4.1).
    unwanted = f"{expression} < iif({IS_UTF16}, x'', '')"
    return (Problem(ProblemCode.WRONG_STORAGE_CLASS, "is not stored as BLOB or TEXT", unwanted),)


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
        scan_columns=one_column(StorageClass.BLOB),  # reads the bytes of text too
        problems=fast_problems,
        convert=only_array,
        encoder=pgpq.encoders.BinaryEncoderBuilder,
        proof=lambda _column: "",
    ),
)
