"""smallint, integer, bigint. SQLite keeps 64 bits in every INTEGER; the target's column may be narrower."""

from collections.abc import Sequence

import pgpq.encoders
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.family import TypeFamily, no_problems, one_column, stored_as
from migrator.types.problem import Problem, ProblemCode

_ARROW = {"int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64()}
_BITS = {"int2": 16, "int4": 32, "int8": 64}
_ENCODERS = {
    pa.int16(): pgpq.encoders.Int16EncoderBuilder,
    pa.int32(): pgpq.encoders.Int32EncoderBuilder,
    pa.int64(): pgpq.encoders.Int64EncoderBuilder,
}


def problems(expression: str, column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse values that are not integers, and integers beyond the target's range (PostgreSQL, "Integer Types")."""
    bits = _BITS[column.type_name]
    if bits == 64:  # noqa: PLR2004 - SQLite's own width: no value is beyond it
        return (stored_as(expression, StorageClass.INTEGER),)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return (
        stored_as(expression, StorageClass.INTEGER),
        Problem(
            ProblemCode.OUT_OF_RANGE,
            f"is beyond {column.declared} ({low} to {high})",
            f"typeof({expression}) = 'integer' AND {expression} NOT BETWEEN {low} AND {high}",
        ),
    )


def convert(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return integers of the target's width. Raises ``pa.ArrowInvalid`` for a value out of range."""
    return pc.cast(arrays[0], _ARROW[column.type_name])


def proof(column: TargetColumn) -> str:
    """Return the condition of integers in the target's range."""
    bits = _BITS[column.type_name]
    return "" if bits == 64 else f"{{0}} BETWEEN {-(2 ** (bits - 1))} AND {2 ** (bits - 1) - 1}"  # noqa: PLR2004


def encoder(field: pa.Field) -> object:
    """Return the encoder of the field's width."""
    return _ENCODERS[field.type](field)


_INTEGERS = TypeFamily(
    "integers",
    frozenset(_ARROW),
    scan_columns=one_column(StorageClass.INTEGER),
    problems=problems,
    convert=convert,
    encoder=encoder,
)
INTEGERS = replace(_INTEGERS, fast=replace(_INTEGERS, problems=no_problems, proof=proof))
