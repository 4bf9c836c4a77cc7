"""COPY's bytes: the text form's escapes, and batches that add up to one stream."""

from collections.abc import AsyncIterator

import asyncpg
import pgpq.encoders
import pyarrow as pa
import pytest
from fix_postgres import Database

from migrator.copying.encoder import TextEncoder, encoder_for
from migrator.target.schema import CopyFormat

TEXTS = ["plain", "", None, "\\N", "\\.", "a\tb", "a\nb", "a\r\nb", "back\\slash", "\\t", "\b\f\v", "é\U0001f332", " "]


def test_text_escapes() -> None:
    """What the form gives a meaning to is escaped, a NULL has a spelling of its own, and each row is a line."""
    batch = pa.record_batch([pa.array(["a\tb", None]), pa.array([1, -2])], names=["text", "number"])
    assert TextEncoder().rows(batch) == b"a\\tb\t1\n\\N\t-2\n"


@pytest.mark.one_server
@pytest.mark.parametrize("form", list(CopyFormat))
async def test_several_batches_make_one_stream(database: Database, form: CopyFormat) -> None:
    """The server reads back what went in, from batches of any size, slices and none among them."""
    batch = pa.record_batch([pa.array(range(len(TEXTS))), pa.array(TEXTS)], names=["place", "said"])
    builders = [pgpq.encoders.Int64EncoderBuilder(batch.schema[0]), pgpq.encoders.StringEncoderBuilder(batch.schema[1])]
    encoder = encoder_for(form, batch.schema, builders)
    pieces = [batch.slice(0, 5), batch.slice(5, 0), batch.slice(5, 1), batch.slice(6)]
    sent = b"".join([encoder.start(), *(encoder.rows(piece) for piece in pieces), encoder.end()])
    await database.execute("CREATE TABLE t (place bigint, said text)")
    connection = await asyncpg.connect(database.url)
    try:
        await connection.copy_to_table("t", source=_chunks(sent), format=form.value)
    finally:
        await connection.close()
    assert [row["said"] for row in await database.fetch("SELECT said FROM t ORDER BY place")] == TEXTS


async def _chunks(sent: bytes) -> AsyncIterator[bytes]:
    """Yield the stream in pieces that end anywhere."""
    for at in range(0, len(sent), 7):
        yield sent[at : at + 7]
