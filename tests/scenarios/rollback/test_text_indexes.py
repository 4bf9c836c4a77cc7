"""After the way back, full-text indexes of every kind find PostgreSQL's rows, or the report says what to run."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import Cli
from fix_postgres import Database

pytestmark = pytest.mark.one_server

SCHEMA = """
CREATE TABLE a (id INTEGER PRIMARY KEY, t TEXT, more INTEGER);
INSERT INTO a VALUES (1, 'one apple', 1), (2, 'two pears', 2), (3, 'three plums', 3), (4, 'four figs', 4);
CREATE VIRTUAL TABLE own3 USING fts3(t);
CREATE VIRTUAL TABLE own4 USING fts4(t, tokenize=porter);
CREATE VIRTUAL TABLE own5 USING fts5(t);
CREATE VIRTUAL TABLE fed5 USING fts5(t);
CREATE VIRTUAL TABLE of4 USING fts4(content="a", t);
CREATE VIRTUAL TABLE of5 USING fts5(t, content='a', content_rowid='id');
CREATE VIRTUAL TABLE some5 USING fts5(t);
CREATE VIRTUAL TABLE bare4 USING fts4(content="", t);
CREATE VIRTUAL TABLE bare5 USING fts5(t, content='');
CREATE VIRTUAL TABLE free5 USING fts5(body);
INSERT INTO free5 (body) VALUES ('a text that no table has');
"""
FILLED = ("own3", "own4", "own5", "fed5", "of4", "of5", "bare4", "bare5")
TRIGGERS = """
INSERT INTO some5 (rowid, t) SELECT id, t FROM a WHERE id < 3;
CREATE TRIGGER fed_in AFTER INSERT ON a BEGIN INSERT INTO fed5 (rowid, t) VALUES (new.id, new.t); END;
CREATE TRIGGER fed_out AFTER DELETE ON a BEGIN DELETE FROM fed5 WHERE rowid = old.id; END;
"""


def found(path: Path, index: str, word: str) -> list[int]:
    """Return the numbers of the rows that an index finds."""
    with closing(sqlite3.connect(path)) as connection:
        return [row for (row,) in connection.execute(f"SELECT rowid FROM {index} WHERE {index} MATCH ?", (word,))]


async def test_each_kind(tmp_path: Path, database: Database, cli: Cli) -> None:
    """Indexes of other tables, and with text of their own, find new words and no old ones; the others are named."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(SCHEMA)
        for index in FILLED:
            connection.execute(f"INSERT INTO {index} (rowid, t) SELECT id, t FROM a")
        connection.executescript(TRIGGERS)
    flags = ("--exclude", "free5,own?,fed5,some5")
    ended = cli("run", "--source", old, "--schema", "create", *flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    changed = "UPDATE a SET t = 'fresh' WHERE id = 1; DELETE FROM a WHERE id = 2; INSERT INTO a VALUES (9, 'fresh', 9)"
    await database.execute(changed)
    ended = cli("rollback", "--like", old, "--to", new, *flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    for index in ("own3", "own4", "own5", "fed5", "of4", "of5"):
        assert found(new, index, "fresh") == [1, 9], index
        assert found(new, index, "apple") == found(new, index, "pears") == [], index
        assert found(new, index, "figs") == [4], index
    for index in ("bare4", "bare5", "some5"):
        assert f"the full-text index {index} is as in the old file" in ended.stdout
        assert found(new, index, "apple") == [1]
    # Followed literally.
    statements = ended.stdout.split("index some5 ")[1].split("; run ")[1].splitlines()[0]
    with closing(sqlite3.connect(new)) as connection:
        connection.executescript(statements)
        connection.execute("INSERT INTO bare5 (bare5) VALUES ('delete-all')")
        connection.commit()
    assert found(new, "some5", "fresh") == [1, 9]
    assert found(new, "free5", "text") == [1]
    assert "of5 is as" not in ended.stdout
