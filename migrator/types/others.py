"""
Every other type: arrays, inet, ranges, tsvector, hstore, interval, bare numeric, … They have no binary encoder here.

The table goes by COPY text, and PostgreSQL's own input function reads the value.
"""

from collections.abc import Sequence

import pyarrow as pa

from migrator.source import StorageClass
from migrator.target import TargetColumn
from migrator.types.family import Family, Refusal, join_text_or_real, stored_as, text_or_real_lanes
from migrator.types.texts import convert as check_text


def refusals(expression: str, _column: TargetColumn) -> tuple[Refusal, ...]:
    """Refuse BLOBs: no type here has a text form that is arbitrary bytes."""
    return (stored_as(expression, StorageClass.TEXT, StorageClass.INTEGER, StorageClass.REAL),)


def convert(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return the text; raises for invalid UTF-8 and NUL."""
    return check_text((join_text_or_real(arrays),), column)


OTHERS = Family(
    "others",
    frozenset(),
    lanes=text_or_real_lanes,
    refusals=refusals,
    convert=convert,
    encoder=None,
    reads_content=True,
)
