"""Encodes record batches in the form that COPY takes: binary with pgpq, text with Arrow's string kernels."""

from collections.abc import Sequence
from typing import Protocol

import pgpq
import pyarrow as pa
import pyarrow.compute as pc

from migrator.target.schema import CopyFormat


class Encoder(Protocol):
    """Encodes the record batches of one COPY, in order."""

    def start(self) -> bytes:
        """Return what goes before the first row."""
        ...

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return the rows of a batch."""
        ...

    def end(self) -> bytes:
        """Return what goes after the last row."""
        ...


class BinaryEncoder:
    """Encodes the binary form of COPY (PostgreSQL, "COPY": Binary Format)."""

    def __init__(self, schema: pa.Schema, builders: Sequence[object]) -> None:
        builder_of = dict(zip(schema.names, builders, strict=True))
        self._encoder = pgpq.ArrowToPostgresBinaryEncoder.new_with_encoders(schema, builder_of)

    def start(self) -> bytes:
        """Return the signature and flags."""
        return self._encoder.write_header()

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return the tuples of a batch."""
        return self._encoder.write_batch(batch)

    def end(self) -> bytes:
        """Return the trailer."""
        return self._encoder.finish()


# Backslash comes first, because the other replacements insert backslashes (PostgreSQL, "COPY": Text Format).
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\b", "\\b"), ("\f", "\\f"), ("\v", "\\v"))

_NULL = "\\N"

_TAB, _NEWLINE = pa.scalar("\t", pa.large_string()), pa.scalar("\n", pa.large_string())


class TextEncoder:
    """Encodes the text form of COPY, for tables with a column that has no binary encoder."""

    def start(self) -> bytes:
        """Return nothing: the form has no header."""
        return b""

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return one line for each row."""
        if not len(batch):
            return b""
        fields = [_field(array) for array in batch.columns]
        lines = pc.binary_join_element_wise(*fields, _TAB)
        return b"".join((pc.binary_join(_as_one_list(lines), _NEWLINE)[0].as_buffer(), b"\n"))

    def end(self) -> bytes:
        """Return nothing: the form has no trailer."""
        return b""


def _field(array: pa.Array) -> pa.Array:
    text = pc.cast(array, pa.large_string())
    for plain, escaped in _ESCAPES:
        text = pc.replace_substring(text, plain, escaped)
    return pc.fill_null(text, _NULL)


def _as_one_list(lines: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array([0, len(lines)], pa.int64()), lines)


def encoder_for(form: CopyFormat, schema: pa.Schema, builders: Sequence[object]) -> Encoder:
    """Return an encoder for one COPY in ``form``; ``builders`` are pgpq's, one for each field, for the binary form."""
    return BinaryEncoder(schema, builders) if form is CopyFormat.BINARY else TextEncoder()
