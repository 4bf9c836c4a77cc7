"""Tables and columns are named like what the way back uses: aliases, scratch databases, SQLite's hidden columns."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import Cli
from fix_postgres import Database

from migrator.names import quote_postgres, quote_sqlite
from migrator.source.file import open_file

pytestmark = pytest.mark.one_server

OWN = (
    *("identity", "place", "weight", "number", "generation", "reference", "folded", "stored", "kept", "times"),
    *("s", "t", "o", "n", "p", "a", "b", "c", "d", "f", "g", "k0", "h0", "n0", "e0_0", "c0", "e0", "key0", "key1"),
    *("rows", "cells", "old", "main", "temp", "here", "there", "changed", "added", "deleted", "sample", "none"),
    *("given", "row", "last", "first", "by_rows", "by_bytes", "value", "key", "count", "part", "type", "atom", "json"),
    *("rank", "docid", "row_hash", "key_hash", "bucket", "rows_read", "source_rows", "target_rows", "pairs", "j"),
)
"""Names that statements use beside the application's."""

TABLES = {
    "s": "",
    "rows": "",
    "old": "",
    "0 changed": "",
    "weight": ", PRIMARY KEY (weight)",
    "identity": ", PRIMARY KEY (identity, place)",
    "last": ", PRIMARY KEY (last)",
}
"""The tables, each with all of the columns, and its key. Those with a key are WITHOUT ROWID."""

ROWS = 40


def _made(path: Path) -> None:
    columns = ", ".join(f"{quote_sqlite(name)} INTEGER" for name in OWN)
    with closing(sqlite3.connect(path)) as connection:
        for table, key in TABLES.items():
            without = " WITHOUT ROWID" if key else ""
            connection.execute(f"CREATE TABLE {quote_sqlite(table)} ({columns}{key}){without}")
            for row in range(ROWS):
                values = ", ".join(str(row * 100 + place) for place in range(len(OWN)))
                connection.execute(f"INSERT INTO {quote_sqlite(table)} VALUES ({values})")
        connection.executescript(
            """
            CREATE TABLE hidden (rowid TEXT, oid INTEGER PRIMARY KEY, at DATETIME, note TEXT);
            CREATE TABLE taken (rowid TEXT, oid TEXT, _rowid_ INTEGER, at DATETIME);
            CREATE VIRTUAL TABLE words USING fts5(note);
            CREATE TABLE rank (rank INTEGER PRIMARY KEY, rowid TEXT, words TEXT);
            CREATE VIRTUAL TABLE content USING fts5(words, content = 'rank', content_rowid = 'rank');
            """
        )
        for row in range(1, ROWS):
            at = f"2024-01-01T10:00:{row:02}Z"
            connection.execute("INSERT INTO hidden VALUES (?, ?, ?, ?)", (f"r{row}", row, at, f"word{row}"))
            connection.execute("INSERT INTO taken VALUES (?, ?, ?, ?)", (f"r{row}", f"o{row}", row, at))
            connection.execute("INSERT INTO rank VALUES (?, ?, ?)", (row, f"r{row}", f"word{row}"))
        connection.execute("INSERT INTO words (rowid, note) SELECT _rowid_, note FROM hidden")
        connection.execute("INSERT INTO content (rowid, words) SELECT rank, words FROM rank")
        connection.commit()


def _rows(path: Path, table: str) -> list[str]:
    with closing(open_file(path)) as connection:
        return sorted(map(repr, connection.execute(f"SELECT * FROM {quote_sqlite(table)}")))


async def test_names_of_our_own(tmp_path: Path, database: Database, cli: Cli) -> None:
    """Changed, new and deleted rows of such tables come back, and indexes over their text find them."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    _made(old)
    ended = cli("run", "--source", old, "--schema", "create", "--exclude", "words", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    for table in TABLES:
        name = quote_postgres(table)
        await database.execute(f"UPDATE {name} SET h0 = -1 WHERE weight = 102")
        await database.execute(f"DELETE FROM {name} WHERE weight = 302")
        listed, selected = ", ".join(map(quote_postgres, OWN)), ", ".join(f"9000 + {i}" for i in range(len(OWN)))
        await database.execute(f"INSERT INTO {name} ({listed}) SELECT {selected}")
    await database.execute(
        """
        UPDATE hidden SET note = 'fresh' WHERE oid = 5;
        INSERT INTO hidden VALUES ('5', 900, '2025-01-01 00:00:00', 'fresh');
        UPDATE taken SET at = '2025-01-01 00:00:00' WHERE _rowid_ = 5;
        DELETE FROM taken WHERE _rowid_ = 6;
        UPDATE rank SET words = 'fresh' WHERE rank = 5;
        """
    )
    ended = cli("rollback", "--like", old, "--to", new, "--exclude", "words", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    for table in TABLES:
        before, after = _rows(old, table), _rows(new, table)
        assert len([row for row in after if row not in before]) == 2, table
        assert len([row for row in before if row not in after]) == 2, table
    with closing(open_file(new)) as connection:
        found = [
            connection.execute(f"SELECT rowid FROM {index} WHERE {index} MATCH 'fresh' ORDER BY 1").fetchall()
            for index in ("words", "content")
        ]
        assert found == [[(5,), (900,)], [(5,)]]
        assert connection.execute("SELECT at FROM hidden WHERE oid = 900").fetchone() == ("2025-01-01T00:00:00Z",)
        assert connection.execute("SELECT at FROM taken WHERE _rowid_ IN (5, 6)").fetchall() == [
            ("2025-01-01T00:00:00Z",)
        ]


async def test_equal_rows_without_a_name(tmp_path: Path, database: Database, cli: Cli) -> None:
    """Where columns hide the rowid and there is no key, equal rows that changed are refused by the table's name."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE other (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE twice (rowid TEXT, oid TEXT, _rowid_ INTEGER)")
        connection.executemany("INSERT INTO twice VALUES (?, 'o', 1)", [("a",), ("a",), ("b",)])
        connection.commit()
    ended = cli("run", "--source", old, "--schema", "create", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    flags = ("--like", old, "--to", new)
    await database.execute("DELETE FROM twice WHERE rowid = 'a'")
    ended = cli("rollback", *flags, MIGRATOR_TARGET_URL=database.url)
    assert (ended.code, ended.failure["table"]) == (3, "twice")
    excluded = ended.failure["next_step"].split("--exclude ")[1].split(",")[0]
    assert cli("rollback", *flags, "--exclude", excluded, MIGRATOR_TARGET_URL=database.url).code == 0
    assert _rows(new, "twice") == _rows(old, "twice")
