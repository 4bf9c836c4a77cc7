"""Which texts are the same beyond doubt, for whole arrays at once: most of them, so that few have to be read."""

import pyarrow as pa
import pyarrow.compute as pc

from migrator.meaning.type_shapes import Shape

_HOSTS = ("/32", "/128")


def surely_same(shape: Shape, texts: pa.Array, spelled: pa.Array) -> pa.BooleanArray:
    """
    Return for each of ``texts`` whether what the server wrote is the same letter for letter.

    Nothing is sure of a real of four bytes, which the server rounds and then may write as it was given.
    """
    if shape.holds("float4"):
        return pa.repeat(pa.scalar(value=False), len(texts))
    same = pc.equal(texts, spelled)
    if shape.name == "inet":  # which has the prefix of a host in its text (PostgreSQL, "Network Address Functions")
        for prefix in _HOSTS:
            same = pc.or_kleene(same, pc.equal(pc.binary_join_element_wise(texts, prefix, ""), spelled))
    return pc.fill_null(same, fill_value=False)
