"""boolean. SQLite has no such type: applications store the integers 0 and 1. A rule says what text means."""

from collections.abc import Sequence

import pgpq.encoders
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.family import TypeFamily, no_problems, one_column, stored_as
from migrator.types.problem import ConversionError, Problem, ProblemCode


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse values that are not integers, and integers other than 0 and 1."""
    return (
        stored_as(expression, StorageClass.INTEGER),
        Problem(
            ProblemCode.NOT_BOOLEAN,
            "is neither 0 nor 1",
            f"typeof({expression}) = 'integer' AND {expression} NOT IN (0, 1)",
        ),
    )


def convert(arrays: Sequence[pa.Array], _column: TargetColumn) -> pa.Array:
    """Return int64 as bool. Raises ConversionError for every number except 0 and 1."""
    limits = pc.min_max(arrays[0])
    if limits["min"].is_valid and not (limits["min"].as_py() >= 0 and limits["max"].as_py() <= 1):
        raise ConversionError(ProblemCode.NOT_BOOLEAN, "is neither 0 nor 1")
    return pc.cast(arrays[0], pa.bool_())


_BOOLEANS = TypeFamily(
    "booleans",
    frozenset({"bool"}),
    scan_columns=one_column(StorageClass.INTEGER),
    problems=problems,
    convert=convert,
    encoder=pgpq.encoders.BooleanEncoderBuilder,
)
BOOLEANS = replace(
    _BOOLEANS, fast=replace(_BOOLEANS, problems=no_problems, proof=lambda _column: "{0} BETWEEN 0 AND 1")
)
