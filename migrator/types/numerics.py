"""
numeric(p, s) up to 38 digits. SQLite has no decimals: it keeps integers, doubles, or the text an application wrote.

A double stands for the shortest decimal that reads back as the same double, which is what the application saw. Wider
and bare ``numeric`` have no Arrow type and go as text (``others``).
"""

from collections.abc import Sequence

import pgpq.encoders
import pyarrow as pa
import pyarrow.compute as pc

from migrator.source import StorageClass
from migrator.target import TargetColumn
from migrator.types.family import Family, Refusal, join_text_or_real, stored_as, text_or_real_lanes

ARROW_DIGITS = 38
"""What a Decimal128 holds."""


def fits_arrow(column: TargetColumn) -> bool:
    """Return whether every value of the column is a Decimal128 (PostgreSQL, "Arbitrary Precision Numbers")."""
    if column.precision is None or column.scale is None:
        return False
    return column.precision <= ARROW_DIGITS and 0 <= column.scale <= column.precision


def refusals(expression: str, _column: TargetColumn) -> tuple[Refusal, ...]:
    """Refuse BLOBs; whether digits fit is for ``convert`` to find."""
    return (stored_as(expression, StorageClass.INTEGER, StorageClass.REAL, StorageClass.TEXT),)


def convert(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return decimals of the target's precision and scale; Arrow raises where a digit would be lost."""
    return pc.cast(join_text_or_real(arrays), pa.decimal128(column.precision, column.scale))


NUMERICS = Family(
    "numerics",
    frozenset({"numeric"}),
    lanes=text_or_real_lanes,
    refusals=refusals,
    convert=convert,
    encoder=pgpq.encoders.Decimal128EncoderBuilder,
    reads_content=True,
)
