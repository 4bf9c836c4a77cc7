r"""
json, jsonb. SQLite keeps the text an application wrote, or a number where the column's affinity made one of it.

``json`` keeps every character; ``jsonb`` keeps the value, and refuses two things that are valid JSON: the escape
``\u0000`` and half a surrogate pair (PostgreSQL, "JSON Types").
"""

import json
from collections.abc import Sequence

import pgpq.encoders
import pgpq.schema
import pyarrow as pa
import pyarrow.compute as pc

from migrator.source import StorageClass
from migrator.target import TargetColumn
from migrator.types.family import Family, Refusal, Unfit, join_text_or_real, stored_as, text_or_real_lanes

_SUSPICIOUS_ESCAPE = r"\\u(0000|[dD][89a-fA-F])"


def refusals(expression: str, _column: TargetColumn) -> tuple[Refusal, ...]:
    """Refuse BLOBs, and text that is no JSON (RFC 8259, which is what PostgreSQL reads too)."""
    return (
        stored_as(expression, StorageClass.TEXT, StorageClass.INTEGER, StorageClass.REAL),
        Refusal(f"typeof({expression}) = 'text' AND NOT json_valid({expression})", "is not valid JSON"),
    )


def convert(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return the text; raises for invalid UTF-8 and, into jsonb, for the escapes it refuses."""
    text = join_text_or_real(arrays)
    text.validate(full=True)
    if column.type_name == "jsonb":
        suspicious = text.filter(pc.match_substring_regex(text, _SUSPICIOUS_ESCAPE))
        for document in suspicious.to_pylist():  # few: only those that spell such an escape
            _check_escapes(json.loads(document))
    return text


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
            raise Unfit("spells the character \\u0000, which jsonb can't hold")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise Unfit("spells half a surrogate pair, which jsonb can't hold")


def encoder(field: pa.Field) -> object:
    """Return the encoder for ``json``, whose binary form is its text."""
    return pgpq.encoders.StringEncoderBuilder(field)


def encoder_jsonb(field: pa.Field) -> object:
    """Return the encoder for ``jsonb``: a version byte, then the text."""
    return pgpq.encoders.StringEncoderBuilder.new_with_output(field, pgpq.schema.Jsonb())


JSON = Family(
    "jsons",
    frozenset({"json"}),
    lanes=text_or_real_lanes,
    refusals=refusals,
    convert=convert,
    encoder=encoder,
    reads_content=True,
)
JSONB = Family(
    "jsons",
    frozenset({"jsonb"}),
    lanes=text_or_real_lanes,
    refusals=refusals,
    convert=convert,
    encoder=encoder_jsonb,
    reads_content=True,
)
