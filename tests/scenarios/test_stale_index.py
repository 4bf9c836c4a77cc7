"""An index whose entries are out of date: rows are read from the table, never from an index in its place."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import contents, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.job import run
from migrator.monitoring.tracker import Tracker
from migrator.source.database import Source
from migrator.source.schema import SourceTable

TABLES = {
    "rowid": "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, v TEXT)",
    "key": "CREATE TABLE t (id INTEGER, n INTEGER, v TEXT, PRIMARY KEY (id)) WITHOUT ROWID",
}
INDEXES = "CREATE INDEX covering ON t (v, n, id); CREATE INDEX short ON t (n); CREATE INDEX made ON t (upper(v))"


def make_stale(path: Path) -> None:
    """Change the rows while SQLite doesn't know of the indexes, and give these back to it as they were."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(INDEXES)
        indexes = connection.execute("SELECT * FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL").fetchall()
        connection.execute("PRAGMA writable_schema = on")
        connection.execute("DELETE FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
        connection.commit()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE t SET v = 'new ' || id, n = n + 1000")
        connection.commit()
        connection.execute("PRAGMA writable_schema = on")
        connection.executemany("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", indexes)
        connection.commit()


ROWS = [(i, i * 10, f"old {i}") for i in range(1, 6)]


@pytest.mark.parametrize("kind", TABLES)
async def test_no_statement_goes_by_an_index(kind: str, make_sqlite: MakeSqlite) -> None:
    """Neither a scan nor an aggregate nor a condition takes the old values for the rows."""
    path = make_sqlite(TABLES[kind], {"t": ROWS})
    make_stale(path)
    source = Source(path)
    [table] = (await source.describe()).tables
    await source.close()
    with source.session() as session:
        old = session.ask("SELECT count(*) AS n FROM t WHERE n < 1000")
        assert old == [{"n": 5}]  # else the index is none to fall into
        for question, answer in _questions(table):
            assert session.ask(question) == [{"n": answer}], question


def _questions(table: SourceTable) -> list[tuple[str, object]]:
    return [
        (f"SELECT group_concat(v) AS n FROM {table.origin}", "new 1,new 2,new 3,new 4,new 5"),
        (f"SELECT sum(n) AS n FROM {table.origin}", 5150),
        (f"SELECT count(*) AS n FROM {table.origin} WHERE n < 1000", 0),
        (f"SELECT max(upper(v)) AS n FROM {table.origin}", "NEW 5"),
        (f"SELECT count(*) AS n FROM {table.origin} WHERE v IN (SELECT v FROM {table.origin} WHERE v IS NOT NULL)", 5),
    ]


@pytest.mark.one_server
@pytest.mark.parametrize("kind", TABLES)
async def test_the_rows_arrive(kind: str, database: Database, make_sqlite: MakeSqlite) -> None:
    """What the table holds is in the target, and compared there; keys of another table are looked for in the rows."""
    script = f"{TABLES[kind]}; CREATE TABLE child (id INTEGER PRIMARY KEY, v TEXT)"
    path = make_sqlite(script, {"t": ROWS, "child": [(1, "new 1"), (2, "new 5")]})
    make_stale(path)
    await database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n int, v text UNIQUE); "
        "CREATE TABLE child (id int PRIMARY KEY, v text REFERENCES t (v))"
    )
    await run.run(settings_of(path, database), Tracker())
    assert await contents(database, "t") == [f'({i},{i * 10 + 1000},"new {i}")' for i in range(1, 6)]
    assert await contents(database, "child") == ['(1,"new 1")', '(2,"new 5")']
