r"""
json, jsonb. SQLite keeps the text that an application wrote, or a number if the column's affinity has converted it.

``json`` keeps every character; ``jsonb`` keeps the value, and refuses two things that are valid JSON: the escape
``\u0000`` and half a surrogate pair (PostgreSQL, "JSON Types"). If an object has a key twice, ``jsonb`` keeps only the
last value: ``documents`` finds these objects.
"""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import partial

import pgpq.encoders
import pgpq.schema
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.documents import DUPLICATE_KEY, NESTED_TOO_DEEPLY, DocumentSearch, has_duplicate_key, read
from migrator.types.family import (
    TypeFamily,
    check_utf8,
    holds_nul,
    one_column,
    problems_if_blob,
    stored_as,
    text_and_real_columns,
)
from migrator.types.numerics import fits_unbounded
from migrator.types.problem import ConversionError, Problem, ProblemCode

_LARGEST_DOUBLE = "1.7976931348623157e308"
"""Only infinity is larger, and JSON can't spell infinity."""

_SUSPICIOUS = r"\\u(0000|[dD][89a-fA-F])|[0-9][eE][+-]?[0-9]{5}"
_MANY = 1000
_MANY_DIGITS = rf"[0-9.]{{{_MANY}}}"
"""Finds numbers that may have more digits than PostgreSQL's numeric, the type in which jsonb keeps numbers."""


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse BLOBs, and text that is not JSON as RFC 8259 defines it; PostgreSQL reads the same JSON."""
    return (
        stored_as(expression, StorageClass.TEXT, StorageClass.INTEGER, StorageClass.REAL),
        _invalid_json(
            f"(typeof({expression}) = 'text' AND NOT json_valid({expression})) "
            f"OR (typeof({expression}) = 'real' AND {expression} NOT BETWEEN -{_LARGEST_DOUBLE} AND {_LARGEST_DOUBLE})"
        ),
    )


def _invalid_json(condition: str) -> Problem:
    return Problem(ProblemCode.INVALID_JSON, "is not valid JSON", condition)


def convert(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return the text. Raises ConversionError for invalid UTF-8, for NUL, and for what jsonb refuses or can't hold."""
    text = _joined(arrays)
    check_utf8(text)
    if holds_nul(text):
        raise ConversionError(
            ProblemCode.CONTAINS_NUL, "holds a NUL character, which JSON can't"
        )  # SQLite's json_valid stops reading at the NUL
    if column.type_name == "jsonb":
        _check_documents(text, _SUSPICIOUS)  # only the few that spell such an escape or exponent
    return text


def convert_fast(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return the text, of which ``unfit`` has judged the rest. Raises ConversionError as ``convert`` does."""
    text = arrays[0]
    check_utf8(text)
    if holds_nul(text):
        raise ConversionError(ProblemCode.CONTAINS_NUL, "holds a NUL character, which JSON can't")
    if column.type_name == "jsonb":
        _check_documents(text, "")
    return text


def unfit(document: str, *, binary: bool) -> Problem | None:
    """
    Return why a text isn't carried as it is; None if it is JSON that the target keeps whole.

    ``binary`` is for jsonb. A bare number isn't carried, since it may be stored as a number and not as this text.
    """
    try:
        value = read(document)
        if binary:
            _check_document(document)
    except RecursionError:
        return NESTED_TOO_DEEPLY
    except ConversionError as error:
        return error.problem
    except ValueError:
        return _invalid_json("")
    is_number = document.lstrip(" \t\n\r")[:1] in "-0123456789"
    return DUPLICATE_KEY if binary and has_duplicate_key(value) else _invalid_json("") if is_number else None


def _check_documents(text: pa.Array, suspicious: str) -> None:
    """Raise ConversionError if jsonb can't hold a document that the pattern finds, or one with a very long number."""
    patterns = [suspicious] if suspicious else []
    if (pc.max(pc.binary_length(text)).as_py() or 0) >= _MANY:  # most documents have no room for so many digits
        patterns.append(_MANY_DIGITS)
    for pattern in patterns:
        for document in text.filter(pc.match_substring_regex(text, pattern)).to_pylist():
            _check_document(document)


def _joined(arrays: Sequence[pa.Array]) -> pa.Array:
    """Return documents and numbers as text. Doubles are written as Python's json does, so that 1.0 doesn't become 1."""
    documents, *others = arrays  # the fast family has no scan column for doubles
    [doubles] = others or [pa.nulls(len(documents))]
    if doubles.null_count == len(doubles):
        return documents
    spelled = [None if double is None else repr(double) for double in doubles.to_pylist()]  # the few that affinity made
    return pc.coalesce(documents, pa.array(spelled, pa.string()))


def _check_document(document: str) -> None:
    try:
        _check_escapes(json.loads(document, parse_float=_check_number, parse_int=_check_number))
    except RecursionError as error:
        raise ConversionError(
            ProblemCode.JSON_TOO_DEEP, "is nested too deeply to be searched for what jsonb can't hold"
        ) from error


_EXPONENT = re.compile(r"[eE][+-]?([0-9]+)$")
_DIGITS_OF_EXPONENTS = 6
"""The most digits of an exponent that is read here; Python's decimals end soon above that."""


def _check_number(text: str) -> float:
    exponent = _EXPONENT.search(text)
    if (exponent and len(exponent[1].lstrip("0")) > _DIGITS_OF_EXPONENTS) or not fits_unbounded(Decimal(text)):
        raise ConversionError(ProblemCode.JSON_NUMBER_OUT_OF_RANGE, "holds a number beyond PostgreSQL's numeric")
    return 0.0


def _check_escapes(value: object) -> None:
    if isinstance(value, dict):
        for key, member in value.items():
            _check_escapes(key)
            _check_escapes(member)
    elif isinstance(value, list):
        for member in value:
            _check_escapes(member)
    elif isinstance(value, str):
        if "\x00" in value:
            raise ConversionError(ProblemCode.JSON_NUL_ESCAPE, "spells the character \\u0000, which jsonb can't hold")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ConversionError(
                ProblemCode.JSON_LONE_SURROGATE, "spells half a surrogate pair, which jsonb can't hold"
            )


def encoder(field: pa.Field) -> object:
    """Return the encoder for ``json``, whose binary form is its text."""
    return pgpq.encoders.StringEncoderBuilder(field)


def encoder_jsonb(field: pa.Field) -> object:
    """Return the encoder for ``jsonb``: a version byte, then the text."""
    return pgpq.encoders.StringEncoderBuilder.new_with_output(field, pgpq.schema.Jsonb())


_JSON = TypeFamily(
    "jsons",
    frozenset({"json"}),
    scan_columns=text_and_real_columns,
    problems=problems,
    convert=convert,
    encoder=encoder,
    reads_content=True,
)
_JSONB = TypeFamily(
    "jsons",
    frozenset({"jsonb"}),
    scan_columns=text_and_real_columns,
    problems=problems,
    convert=convert,
    encoder=encoder_jsonb,
    reads_content=True,
    losses=DocumentSearch,
)


def _with_fast(family: TypeFamily, *, binary: bool) -> TypeFamily:
    """Return the family with its fast form: documents as they are stored, judged by a pattern."""
    fast = replace(
        family,
        scan_columns=one_column(StorageClass.TEXT),
        problems=problems_if_blob,
        convert=convert_fast,
        losses=partial(DocumentSearch, partial(unfit, binary=binary)),
    )
    return replace(family, fast=fast)


JSON = _with_fast(_JSON, binary=False)
JSONB = _with_fast(_JSONB, binary=True)
