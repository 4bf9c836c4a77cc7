"""Virtual tables: what is their storage and what only looks like it, and rows that nothing else holds."""

import sqlite3
from contextlib import closing
from pathlib import Path

import adbc_driver_sqlite.dbapi as adbc
import pytest
from fix_job import Cli, contents, quick_flags, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.errors import NoMatch
from migrator.job import run
from migrator.monitoring.tracker import Tracker
from migrator.source.database import Source
from migrator.source.file import uri_of
from migrator.source.schema import SourceDatabase
from migrator.source.virtual_tables import owner_of, virtual_table

DEFINITIONS = [
    "fts3",
    "fts3(a, content='docs')",
    "fts4(a)",
    'FTS4 ( a TEXT, content="docs" )',
    "fts4(content=, a)",
    "fts4(a, matchinfo=fts3)",
    "fts5(a, b)",
    "fts5(a, content='')",
    "fts5(a, content='', contentless_delete=1)",
    "fts5(a, b UNINDEXED, content='', contentless_unindexed=1)",
    "fts5(a, content = 'docs', content_rowid=id, columnsize = 0)",
    "fts5(a, columnsize=0, tokenize = 'porter ascii') -- content='docs'",
    "fts5(/* content='docs', */ a, prefix='2, 3')",
    "rtree(id, a, b)",
    "rtree_i32(id, a, b)",
    "geopoly(content)",
]


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_storage_is_what_the_module_has_made(definition: str, tmp_path: Path) -> None:
    """As SQLite itself has made it, under a name that has to be quoted."""
    path = tmp_path / "made.db"
    with adbc.connect(uri_of(path).removesuffix("?mode=ro")) as connection, connection.cursor() as cursor:
        cursor.executescript("CREATE TABLE docs (id INTEGER PRIMARY KEY, a)")
        cursor.executescript(f'CREATE VIRTUAL TABLE "a using ""b" USING {definition}')
        connection.commit()
    with closing(sqlite3.connect(path)) as reading:
        tables = dict(reading.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall())
    made = virtual_table('a using "b', tables.pop('a using "b'))
    del tables["docs"]
    assert {name.casefold() for name in tables} == made.storage
    assert all(owner_of(name, sql, [made]) is made for name, sql in tables.items())
    assert made.content is None or made.content in tables


async def _described(path: Path) -> SourceDatabase:
    source = Source(path)
    try:
        return await source.describe()
    finally:
        await source.close()


LOOKALIKES = [
    ("posts_content", "fts5(body, content='posts_content', content_rowid='id')"),
    ("posts_content", 'fts4(content="posts_content", body)'),
    ("posts_stat", "fts3(body)"),
    ("posts_docsize", "fts3(body)"),
    ("posts_docsize", "fts5(body, columnsize=0)"),
    ("posts_config", "fts4(body)"),
    ("posts_rowid", "fts5(body)"),
    ("posts_data", "rtree(id, x, y)"),
    ("POSTS_Content", "fts5(body, content='')"),
]


@pytest.mark.parametrize(("name", "definition"), LOOKALIKES)
async def test_a_table_that_is_called_like_storage(name: str, definition: str, make_sqlite: MakeSqlite) -> None:
    """It is the application's: the module has made none of that name."""
    script = f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, body TEXT); CREATE VIRTUAL TABLE posts USING {definition};"
    found = await _described(make_sqlite(script))
    assert [(table.name, len(table.columns)) for table in found.tables] == [(name, 2)]


async def test_a_module_that_is_not_there(make_sqlite: MakeSqlite) -> None:
    """Its table is told, and what may be its storage is taken for tables: they are carried, or refused by name."""
    path = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE v_chunks (id INTEGER)")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "PRAGMA writable_schema = on; INSERT INTO sqlite_schema VALUES "
            "('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING vec0(e float[4])')"
        )
        connection.commit()
    found = await _described(path)
    assert [table.name for table in found.tables] == ["t", "v_chunks"]
    assert [(one.name, one.rows) for one in found.skipped] == [("v", None)]


OWN_ROWS = {
    "another column": "CREATE VIRTUAL TABLE own USING fts5(w); INSERT INTO own VALUES ('a')",
    "a row more": "CREATE VIRTUAL TABLE own USING fts5(v); INSERT INTO own VALUES ('a'), ('only here')",
    "an excess of columns": "CREATE VIRTUAL TABLE own USING fts4(v, w); INSERT INTO own VALUES ('a', 'b')",
    "another number": "CREATE VIRTUAL TABLE own USING fts3(v); INSERT INTO own(docid, v) VALUES (7, 'only here')",
    "boxes": "CREATE VIRTUAL TABLE own USING rtree(id, v0, v1); INSERT INTO own VALUES (1, 2, 3)",
}
INDEXES = {
    "by number": "CREATE VIRTUAL TABLE own USING fts5(v); INSERT INTO own(rowid, v) VALUES (1, 'before')",
    "by what it says": "CREATE VIRTUAL TABLE own USING fts4(V TEXT, tokenize=porter); "
    "INSERT INTO own(docid, V) VALUES (7, 'a')",
    "half of the columns": "CREATE VIRTUAL TABLE own USING fts3(v, tokenize porter); INSERT INTO own VALUES ('a')",
}


@pytest.mark.one_server
@pytest.mark.parametrize("script", OWN_ROWS.values(), ids=OWN_ROWS)
async def test_rows_that_nothing_else_holds(script: str, make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """Refused by name and number, also where the target has no table for them, until somebody has named them."""
    path = make_sqlite(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'); {script}")
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    flags = ("--source", path, "--schema", "existing", *quick_flags())
    for command in (("check", *flags[:2]), ("run", *flags)):
        refused = cli(*command, MIGRATOR_TARGET_URL=database.url)
        assert refused.code == NoMatch.exit_code, refused.stderr
        assert "'own' (a virtual table, with " in refused.message
        assert "--exclude own" in str(refused.failure["next_step"])
    assert await contents(database, "t") == []
    ended = cli("run", *flags, "--exclude", "own", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert await contents(database, "t") == ["(1,a)"]


@pytest.mark.one_server
@pytest.mark.parametrize("script", INDEXES.values(), ids=INDEXES)
async def test_an_index_that_keeps_its_text(script: str, make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """Each of its rows is a table's, so nothing is lost; it is told. An index without text of its own has none."""
    path = make_sqlite(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w TEXT); INSERT INTO t VALUES (1, 'a', 'b'); {script}; "
        "CREATE VIRTUAL TABLE over USING fts5(v, content='t', content_rowid='id'); "
        "INSERT INTO over(over) VALUES ('rebuild')"
    )
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text, w text)")
    flags = ("--source", path, "--schema", "existing", *quick_flags())
    ended = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    told = {event["table"]: event for event in ended.events if event["event"] == "table.skipped"}
    assert (told["own"]["level"], told["own"]["reason"]) == ("warning", "a full-text index over 't', with 1 rows")
    assert (told["over"]["level"], told["over"]["reason"]) == ("info", "a virtual table")


@pytest.mark.one_server
async def test_a_module_that_nobody_knows_is_named_first(make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """Nobody can tell whether its table holds rows, so it is left behind only by its name."""
    path = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "PRAGMA writable_schema = on; INSERT INTO sqlite_schema VALUES "
            "('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING vec0(e float[4])')"
        )
        connection.commit()
    await database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    flags = ("--source", path, "--schema", "existing", *quick_flags())
    refused = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert refused.code == NoMatch.exit_code, refused.stderr
    assert "'v' (a virtual table of the module 'vec0', unknown here)" in refused.message
    assert cli("run", *flags, "--exclude", "v", MIGRATOR_TARGET_URL=database.url).code == 0


@pytest.mark.one_server
async def test_rows_that_the_target_has_a_table_for(make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """They can't be read, so the run is refused by name; with the flag that it advises they stay behind."""
    path = make_sqlite(
        "CREATE TABLE t (id INTEGER); CREATE VIRTUAL TABLE own USING fts5(v); INSERT INTO own VALUES ('x')"
    )
    await database.execute("CREATE TABLE t (id int); CREATE TABLE own (v text)")
    flags = ("--source", path, "--schema", "existing", *quick_flags())
    refused = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert refused.code == NoMatch.exit_code
    assert "'own' (a virtual table, with 1 rows of its own)" in refused.message
    assert "--exclude own" in str(refused.failure["next_step"])
    ended = cli("run", *flags, "--exclude", "own", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr


@pytest.mark.one_server
async def test_rows_that_no_table_is_made_for(make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """Where the job makes the tables itself it makes none for them, and so refuses until somebody has named them."""
    path = make_sqlite(
        "CREATE TABLE t (id INTEGER); CREATE VIRTUAL TABLE own USING fts5(v); INSERT INTO own VALUES ('x')"
    )
    flags = ("--source", path, "--schema", "create", *quick_flags())
    refused = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert refused.code == NoMatch.exit_code
    assert "--exclude own" in str(refused.failure["next_step"])
    ended = cli("run", *flags, "--exclude", "own", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr


@pytest.mark.one_server
@pytest.mark.parametrize(("name", "definition"), LOOKALIKES[:3])
async def test_it_is_copied(name: str, definition: str, make_sqlite: MakeSqlite, database: Database) -> None:
    """With all of its rows, and without a flag."""
    script = f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, body TEXT); CREATE VIRTUAL TABLE posts USING {definition};"
    await database.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, body text)")
    path = make_sqlite(script, {name: [(1, "hello"), (2, "world")]})
    await run.run(settings_of(path, database), Tracker())
    assert await contents(database, name) == ["(1,hello)", "(2,world)"]
