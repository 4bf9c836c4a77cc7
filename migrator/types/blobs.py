"""bytea. BLOBs go byte for byte; text found in such a column goes as its bytes."""

import pgpq.encoders

from migrator.scanning import StorageClass
from migrator.target import TargetColumn
from migrator.types.family import Family, Refusal, first, no_number, one_lane, stored_as


def refusals(expression: str, _column: TargetColumn) -> tuple[Refusal, ...]:
    """Refuse numbers, whose bytes would be a matter of taste."""
    return (stored_as(expression, StorageClass.BLOB, StorageClass.TEXT),)


BLOBS = Family(
    "blobs",
    frozenset({"bytea"}),
    lanes=one_lane(StorageClass.BLOB, "CAST({} AS BLOB)"),
    refusals=refusals,
    convert=first,
    encoder=pgpq.encoders.BinaryEncoderBuilder,
    as_text=Family(
        "blobs",
        frozenset(),
        # PostgreSQL, "bytea Hex Format". SQLite writes the digits, since Arrow has no such kernel.
        lanes=one_lane(StorageClass.TEXT, "CASE WHEN {0} IS NOT NULL THEN '\\x' || hex(CAST({0} AS BLOB)) END"),
        refusals=refusals,
        convert=first,
        encoder=None,
    ),
    plain=Family(
        "blobs",
        frozenset(),
        lanes=one_lane(StorageClass.BLOB),  # gives the bytes of text too
        refusals=no_number,
        convert=first,
        encoder=pgpq.encoders.BinaryEncoderBuilder,
    ),
)
