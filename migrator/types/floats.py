"""real, double precision. SQLite's REAL is a double; a ``real`` target takes it only if nothing is lost."""

from collections.abc import Sequence
from dataclasses import replace

import pgpq.encoders
import pyarrow as pa
import pyarrow.compute as pc

from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.family import Family, nothing_hidden, one_lane, stored_as, survive_as_doubles
from migrator.types.problem import ConversionError, Problem, ProblemCode

_LARGEST_DOUBLE = 2**63 - 2**10
"""The last double below SQLite's last integer."""


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse what is no number, and integers that no double holds."""
    return (
        stored_as(expression, StorageClass.INTEGER, StorageClass.REAL),
        Problem(
            ProblemCode.INEXACT,
            "is an integer that no double holds exactly",
            # SQLite's way back from a double stops at the last integer, which so would seem to survive.
            f"typeof({expression}) = 'integer' AND (CAST(CAST({expression} AS REAL) AS INTEGER) <> {expression} "
            f"OR {expression} > {_LARGEST_DOUBLE})",
        ),
    )


def convert(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return doubles, or float32 where the target is ``real``; raises ConversionError if one is changed by that."""
    doubles = arrays[0]
    if column.type_name == "float8":
        return doubles
    narrow = pc.cast(doubles, pa.float32(), safe=False)
    survives = pc.or_(pc.equal(pc.cast(narrow, pa.float64()), doubles), pc.is_nan(doubles))
    if pc.all(survives).as_py() is False:
        raise ConversionError(ProblemCode.INEXACT, "loses digits in a 4-byte real")
    return narrow


def convert_plain(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Do as ``convert`` does with a column as it is stored; raises ConversionError for more than it can be sure of."""
    survive_as_doubles(arrays[0])
    return convert(arrays, column)


def encoder(field: pa.Field) -> object:
    """Return the encoder of the field's width."""
    wide = field.type == pa.float64()
    return (pgpq.encoders.Float64EncoderBuilder if wide else pgpq.encoders.Float32EncoderBuilder)(field)


_FLOATS = Family(
    "floats",
    frozenset({"float4", "float8"}),
    scan_columns=one_lane(StorageClass.REAL, "CAST({} AS REAL)"),
    problems=problems,
    convert=convert,
    encoder=encoder,
    reads_content=True,
)
FLOATS = replace(
    _FLOATS,
    fast=replace(_FLOATS, scan_columns=one_lane(StorageClass.REAL), problems=nothing_hidden, convert=convert_plain),
)
