"""Finds the texts that the server wrote unchanged. Most texts are unchanged, so only a few have to be read."""

import pyarrow as pa
import pyarrow.compute as pc

from migrator.meaning.type_shapes import Shape

_HOSTS = ("/32", "/128")


def surely_same(shape: Shape, texts: pa.Array, spelled: pa.Array) -> pa.BooleanArray:
    """
    Return for each text of ``texts`` whether the server's text in ``spelled`` is exactly the same.

    For a four-byte real, the same text proves nothing: the server may round the value and still write the same text. So
    all results are False for it.
    """
    if shape.holds("float4"):
        return pa.repeat(pa.scalar(value=False), len(texts))
    same = pc.equal(texts, spelled)
    if shape.name == "inet":  # cast to text, a host has a prefix (PostgreSQL, "Network Address Functions")
        for prefix in _HOSTS:
            same = pc.or_kleene(same, pc.equal(pc.binary_join_element_wise(texts, prefix, ""), spelled))
    return pc.fill_null(same, fill_value=False)
