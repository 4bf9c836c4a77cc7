"""``migrator rollback``: PostgreSQL's present rows in a file like the old one, in which nothing else has changed."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fix_forms import about
from fix_job import Cli, Ended, contents, settings_of
from fix_postgres import Database

from migrator.errors import Mismatch
from migrator.monitoring.tracker import Tracker
from migrator.rollback import command, new_file
from migrator.source.file import open_file

SCHEMA = """
PRAGMA page_size = 8192; PRAGMA application_id = 77; PRAGMA user_version = 5; PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(40) NOT NULL UNIQUE, ok BOOLEAN, at DATETIME,
    iso TEXT, amount DECIMAL(10, 2), uid CHAR(36), raw BLOB, meta JSON, note TEXT COLLATE NOCASE, size REAL,
    shout TEXT AS (upper(name)) VIRTUAL);
CREATE TABLE pairs (a TEXT, b TEXT, v INTEGER, more TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE bag (x INT, y TEXT);
CREATE TABLE strict_one (id INTEGER PRIMARY KEY, t TEXT NOT NULL) STRICT;
CREATE TABLE parents (id INTEGER PRIMARY KEY, t TEXT);
CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id) ON DELETE CASCADE, word BOOLEAN);
CREATE VIRTUAL TABLE words USING fts5(t, content = 'parents', content_rowid = 'id');
CREATE TRIGGER words_in AFTER INSERT ON parents BEGIN INSERT INTO words (rowid, t) VALUES (new.id, new.t); END;
CREATE TRIGGER words_out AFTER DELETE ON parents
    BEGIN INSERT INTO words (words, rowid, t) VALUES ('delete', old.id, old.t); END;
CREATE TRIGGER logged AFTER INSERT ON users BEGIN INSERT INTO bag VALUES (99, new.name); END;
CREATE INDEX by_time ON users (at) WHERE ok;
CREATE TABLE never (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT);
CREATE VIEW names AS SELECT name FROM users;
"""
RULES = """
[columns."children.word"]
true = ["yes"]
false = ["no"]
type = "boolean"
[columns."users.uid"]
type = "uuid"
[columns."users.raw"]
type = "uuid"
[columns."users.iso"]
type = "timestamptz"
"""
CHANGES = """
UPDATE users SET ok = NOT ok WHERE id BETWEEN 10 AND 20;
UPDATE users SET id = 5000 WHERE id = 30;
DELETE FROM users WHERE id = 100;
INSERT INTO users (name, ok, at, iso, amount, uid, raw, meta, note, size) VALUES ('new', true,
    '2026-11-11 11:11:11.5', '2026-01-01 00:00:00+02', 12.30, 'db6c05c3-849e-4f57-8d2b-1d09b00cde05',
    'db6c05c3-849e-4f57-8d2b-1d09b00cde05', '{"z": 1}', NULL, 2.5);
INSERT INTO parents VALUES (777, 'fresh text');
DELETE FROM parents WHERE id = 3;
INSERT INTO children VALUES (900, 777, true);
DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE x = 3 LIMIT 2);
INSERT INTO bag VALUES (3, 'q');
UPDATE pairs SET v = v + 1 WHERE a = 'a7';
INSERT INTO pairs VALUES ('zz', 'b', 1, 'e');
INSERT INTO never (t) VALUES ('a'), ('b');
DELETE FROM never;
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Give a file with every sort of table, and values in many forms."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
        connection.executemany(
            "INSERT INTO users (name, ok, at, iso, amount, uid, raw, meta, note, size) VALUES (?,?,?,?,?,?,?,?,?,?)",
            [
                (
                    f"n{i}",
                    i % 2 if i % 7 else None,
                    f"2024-01-{i % 28 + 1:02} 10:00:00.{i:06}",
                    f"2024-01-{i % 28 + 1:02}T10:00:00Z",
                    i / 4,
                    UUID(int=i).hex,
                    UUID(int=i).bytes,
                    json.dumps({"a": i}, separators=(",", ":")),
                    None if i % 3 else "É",
                    i / 3,
                )
                for i in range(1, 2001)
            ],
        )
        connection.executemany("INSERT INTO pairs VALUES (?,?,?,NULL)", [(f"a{i}", f"b{i % 5}", i) for i in range(300)])
        connection.execute("DELETE FROM bag")
        connection.executemany("INSERT INTO bag VALUES (?, 'z')", [(i % 10,) for i in range(50)])
        connection.executemany("INSERT INTO strict_one VALUES (?, 'text')", [(i,) for i in range(5)])
        connection.executemany("INSERT INTO parents VALUES (?, ?)", [(i, f"word{i} hello") for i in range(1, 101)])
        rows = [(i, i, "yes" if i % 2 else "no") for i in range(1, 101)]
        connection.executemany("INSERT INTO children VALUES (?, ?, ?)", rows)
        connection.execute("DELETE FROM users WHERE id = 2000")
        connection.execute("UPDATE sqlite_sequence SET seq = 6000")
        connection.commit()
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Give the rules file of the way out, which the way back uses, too."""
    path = tmp_path / "rules.toml"
    path.write_text(RULES, encoding="utf-8")
    return path


@pytest.fixture
def moved(old: Path, rules: Path, database: Database, cli: Cli) -> Database:
    """Give the database after the migration."""
    ended = cli(*("run", "--source", old, "--schema", "create", "--rules", rules), MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    return database


def rolled_back(cli: Cli, database: Database, old: Path, *more: object) -> Ended:
    """Roll back to ``new.db`` beside the old file."""
    return cli("rollback", "--like", old, "--to", new_of(old), *more, MIGRATOR_TARGET_URL=database.url)


def new_of(old: Path) -> Path:
    """Return the path of the new file."""
    return old.with_name("new.db")


def cells(path: Path, table: str) -> list[tuple[Any, ...]]:
    """Return every value of a table with its storage class, and its rowid, if it has one."""
    with closing(open_file(path)) as connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_xinfo({table})") if row[6] in {0, 2, 3}]
        selected = ", ".join(f'"{name}", typeof("{name}")' for name in columns)
        rowid = "" if table == "pairs" else "rowid, "
        return sorted(connection.execute(f"SELECT {rowid}{selected} FROM {table}").fetchall(), key=repr)


TABLES = ("users", "pairs", "bag", "strict_one", "parents", "children")


def test_without_a_change_the_new_file_is_the_old_one(old: Path, rules: Path, moved: Database, cli: Cli) -> None:
    """Every value and storage class, every rowid, schema and pragmas are the same."""
    before = old.read_bytes()
    ended = rolled_back(cli, moved, old, "--rules", rules)
    assert ended.code == 0, ended.stderr
    assert sorted(path.name for path in old.parent.iterdir() if path.name.startswith("new")) == ["new.db"]
    assert [cells(new_of(old), table) for table in TABLES] == [cells(old, table) for table in TABLES]
    assert list(about(new_of(old))) == list(about(old))
    assert old.read_bytes() == before


async def test_changes_come_back_in_the_old_form(old: Path, rules: Path, moved: Database, cli: Cli) -> None:
    """New and changed values are stored as their column's old values are; all other rows are identical; counts tell."""
    await moved.execute(CHANGES)
    before = [await contents(moved, table) for table in TABLES]
    ended = rolled_back(cli, moved, old, "--rules", rules, "--format", "json")
    assert ended.code == 0, ended.stderr
    report = json.loads(ended.stdout)
    counts = {table["table"]: [table[kind] for kind in ("unchanged", "changed", "added", "deleted")]
              for table in report["tables"]}  # fmt: skip
    assert counts == {
        "users": [1987, 10, 2, 2],  # row 14 had no value in ok, and NOT NULL is NULL
        "pairs": [299, 1, 1, 0],
        "bag": [48, 0, 1, 2],
        "strict_one": [5, 0, 0, 0],
        "parents": [99, 0, 1, 1],
        "children": [99, 0, 1, 1],
        "never": [0, 0, 0, 0],
    }
    new = new_of(old)
    assert list(about(new)) == list(about(old))
    old_cells, new_cells = cells(old, "users"), cells(new, "users")
    changed = {*range(10, 21), 30, 100}
    assert [row for row in new_cells if row[0] in range(1, 2000)] == [
        row if row[0] not in changed else next(now for now in new_cells if now[0] == row[0])
        for row in old_cells
        if row[0] not in {30, 100}
    ]
    [given] = [row for row in new_cells if "new" in row]
    assert given[0] == 6001
    assert given[3::2] == (
        *("new", 1, "2026-11-11 11:11:11.500000", "2025-12-31T22:00:00Z", 12.3),
        *("db6c05c3849e4f578d2b1d09b00cde05", UUID("db6c05c3-849e-4f57-8d2b-1d09b00cde05").bytes, '{"z":1}'),
        *(None, 2.5, "NEW"),
    )
    with closing(open_file(new)) as connection:
        marks = dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        assert (marks["users"], marks["never"]) == (6001, 2)
        assert connection.execute("SELECT * FROM children WHERE id IN (3, 900)").fetchall() == [(900, 777, "yes")]
        found = [connection.execute("SELECT count(*) FROM words WHERE words MATCH ?", (word,)).fetchone()[0]
                 for word in ("hello", "fresh", "word3")]  # fmt: skip
        assert found == [99, 1, 0]
    assert [await contents(moved, table) for table in TABLES] == before


@pytest.mark.one_server
async def test_rollback_of_a_rollback(old: Path, rules: Path, moved: Database, cli: Cli) -> None:
    """The new file serves as an old one: moved to an empty database, it gives the same rows once more."""
    await moved.execute(CHANGES)
    assert rolled_back(cli, moved, old, "--rules", rules).code == 0
    rows = [await contents(moved, table) for table in TABLES]
    again = cli(
        *("run", "--source", new_of(old), "--schema", "create", "--rules", rules, "--restart", "--force"),
        MIGRATOR_TARGET_URL=moved.url,
    )
    assert again.code == 0, again.stderr
    assert [await contents(moved, table) for table in TABLES] == rows


@pytest.mark.one_server
async def test_a_writer_during_it_changes_nothing(old: Path, rules: Path, moved: Database, cli: Cli) -> None:
    """All sessions see one moment: rows that come while it reads are in no table of the new file."""
    await moved.execute("INSERT INTO parents SELECT n, 'more' FROM generate_series(1000, 60000) n")
    process = cli.start(
        *("rollback", "--like", old, "--to", new_of(old), "--rules", rules), MIGRATOR_TARGET_URL=moved.url
    )
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line).get("stage") == "compare":
            break
    await moved.execute("INSERT INTO bag VALUES (1000, 'late'); INSERT INTO strict_one VALUES (1000, 'late')")
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0, (out, said)
    assert not [row for table in ("bag", "strict_one") for row in cells(new_of(old), table) if "late" in row]


@pytest.mark.one_server
@pytest.mark.parametrize("column", ["unchanged", "changed"])
async def test_a_tampered_cell_is_found(
    old: Path, rules: Path, moved: Database, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that is not what it has to be ends it with 1, named by table, key and column; there is no new file."""
    await moved.execute(CHANGES)
    kept = new_file.apply

    def tampered(path: Path, *arguments: Any) -> Any:  # noqa: ANN401 - as the function that it stands for
        forms = kept(path, *arguments)
        with closing(sqlite3.connect(path)) as connection:
            key = 5 if column == "unchanged" else 12
            # 1.5 and '1.5' are one value to PostgreSQL; only the storage class tells that the row was touched.
            value = "name = name || ' '" if column == "changed" else "note = CAST(note AS BLOB), at = at || '000'"
            connection.execute(f"UPDATE users SET {value} WHERE id = {key}")
            connection.commit()
        return forms

    monkeypatch.setattr(command, "apply", tampered)
    settings = settings_of(old, moved, like=str(old), to=str(new_of(old)), rules=str(rules))
    with pytest.raises(Mismatch) as caught:
        await command.rollback(settings, Tracker())
    assert "users" in str(caught.value)
    assert not new_of(old).exists()
