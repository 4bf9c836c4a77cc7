"""real, double precision. SQLite's REAL is a double; a ``real`` target takes it only if nothing is lost."""

from collections.abc import Sequence
from dataclasses import replace

import pgpq.encoders
import pyarrow as pa
import pyarrow.compute as pc

from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.family import TypeFamily, check_integers_survive, no_problems, one_column, stored_as
from migrator.types.problem import ConversionError, Problem, ProblemCode

_LARGEST_DOUBLE = 2**63 - 2**10
"""The largest double below SQLite's largest integer."""


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse what is no number, and integers that no double holds."""
    return (
        stored_as(expression, StorageClass.INTEGER, StorageClass.REAL),
        Problem(
            ProblemCode.INEXACT,
            "is an integer that no double holds exactly",
            # SQLite casts larger doubles to its largest integer, which therefore would seem to survive.
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


def convert_fast(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Convert doubles as they are stored; raises ConversionError for numbers that may have been other integers."""
    check_integers_survive(arrays[0])
    return convert(arrays, column)


def encoder(field: pa.Field) -> object:
    """Return the encoder of the field's width."""
    wide = field.type == pa.float64()
    return (pgpq.encoders.Float64EncoderBuilder if wide else pgpq.encoders.Float32EncoderBuilder)(field)


_FLOATS = TypeFamily(
    "floats",
    frozenset({"float4", "float8"}),
    scan_columns=one_column(StorageClass.REAL, "CAST({} AS REAL)"),
    problems=problems,
    convert=convert,
    encoder=encoder,
    reads_content=True,
)
FLOATS = replace(
    _FLOATS,
    fast=replace(_FLOATS, scan_columns=one_column(StorageClass.REAL), problems=no_problems, convert=convert_fast),
)
