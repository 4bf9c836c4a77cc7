"""What a refresh proves without reading it again: whatever else changes in the target is noticed."""

from typing import Any

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite, Rows
from refresh.test_refresh import change, lines_of, moved
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import Mismatch
from migrator.job.cut_over import refresh
from migrator.refresh import read_back
from migrator.refresh.writing import write
from migrator.stages import verify
from migrator.verification.compare_table import TableResult, compare

pytestmark = pytest.mark.one_server

SCRIPT = """
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, meta JSON);
CREATE TABLE letters (id INTEGER PRIMARY KEY, writer INTEGER NOT NULL REFERENCES people (id), body TEXT);
CREATE TABLE bag (x INTEGER, y TEXT);
CREATE TABLE calm (id INTEGER PRIMARY KEY, person INTEGER REFERENCES people (id));
"""
ROWS: Rows = {
    "people": [(n, f"p{n}", f'{{"a": {n}}}') for n in range(1, 1201)],
    "letters": [(n, n, f"body {n}") for n in range(1, 1201)],
    "bag": [(n % 5, "z") for n in range(40)],
    "calm": [(n, n) for n in range(1, 50)],
}
CHANGES = """
UPDATE people SET name = 'new' WHERE id IN (3, 500); DELETE FROM letters WHERE id = 7;
INSERT INTO letters VALUES (2000, 3, 'new'); DELETE FROM bag WHERE rowid IN (1, 6); INSERT INTO bag VALUES (9, NULL);
"""


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the names of the tables that stage ``verify`` reads as a whole, which are filled in later."""
    names: list[str] = []

    async def noted(context: Any, comparison: Any, *more: Any) -> TableResult:  # noqa: ANN401 - passed on
        names.append(comparison.target.name.name)
        return await compare(context, comparison, *more)

    monkeypatch.setattr(verify, "compare", noted)
    return names


async def test_what_was_compared_is_not_read_again(
    make_sqlite: MakeSqlite, database: Database, compared: list[str]
) -> None:
    """No table is compared as a whole after the write, neither a changed one nor one that keys connect with it."""
    source = make_sqlite(SCRIPT, ROWS)
    await moved(source, database)
    compared.clear()
    change(source, CHANGES)
    report = await moved(source, database, refresh=True)
    assert compared == []
    assert "public.bag: 1 inserted, 0 updated, 2 deleted" in lines_of(report)
    verified = await database.fetch("SELECT table_name FROM migrator.tables WHERE verified_at IS NULL")
    assert verified == []
    assert "public.people: unchanged" in lines_of(await moved(source, database, refresh=True))


@pytest.mark.parametrize(
    ("tampering", "table"),
    [
        ("UPDATE people SET name = 'tampered' WHERE id = 4", "people"),
        ("DELETE FROM letters WHERE id = 1000", "letters"),
        ("DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag); INSERT INTO bag VALUES (8, 'own')", "bag"),
        ("UPDATE people SET name = 'other' WHERE id = 500", "people"),
        ("INSERT INTO letters VALUES (3000, 3, 'own')", "letters"),
        ("UPDATE calm SET person = 1 WHERE id = 9", "calm"),
    ],
)
@pytest.mark.parametrize("when", ["in the same transaction", "after it"])
async def test_another_change_is_noticed(
    tampering: str,
    table: str,
    when: str,
    make_sqlite: MakeSqlite,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Something changes a row next to those that are written, or one of these: 1 with the table, and not ready."""
    source = make_sqlite(SCRIPT, ROWS)
    await moved(source, database)
    change(source, CHANGES)

    async def write_and_tamper(context: Any, connection: AsyncConnection, writing: Any) -> Any:  # noqa: ANN401
        stats = await write(context, connection, writing)
        for statement in tampering.split("; "):
            await connection.exec_driver_sql(statement)
        return stats

    async def tamper_and_read(*arguments: Any) -> Any:  # noqa: ANN401
        await database.execute(tampering)
        return await read_back.read_back(*arguments)

    if when == "after it":
        monkeypatch.setattr(refresh, "read_back", tamper_and_read)
    else:
        monkeypatch.setattr(refresh, "write", write_and_tamper)
    with pytest.raises(Mismatch) as caught:
        await moved(source, database, refresh=True)
    assert f"public.{table}" in str(caught.value)
    assert await database.fetch("SELECT FROM migrator.state WHERE name = 'ready'") == []


async def test_a_restored_target_is_compared_as_a_whole(
    make_sqlite: MakeSqlite, database: Database, compared: list[str]
) -> None:
    """Where PostgreSQL can't say who wrote the rows, since they were written anew, every value is read again."""
    source = make_sqlite(SCRIPT, ROWS)
    await moved(source, database)
    await database.execute("UPDATE people SET name = name")
    compared.clear()
    change(source, CHANGES)
    await moved(source, database, refresh=True)
    assert "people" in compared


async def test_nobody_writes_before_the_end(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the proof of a changed table to the end of the run, its lock is held."""
    source = make_sqlite(SCRIPT, ROWS)
    await moved(source, database)
    change(source, CHANGES)
    locked: list[str] = []

    async def look(*arguments: Any) -> Any:  # noqa: ANN401
        proved = await read_back.read_back(*arguments)
        rows = await database.fetch(
            "SELECT relname FROM pg_locks JOIN pg_class c ON c.oid = relation WHERE mode = 'ShareLock' AND granted "
            "AND relkind = 'r' ORDER BY 1"
        )
        locked.extend(row[0] for row in rows)
        assert {name.name for name in proved} == {"bag", "calm", "letters", "people"}
        return proved

    monkeypatch.setattr(refresh, "read_back", look)
    await moved(source, database, refresh=True)
    assert locked == ["bag", "calm", "letters", "people"]
