"""uuid. Applications store a UUID as 36 or 32 characters or as a BLOB of 16 bytes; all arrive as the same ``uuid``."""

import binascii
from collections.abc import Sequence

import pgpq.encoders
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.family import TypeFamily, characters, one_column, only_array, problems_if_blob
from migrator.types.problem import ConversionError, Problem, ProblemCode

_BYTES = 16
_AS_BYTES = "CASE typeof({0}) WHEN 'blob' THEN {0} ELSE unhex({0}, '-') END"


def _hidden(expression: str) -> str:
    """Return a condition for text with a NUL in it. In UTF-16, the number of bytes alone doesn't show a NUL."""
    return f"octet_length({expression}) <> length({expression}) AND instr({expression}, char(0))"


_DIGITS = 32

_SHAPE = b"hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh"
"""A UUID with dashes, each digit replaced by an ``h``."""

_TO_SHAPE = bytes(
    ord("h") if chr(byte) in "0123456789abcdefABCDEF" else ord("-") if chr(byte) == "-" else 0 for byte in range(256)
)


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


def convert_text(arrays: Sequence[pa.Array], _column: TargetColumn) -> pa.Array:
    """
    Return the 16 bytes of text. Raises ConversionError for what isn't 32 digits, with the four usual dashes or none.

    All texts are read at once, as one row of characters, in a fifth of the time that SQLite's ``unhex`` takes.
    """
    text = arrays[0]
    present = text.drop_null()
    lengths = pc.binary_length(present)
    limits = pc.min_max(lengths)
    if not len(present) or limits["min"].as_py() == limits["max"].as_py():
        result = _bytes_of(present, limits["min"].as_py() or 0)
    else:
        with_dashes = pc.equal(lengths, pa.scalar(len(_SHAPE), pa.int32()))
        whole = _bytes_of(present.filter(pc.invert(with_dashes)), _DIGITS)
        dashed = _bytes_of(present.filter(with_dashes), len(_SHAPE))
        places = pc.array_sort_indices(with_dashes)  # the places of the texts without dashes come first
        result = pa.concat_arrays([whole, dashed]).take(pc.array_sort_indices(places))
    if not text.null_count:
        return result
    return pc.replace_with_mask(pa.nulls(len(text), pa.binary(_BYTES)), text.is_valid(), result)


def _bytes_of(text: pa.Array, length: int) -> pa.Array:
    """Return the bytes of texts that all should have ``length`` characters."""
    given = characters(text)
    count = len(text)
    is_plain = length == _DIGITS or (length == len(_SHAPE) and given.translate(_TO_SHAPE) == _SHAPE * count)
    try:
        if count and (len(given) != length * count or not is_plain):
            raise ConversionError(ProblemCode.NOT_UUID, "is not 128 bits")
        found = binascii.unhexlify(given.translate(None, b"-") if length == len(_SHAPE) else given)
    except binascii.Error as error:
        raise ConversionError(ProblemCode.NOT_UUID, "is not 128 bits") from error
    return pa.Array.from_buffers(pa.binary(_BYTES), count, [None, pa.py_buffer(found)])


def proof(_column: TargetColumn) -> str:
    """Return the condition of text that ``convert_text`` takes."""
    return f"regexp_full_match({{0}}, '{_IN_DUCKDB}')"


_IN_DUCKDB = "[0-9a-fA-F]{{8}}(-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}|[0-9a-fA-F]{{32}}"
"""A regular expression with its braces doubled, since the SQL around it is a template."""

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
        scan_columns=one_column(StorageClass.TEXT),
        problems=problems_if_blob,  # no number has as many digits
        convert=convert_text,
        reads_content=True,
        proof=proof,
    ),
)
