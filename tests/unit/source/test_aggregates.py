"""Questions to SQLite about all rows of a table, or of many tables."""

import pytest
from fix_sqlite import MakeSqlite

from migrator.names import quote_sqlite
from migrator.source import aggregates
from migrator.source.aggregates import answers, answers_of_each
from migrator.source.database import Source

NAMES = ["empty", 'a "quote"', "b', 0; --", *(f"t{n}" for n in range(30))]


@pytest.mark.parametrize("longest", [500_000, 200, 1])
async def test_of_each_table(make_sqlite: MakeSqlite, monkeypatch: pytest.MonkeyPatch, longest: int) -> None:
    """The answers are those that each table gives by itself, in however many statements they are asked for."""
    rows = {name: [(n, "x" * n) for n in range(place)] for place, name in enumerate(NAMES)}
    source = Source(make_sqlite("".join(f"CREATE TABLE {quote_sqlite(n)} (i, t TEXT);" for n in NAMES), rows))
    tables = (await source.describe()).tables
    await source.close()
    questions = ["count(*)", "sum(octet_length(t))", "max(i)"]
    monkeypatch.setattr(aggregates, "_LONGEST", longest)
    with source.session() as session:
        found = answers_of_each(session, [(table, questions) for table in tables])
        assert found == [answers(session, table, questions) for table in tables]
        assert answers_of_each(session, []) == []
    assert sorted(count for count, *_ in found) == list(range(len(NAMES)))
