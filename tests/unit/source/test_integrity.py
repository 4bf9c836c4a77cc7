"""What is no damage: the rows are read around it, and it is told. What is damage is still found."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import Cli, contents, quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.errors import SourceUnreadable
from migrator.source.database import Source
from migrator.source.integrity import check_intact, unless_damaged


def _by_the_application(path: Path, script: str) -> Path:
    """Run a script with a collation and a function that only the application has."""
    with closing(sqlite3.connect(path)) as connection:
        connection.create_collation("unicase", lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower()))
        connection.create_function("slug", 1, str.lower, deterministic=True)
        connection.executescript(script)
    return path


async def _is_intact(path: Path, tables: Sequence[str] = ("t",)) -> bool:
    source = Source(path)
    try:
        await check_intact(source, tables)
    except SourceUnreadable:
        return False
    finally:
        await source.close()
    return True


SOURCE_ONLY = ("--source-only",)
LAGGING = {
    "fts4": "CREATE VIRTUAL TABLE f USING fts4(content='t', v)",
    "fts5": "CREATE VIRTUAL TABLE f USING fts5(v); INSERT INTO f VALUES ('a'); UPDATE f_content SET c0 = 'b'",
    "external fts5": "CREATE VIRTUAL TABLE f USING fts5(v, content='t', content_rowid='id')",
    "rtree": "CREATE VIRTUAL TABLE f USING rtree(id, a, b); INSERT INTO f VALUES (1, 2, 3); DELETE FROM f_rowid",
}


@pytest.mark.one_server
@pytest.mark.parametrize("script", LAGGING.values(), ids=LAGGING)
async def test_an_index_of_another_kind_that_lags_behind(
    script: str, make_sqlite: MakeSqlite, database: Database, cli: Cli
) -> None:
    """A full-text index that doesn't fit its content, or an R-tree, isn't read: it is told where SQLite finds it so."""
    path = make_sqlite(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); {script}; INSERT INTO t VALUES (1, 'hello')")
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    flags = ("--source", path, "--schema", "existing", *quick_flags())
    ended = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert await contents(database, "t") == ["(1,hello)"]
    told = [event for event in ended.events if event["event"] == "source.read_around"]
    assert [event["table"] for event in told] == ([] if script == LAGGING["external fts5"] else ["f"])


COLLATED = {
    "column": "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT COLLATE unicase)",
    "index": "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX i ON t (v COLLATE unicase)",
    "unique": "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT COLLATE unicase UNIQUE)",
    "key": "CREATE TABLE t (id INTEGER, v TEXT COLLATE unicase PRIMARY KEY)",
    "key without rowid": "CREATE TABLE t (id INTEGER, v TEXT COLLATE unicase, PRIMARY KEY (v, id)) WITHOUT ROWID",
    "index on an expression": "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX i ON t (slug(v))",
    "partial index": "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX i ON t (v) WHERE slug(v) > 'a'",
    "check": "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT CHECK (slug(v) <> 'z'))",
    "check with a collation": "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT CHECK (v COLLATE unicase <> 'z'))",
    "trigger": "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); "
    "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT slug(new.v); END",
}


@pytest.mark.one_server
@pytest.mark.parametrize("script", COLLATED.values(), ids=COLLATED)
@pytest.mark.parametrize("target", ["text", "citext", "bytea"])
async def test_what_only_the_application_knows(
    script: str, target: str, sqlite_file: Path, database: Database, cli: Cli
) -> None:
    """Its collations and functions aren't needed for the rows, wherever they are; keys of the target are looked at."""
    path = _by_the_application(sqlite_file, f"{script}; INSERT INTO t (id, v) VALUES (1, 'b'), (2, 'A'), (3, 'Ab')")
    if target == "citext":
        await database.execute("CREATE EXTENSION citext")
    await database.execute(f"CREATE TABLE t (id int PRIMARY KEY, v {target} UNIQUE)")
    flags = ("--source", path, "--schema", "existing", *quick_flags())
    ended = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    rows = await database.fetch("SELECT id, v::text FROM t ORDER BY id")
    texts = ["b", "A", "Ab"] if target != "bytea" else ["\\x62", "\\x41", "\\x4162"]
    assert [tuple(row) for row in rows] == list(zip((1, 2, 3), texts, strict=True))
    alone = cli("check", "--source", path, *SOURCE_ONLY)
    assert alone.code == 0, alone.stderr


async def test_a_function_of_the_application(sqlite_file: Path, database: Database, cli: Cli) -> None:
    """A column that needs it is named, and the flag that leaves it out; one that the target computes isn't read."""
    script = (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w TEXT AS (slug(v))); INSERT INTO t (id, v) VALUES (1, 'B')"
    )
    path = _by_the_application(sqlite_file, script)
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text, w text)")
    flags = ("--source", path, "--schema", "existing", *quick_flags())
    for command in (("check", *flags[:2]), ("run", *flags)):
        refused = cli(*command, MIGRATOR_TARGET_URL=database.url)
        assert refused.code == 3
        assert "'t.w' calls slug()" in refused.message
        assert "--exclude t.w" in str(refused.failure["next_step"])
    ended = cli("run", *flags, "--exclude", "t.w", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert await contents(database, "t") == ["(1,B,)"]
    await database.execute("DROP SCHEMA migrator CASCADE; DROP TABLE t")
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text, w text GENERATED ALWAYS AS (lower(v)) STORED)")
    ended = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert "t.w" in ended.stdout
    assert await contents(database, "t") == ["(1,B,b)"]
    alone = cli("check", "--source", path, *SOURCE_ONLY)
    assert alone.code == 0, alone.stderr
    assert "slug()" in alone.stdout


def _damage(path: Path, table: str) -> None:
    """Write noise over the middle of the first page of a table that is no branch."""
    with closing(sqlite3.connect(path)) as connection:
        [(root,)] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchall()
        [(size,)] = connection.execute("PRAGMA page_size").fetchall()
    data = bytearray(path.read_bytes())
    data[(root - 1) * size : (root - 1) * size + 200] = b"\xa5" * 200
    path.write_bytes(data)


TWO = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE u (id INTEGER PRIMARY KEY, v TEXT COLLATE unicase)"


@pytest.mark.parametrize("stuck", [False, True], ids=["plain", "with a collation"])
async def test_damage_is_found(stuck: bool, sqlite_file: Path) -> None:  # noqa: FBT001 - a case
    """That of a table which is read, with or without what only the application knows; a table left out may have any."""
    index = "; CREATE INDEX i ON u (v)" if stuck else ""
    rows = "; INSERT INTO t VALUES (1, 'a'), (2, 'b'); INSERT INTO u VALUES (1, 'a'), (2, 'b')"
    path = _by_the_application(sqlite_file, TWO + index + rows)
    assert await _is_intact(path, ["t", "u"])
    _damage(path, "u")
    assert not await _is_intact(path, ["t", "u"])
    assert await _is_intact(path, ["t"])
    _damage(path, "t")
    assert not await _is_intact(path, ["t"])


@pytest.mark.parametrize("is_damaged", [True, False])
async def test_damage_is_told_in_the_place_of_what_it_does_to_a_reading(*, is_damaged: bool) -> None:
    """A reading that fails before the check of the file has ended waits for it."""
    has_failed = asyncio.Event()

    async def intact() -> None:
        await has_failed.wait()
        await asyncio.sleep(0)
        if is_damaged:
            raise SourceUnreadable("damaged", next_step="")

    async def read() -> None:
        has_failed.set()
        raise SourceUnreadable("not read", next_step="")

    with pytest.raises(ExceptionGroup) as raised:
        await unless_damaged(intact, read)
    assert {str(error) for error in raised.value.exceptions} == {"damaged" if is_damaged else "not read"}


async def test_damage_ends_a_reading() -> None:
    """A large file isn't read to its end if it is damaged."""
    begun = asyncio.Event()

    async def intact() -> None:
        await begun.wait()
        raise SourceUnreadable("damaged", next_step="")

    async def read() -> None:
        begun.set()
        await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await unless_damaged(intact, read)
    assert [str(error) for error in raised.value.exceptions] == ["damaged"]
