"""text, varchar(n), char(n), citext, name. SQLite ignores lengths, allows NUL, and doesn't look at the encoding."""

from collections.abc import Sequence

import pgpq
import pgpq.encoders
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from migrator.names import POSTGRES_NAME_BYTES
from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.family import TypeFamily, check_utf8, holds_nul, one_column, problems_unless_text, stored_as
from migrator.types.problem import ConversionError, Problem, ProblemCode


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse BLOBs, which may hold any bytes, and REALs, which have several spellings."""
    return (stored_as(expression, StorageClass.TEXT, StorageClass.INTEGER),)


def convert(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return the text as it is. Raises ConversionError for invalid UTF-8, for NUL, and for text that is too long."""
    text = arrays[0]
    check_utf8(text)
    if holds_nul(text):
        raise ConversionError(ProblemCode.CONTAINS_NUL, "holds a NUL character, which PostgreSQL's text can't")
    if column.length is not None:
        longest = pc.max(pc.utf8_length(text)).as_py()
        if longest is not None and longest > column.length:
            raise ConversionError(ProblemCode.TOO_LONG, f"is longer than {column.declared}")
    if column.type_name == "name" and (pc.max(pc.binary_length(text)).as_py() or 0) > POSTGRES_NAME_BYTES:
        raise ConversionError(ProblemCode.TOO_LONG, f"is longer than the {POSTGRES_NAME_BYTES} bytes of name")
    return text


def proof(column: TargetColumn) -> str:
    """Return the condition of text in UTF-8 that ``convert`` takes."""
    conditions = ["NOT contains({0}, chr(0))"]
    if column.length is not None:
        conditions.append(f"length({{0}}) <= {column.length}")
    if column.type_name == "name":
        conditions.append(f"strlen({{0}}) <= {POSTGRES_NAME_BYTES}")
    return " AND ".join(conditions)


def encoder(field: pa.Field) -> object:
    """Return the encoder that sends the bytes; char(n), citext and name have the same form."""
    return pgpq.encoders.StringEncoderBuilder(field)


_TEXTS = TypeFamily(
    "texts",
    frozenset({"text", "varchar", "bpchar", "citext", "name"}),
    scan_columns=one_column(StorageClass.TEXT, "CAST({} AS TEXT)"),
    problems=problems,
    convert=convert,
    encoder=encoder,
    reads_content=True,
)
TEXTS = replace(
    _TEXTS,
    fast=replace(_TEXTS, scan_columns=one_column(StorageClass.TEXT), problems=problems_unless_text, proof=proof),
)
