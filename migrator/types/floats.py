"""real, double precision. SQLite's REAL is a double; a ``real`` column takes it only if no digit is lost."""

from collections.abc import Sequence

import pgpq.encoders
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.family import (
    TypeFamily,
    check_integers_survive,
    no_problems,
    one_column,
    proof_that_integers_survive,
    stored_as,
)
from migrator.types.problem import ConversionError, Problem, ProblemCode

_LARGEST_DOUBLE = 2**63 - 2**10
"""The largest double below SQLite's largest integer."""


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse values that are not numbers, and integers that no double holds exactly."""
    return (
        stored_as(expression, StorageClass.INTEGER, StorageClass.REAL),
        Problem(
            ProblemCode.INEXACT,
            "is an integer that no double holds exactly",
            # SQLite casts every larger double to its largest integer. So that integer would seem to survive the cast.
            f"typeof({expression}) = 'integer' AND (CAST(CAST({expression} AS REAL) AS INTEGER) <> {expression} "
            f"OR {expression} > {_LARGEST_DOUBLE})",
        ),
    )


def convert(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return doubles, or float32 where the target is ``real``. Raises ConversionError if float32 changes a value."""
    doubles = arrays[0]
    if column.type_name == "float8":
        return doubles
    singles = pc.cast(doubles, pa.float32(), safe=False)
    survives = pc.or_(pc.equal(pc.cast(singles, pa.float64()), doubles), pc.is_nan(doubles))
    if pc.all(survives).as_py() is False:
        raise ConversionError(ProblemCode.INEXACT, "loses digits in a 4-byte real")
    return singles


def convert_fast(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Convert doubles as they are stored. Raises ConversionError for doubles that may have been other integers."""
    check_integers_survive(arrays[0])
    return convert(arrays, column)


def proof(column: TargetColumn) -> str:
    """Return the condition of doubles that ``convert_fast`` takes."""
    survive = proof_that_integers_survive(column)
    return survive if column.type_name == "float8" else f"{survive} AND {{0}}::FLOAT::DOUBLE = {{0}}"


def encoder(field: pa.Field) -> object:
    """Return the encoder of the field's width."""
    is_double = field.type == pa.float64()
    return (pgpq.encoders.Float64EncoderBuilder if is_double else pgpq.encoders.Float32EncoderBuilder)(field)


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
    fast=replace(
        _FLOATS,
        scan_columns=one_column(StorageClass.REAL),
        problems=no_problems,
        convert=convert_fast,
        proof=proof,
    ),
)
