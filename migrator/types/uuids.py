"""uuid. Applications store a UUID as 36 or 32 characters or as a BLOB of 16 bytes; all arrive as the same ``uuid``."""

from collections.abc import Sequence
from dataclasses import replace

import pgpq.encoders
import pyarrow as pa
import pyarrow.compute as pc

from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.family import TypeFamily, one_column, only_array, problems_if_blob
from migrator.types.problem import ConversionError, Problem, ProblemCode

_BYTES = 16
_AS_BYTES = "CASE typeof({0}) WHEN 'blob' THEN {0} ELSE unhex({0}, '-') END"


def _hidden(expression: str) -> str:
    """Return a condition for text with a NUL in it. In UTF-16, the number of bytes alone doesn't show a NUL."""
    return f"octet_length({expression}) <> length({expression}) AND instr({expression}, char(0))"


_NOT_BYTES = "x'00'"
"""The bytes that the fast family reads for text that is no UUID: too few, so ``convert`` refuses them."""


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse numbers (UUIDs that NUMERIC affinity has converted) and values that aren't 128 bits."""
    return (
        Problem(
            ProblemCode.DAMAGED_BY_AFFINITY,
            "is a number: already damaged in the source, where SQLite takes a type like UUID for numeric",
            f"typeof({expression}) IN ('integer', 'real')",
        ),
        Problem(
            ProblemCode.NOT_UUID,
            "is not 32 hexadecimal digits",
            # Text functions stop at a NUL, so a second condition finds text with a NUL.
            f"typeof({expression}) = 'text' AND (coalesce(length(unhex({expression}, '-')), 0) <> {_BYTES} "
            f"OR ({_hidden(expression)}))",
        ),
        Problem(
            ProblemCode.NOT_UUID,
            "is not 16 bytes",
            f"typeof({expression}) = 'blob' AND length({expression}) <> {_BYTES}",
        ),
    )


def convert(arrays: Sequence[pa.Array], _column: TargetColumn) -> pa.Array:
    """Return the 16 bytes. Raises ConversionError for another length."""
    lengths = pc.min_max(pc.binary_length(arrays[0]))
    if lengths["min"].is_valid and not lengths["min"].as_py() == lengths["max"].as_py() == _BYTES:
        raise ConversionError(ProblemCode.NOT_UUID, "is not 128 bits")
    return pc.cast(arrays[0], pa.binary(_BYTES))


_UUIDS = TypeFamily(
    "uuids",
    frozenset({"uuid"}),
    scan_columns=one_column(StorageClass.BLOB, _AS_BYTES),
    problems=problems,
    convert=convert,
    encoder=pgpq.encoders.FixedSizeBinaryEncoderBuilder,
    as_text=TypeFamily(
        "uuids",
        frozenset(),
        scan_columns=one_column(StorageClass.TEXT, f"CASE WHEN {{0}} IS NOT NULL THEN hex({_AS_BYTES}) END"),
        problems=problems,
        convert=only_array,
        encoder=None,
    ),
)
UUIDS = replace(
    _UUIDS,
    fast=replace(
        _UUIDS,
        scan_columns=one_column(
            StorageClass.BLOB, f"CASE WHEN {{0}} IS NOT NULL THEN coalesce(unhex({{0}}, '-'), {_NOT_BYTES}) END"
        ),
        problems=problems_if_blob,  # the dry run looks for NULs, where `unhex` stops
    ),
)
