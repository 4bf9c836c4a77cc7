"""Files that keep their text in UTF-16: what arrives is what arrives from the same file in UTF-8."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import Cli, contents, quick_flags, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite, Rows

from migrator.job import run
from migrator.monitoring.tracker import Tracker
from migrator.source.database import Source
from migrator.sql.utf8 import utf8_bytes

ENCODINGS = ("UTF-16le", "UTF-16be")
SOURCE = """
PRAGMA encoding = '{encoding}';
CREATE TABLE t (
    id INTEGER PRIMARY KEY, words TEXT, short VARCHAR(5), bytes BLOB, u TEXT, moment TEXT, day TEXT, price NUMERIC,
    document TEXT, label TEXT, folded TEXT, span TEXT, flags TEXT
);
CREATE TABLE "ключ" (k TEXT PRIMARY KEY, "знач" TEXT) WITHOUT ROWID;
"""
TARGET = """
CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('glad', 'traurig', 'ünï');
CREATE TABLE t (
    id int PRIMARY KEY, words text, short varchar(5), bytes bytea UNIQUE, u uuid UNIQUE, moment timestamptz, day date,
    price numeric, document jsonb, label mood, folded citext UNIQUE, span int4range, flags text[]
);
CREATE TABLE "ключ" (k text PRIMARY KEY, "знач" text);
"""
_LAST = ("2024-02-29", "1.50", '{"a": "ü", "b": [1]}', "ünï")
_UUIDS = ("0b7c8a5e-41aa-4d2a-9f7e-0123456789ab", "0B7C8A5E41AA4D2A9F7E0123456789AC", b"0123456789abcdef")
_NONE = (None,) * 8
ROWS: list[tuple[object, ...]] = [
    (1, "plain", "ünï☃😀", "text 😀", _UUIDS[0], "2024-01-02T03:04:05+02:00", *_LAST, "Ada", "[1,5)", "{a,ü}"),
    (2, "😀" * 3000, "", b"\x00\xff\xfe", _UUIDS[1], "2024-01-02 03:04:05.25", *_LAST, "grace", None, None),
    (3, None, None, "", _UUIDS[2], *_NONE),
    (4, "x" * 70_000, "a", "y" * 70_000, None, None, None, 7, None, "glad", "ÄÖÜ", None, "{}"),
]


def _make(make_sqlite: MakeSqlite, encoding: str, file: Path | None = None) -> Path:
    rows: Rows = {"t": ROWS, "ключ": [("я", "值"), ("ж", "🦊"), ("z", "")]}
    return make_sqlite(SOURCE.format(encoding=encoding), rows, file=file)


@pytest.mark.one_server
@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_all_kinds_of_types(encoding: str, make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """Text, bytes, UUIDs, moments, numbers, documents, enums, ranges, arrays, and keys, in odd names: as in UTF-8."""
    await database.execute(TARGET)
    found = []
    for given in ("UTF-8", encoding):
        path = _make(make_sqlite, given, tmp_path / f"{given}.db")
        await run.run(settings_of(path, database), Tracker())
        found.append([await contents(database, name) for name in ("t", '"ключ"')])
        await database.execute('DROP SCHEMA migrator CASCADE; TRUNCATE t, "ключ"')
    assert found[0] == found[1]
    assert [len(rows) for rows in found[1]] == [4, 3]


@pytest.mark.one_server
@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_tables_made_by_the_job(encoding: str, make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """Names, types and rows of --schema create."""
    path = _make(make_sqlite, encoding)
    flags = ("--source", path, "--schema", "create", "--exclude", "t.u", *quick_flags())
    ended = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert await contents(database, '"ключ"') == ['(z,"")', "(ж,🦊)", "(я,值)"]


@pytest.mark.parametrize("encoding", ["UTF-8", *ENCODINGS])
async def test_bytes_of_text(encoding: str, make_sqlite: MakeSqlite) -> None:
    """Of every length at which the header of a JSONB string grows, with NUL and beyond the first plane."""
    texts = [
        "",
        "a",
        "ü",
        "a\0b\0",
        "x" * 11,
        "x" * 12,
        "é" * 127,
        "é" * 128,
        "😀" * 16_384,
        "z" * 65_535,
        "z" * 65_536,
    ]
    values: list[object] = [*texts, b"\x00\xd8", None, 12, 1.5]
    path = make_sqlite(f"PRAGMA encoding = '{encoding}'; CREATE TABLE t (v)", {"t": [(value,) for value in values]})
    wanted = [v if isinstance(v, bytes) or v is None else str(v).encode() for v in values]
    with Source(path).session() as session:
        assert [row["b"] for row in session.ask(f"SELECT {utf8_bytes('v')} AS b FROM t")] == wanted


def _halve_a_pair(path: Path, text: str, encoding: str) -> None:
    """Write half a pair of surrogates where ``text`` has an @."""
    half = "\ud800".encode(encoding, "surrogatepass")
    whole = path.read_bytes()
    stored = text.encode(encoding)
    assert whole.count(stored) == 1
    path.write_bytes(whole.replace(stored, stored.replace("@".encode(encoding), half)))


@pytest.mark.one_server
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", ["before@after", "at the end@", "@😀 twice"])
async def test_half_a_pair(text: str, encoding: str, make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """SQLite reads it as another character; it is refused by key, and nothing is written."""
    path = make_sqlite(
        f"PRAGMA encoding = '{encoding}'; CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
        {"t": [(1, "ok"), (2, text)]},
    )
    _halve_a_pair(path, text, encoding)
    flags = ("--source", path, "--schema", "existing", *quick_flags())
    for target in ("text", "bytea"):
        await database.execute(f"DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v {target})")
        ended = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
        assert ended.code == 3, ended.stderr
        assert "id = 2" in ended.stderr
        assert "id = 1" not in ended.stderr
        assert await contents(database, "t") == []


@pytest.mark.one_server
@pytest.mark.parametrize("encoding", ["UTF-8", *ENCODINGS])
async def test_rules_about_characters(
    encoding: str, make_sqlite: MakeSqlite, database: Database, tmp_path: Path
) -> None:
    """NUL is taken out of text that has one and of no other; the rule for encodings leaves sound text alone."""
    texts = ["plain", "a\0b", "\0", "ü\0\0😀", "\\u0000", "\\\\u0000\0", 'tab\t "q" \x01\0', "ünï"]
    path = make_sqlite(
        f"PRAGMA encoding = '{encoding}'; CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
        {"t": list(enumerate(texts))},
    )
    rules = tmp_path / "migrator.toml"
    rules.write_text('[columns."t.v"]\nnul_bytes = "strip"\ninvalid_utf8 = "replace"\n')
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    await run.run(settings_of(path, database, rules=rules), Tracker())
    rows = await database.fetch("SELECT v FROM t ORDER BY id")
    assert [row["v"] for row in rows] == [text.replace("\0", "") for text in texts]


@pytest.mark.one_server
@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_what_is_refused_is_shown(encoding: str, make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """Keys and values are told as they read, and a UUID with something behind a NUL is none."""
    uuid = "0b7c8a5e-41aa-4d2a-9f7e-0123456789ab"
    path = make_sqlite(
        f"PRAGMA encoding = '{encoding}'; CREATE TABLE t (k TEXT PRIMARY KEY, u TEXT)",
        {"t": [("ключ", "no ünï"), ("hidden", f"{uuid}\0{'x' * 35}"), ("good", uuid)]},
    )
    await database.execute("CREATE TABLE t (k text PRIMARY KEY, u uuid)")
    flags = ("--source", path, "--schema", "existing", *quick_flags())
    ended = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 3
    told = str([event for event in ended.events if event["event"] == "values.refused"])
    assert "k = 'ключ'" in told
    assert "'no ünï'" in told
    assert "k = 'hidden'" in told
    assert "k = 'good'" not in told


def test_the_files_are_what_they_are_called(make_sqlite: MakeSqlite) -> None:
    """Else the tests above would be about UTF-8."""
    path = _make(make_sqlite, "UTF-16be")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA encoding").fetchall() == [("UTF-16be",)]
