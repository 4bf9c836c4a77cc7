"""Finds the texts of an array that the server wrote unchanged. These are most, so that few have to be read."""

import pyarrow as pa
import pyarrow.compute as pc

from migrator.meaning.type_shapes import Shape

_HOSTS = ("/32", "/128")


def surely_same(shape: Shape, texts: pa.Array, spelled: pa.Array) -> pa.BooleanArray:
    """
    Return for each of ``texts`` whether the server's text in ``spelled`` is the same letter for letter.

    That proves nothing for a four-byte real, which the server rounds and may then write as it was. So all are False.
    """
    if shape.holds("float4"):
        return pa.repeat(pa.scalar(value=False), len(texts))
    same = pc.equal(texts, spelled)
    if shape.name == "inet":  # as text it has the prefix of a host (PostgreSQL, "Network Address Functions")
        for prefix in _HOSTS:
            same = pc.or_kleene(same, pc.equal(pc.binary_join_element_wise(texts, prefix, ""), spelled))
    return pc.fill_null(same, fill_value=False)
