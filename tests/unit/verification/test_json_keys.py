"""The keys of a column's JSON are learnt where its documents are flat and alike, and only there."""

import pytest
from fix_sqlite import MakeSqlite

from migrator.source.database import Source
from migrator.verification.json_keys import usual_keys


@pytest.mark.parametrize(
    ("documents", "keys"),
    [
        (['{"b": 1, "a": "x"}', None, ' {"a": [1, 2]}'], ("a", "b")),
        (["{}", '{"k-1_": null}'], ("k-1_",)),
        ([], ()),
        ([None], ()),
        (["{}"], ()),
        (["[1]", '{"a": 1}'], ()),
        (['{"a": {"b": 1}}'], ()),
        (['{"a": "\\u00e9"}'], ()),
        (['{"a b": 1}'], ()),
        (['{"a": 1', '{"a": 1}'], ()),
        ([5, '{"a": 1}'], ()),
        ([b'{"a": 1}'], ()),
        (['{"a": "' + "x" * 20_000 + '"}'], ()),
        (["{" + ", ".join(f'"k{i}": {i}' for i in range(100)) + "}"], ()),
    ],
    ids=[
        *(
            "flat",
            "odd characters",
            "no rows",
            "no documents",
            "empty",
            "a list",
            "nested",
            "escaped",
            "blank in a key",
        ),
        *("no JSON", "a number", "a BLOB", "long", "many keys"),
    ],
)
async def test_what_is_learnt(make_sqlite: MakeSqlite, documents: list[object], keys: tuple[str, ...]) -> None:
    """Each of these decides for the whole column."""
    source = Source(make_sqlite("CREATE TABLE t (v)", {"t": [(document,) for document in documents]}))
    [table] = (await source.describe()).tables
    with source.session() as session:
        assert usual_keys(session, table, '"v"') == keys
    await source.close()
