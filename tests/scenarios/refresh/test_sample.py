"""A sample of key ranges decides whether a table is carried or loaded anew, before either end is read as a whole."""

import pytest
from fix_job import contents
from fix_postgres import Database
from fix_sqlite import MakeSqlite, Rows
from refresh.test_refresh import change, moved

from migrator.refresh import sample
from migrator.refresh.row_hashes import RowHashes

pytestmark = pytest.mark.one_server

SCRIPT = "CREATE TABLE big (id INTEGER PRIMARY KEY, t TEXT); CREATE TABLE other (name TEXT PRIMARY KEY, t TEXT)"
COUNT = 2 * sample.LEAST_ROWS
ROWS: Rows = {
    "big": [(n * 7 - 9000, f"t{n}") for n in range(COUNT)],
    "other": [(f"k{n}", f"t{n}") for n in range(COUNT)],
}


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("UPDATE big SET t = 'new' WHERE id % 3 = 0", "public.big: loaded anew"),
        ("DELETE FROM big WHERE id < 40000", "public.big: loaded anew"),
        ("UPDATE big SET t = 'new' WHERE id % 50 = 0", "public.big: 0 inserted, 400 updated, 0 deleted"),
        ("DELETE FROM big WHERE id < 1000", "public.big: 0 inserted, 0 updated, 1429 deleted"),
        ("UPDATE other SET t = 'new' WHERE rowid % 3 = 0", "public.other: 0 inserted, 6666 updated, 0 deleted"),
    ],
)
async def test_much_is_loaded_anew_and_little_is_carried(
    script: str, told: str, make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of which a third differs is read only by ranges; keys that aren't numbers are not sampled."""
    read: list[str] = []
    read_source = RowHashes.read_source

    def noted(self: RowHashes, session: object, address: object, comparison: object, chunk: object) -> None:
        read.append(f"{comparison.source.name} {chunk.last is not None}")  # type: ignore[attr-defined]
        read_source(self, session, address, comparison, chunk)  # type: ignore[arg-type]

    source = make_sqlite(SCRIPT, ROWS)
    await moved(source, database)
    change(source, script)
    monkeypatch.setattr(RowHashes, "read_source", noted)
    report = await moved(source, database, refresh=True)
    lines = [entry.line() for entry in report.refreshed]
    assert any(line.startswith(told) for line in lines), lines
    assert ("big False" in read) == ("loaded anew" not in told)
    before = {table: await contents(database, table) for table in ("big", "other")}
    await moved(source, database, restart=True)
    assert {table: await contents(database, table) for table in ("big", "other")} == before
