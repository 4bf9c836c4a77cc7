"""``check --schema create``: what ``run`` would refuse of tables that don't exist yet, and of the values for them."""

from pathlib import Path

import pytest
from fix_job import contents, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.config.settings import Settings
from migrator.errors import MigratorError, NoMatch, TargetRefused, ValuesRefused
from migrator.job import check as job_check
from migrator.job import run as job_run
from migrator.monitoring.tracker import Tracker


async def check(settings: Settings) -> MigratorError | None:
    """Return what ``check`` ends with, or None for 0."""
    try:
        return (await job_check.check(settings, Tracker())).failure
    except MigratorError as error:
        return error


async def run(settings: Settings) -> MigratorError | None:
    """Return what ``run`` ends with, or None for 0."""
    try:
        await job_run.run(settings, Tracker())
    except MigratorError as error:
        return error
    return None


REFUSED = {
    "a guard that can't be carried": ("CREATE TABLE t (n TEXT, CHECK (json_valid(n)))", "the CHECK json_valid(n)"),
    "a type that nobody knows": ("CREATE TABLE t (n); INSERT INTO t VALUES (1), (x'00')", "column n"),
    "a name that PostgreSQL keeps": ("CREATE TABLE t (xmin INT, n INT CHECK (n GLOB 'a*'))", "xmin"),
    "names that are one": (f"CREATE TABLE {'a' * 63}b (n INT); CREATE TABLE {'a' * 63}c (n INT)", "cut at 63 bytes"),
    "a trigger that refuses rows": (
        "CREATE TABLE t (n INT); CREATE TRIGGER g BEFORE INSERT ON t BEGIN SELECT raise ( Abort, 'no'); END;",
        "the trigger g: it refuses rows, and is a program of SQLite's (allowed by --leave-out t.g)",
    ),
    "a key that only the server finds impossible": (
        "CREATE TABLE a (id DATE PRIMARY KEY); CREATE TABLE b (n UUID REFERENCES a (id), CHECK (json_valid(n)))",
        "the foreign key from n to a",
    ),
}


@pytest.mark.parametrize(("source", "named"), REFUSED.values(), ids=REFUSED)
async def test_what_run_refuses_to_make_check_refuses(
    make_sqlite: MakeSqlite, database: Database, source: str, named: str
) -> None:
    """Both say the same, with the same advice, all at once; and nothing is made."""
    settings = settings_of(make_sqlite(source), database, schema_mode="create")
    found = await check(settings)
    assert isinstance(found, TargetRefused)
    assert named in str(found)
    assert await database.fetch("SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
    assert await database.fetch("SELECT FROM pg_namespace WHERE nspname LIKE 'migrator%'") == []
    assert str(await run(settings)) == str(found)


@pytest.mark.one_server
async def test_a_unique_index_whose_name_is_taken(make_sqlite: MakeSqlite, database: Database) -> None:
    """Another relation of the schema has it: the index gets another name, and guards as well."""
    source = make_sqlite("CREATE TABLE t (n INT); CREATE UNIQUE INDEX taken ON t (n)", {"t": [(1,)]})
    await database.execute("CREATE VIEW taken AS SELECT 1")
    settings = settings_of(source, database, schema_mode="create")
    assert await check(settings) is None
    assert await run(settings) is None
    with pytest.raises(Exception, match="unique"):
        await database.execute("INSERT INTO t VALUES (1)")


VALUES = {
    "a value that its column doesn't take": ("CREATE TABLE t (id INTEGER PRIMARY KEY, v DATE)", "no date"),
    "a value too long for an index": (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE)",
        "".join(f"{n * 2654435761 % 2**32:08x}" for n in range(2500)),
    ),
    "a parent that is missing": (
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE t (id INTEGER PRIMARY KEY, v INT REFERENCES p)",
        12,
    ),
}


@pytest.mark.parametrize(("source", "value"), VALUES.values(), ids=VALUES)
async def test_values_are_held_against_tables_that_are_not_there(
    make_sqlite: MakeSqlite, database: Database, source: str, value: object
) -> None:
    """The same values are refused by both, by key, before a table exists."""
    settings = settings_of(make_sqlite(source, {"t": [(1, value)]}), database, schema_mode="create")
    found = await check(settings)
    assert isinstance(found, ValuesRefused)
    assert await database.fetch("SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
    assert str(await run(settings)) == str(found)


async def test_what_check_accepts_run_carries(make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """Before the tables exist, between two runs, and with types that only the server can read."""
    source = make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, p INT REFERENCES p, tags TEXT, half INT AS (id / 2) STORED,"
        "CHECK (length(tags) > 1)); CREATE TABLE p (id INTEGER PRIMARY KEY, t INT REFERENCES t)",
        {"p": [(1, None)]},
    )
    rules = tmp_path / "migrator.toml"
    rules.write_text('[columns."t.tags"]\ntype = "text[]"\n')
    settings = settings_of(source, database, schema_mode="create", rules=rules, leave_out=("t.check_1",))
    assert await check(settings) is None
    assert await run(settings) is None
    assert await check(settings) is None
    assert await contents(database, "p") == ["(1,)"]


async def test_a_guard_is_asked_for_again(make_sqlite: MakeSqlite, database: Database) -> None:
    """Left out in one run that wasn't completed, it has to be named in the next; or the empty tables get it."""
    source = make_sqlite(
        "CREATE TABLE t (at DATETIME, n TEXT, m INT, CONSTRAINT json CHECK (json_valid(n)),"
        "CONSTRAINT low CHECK (m < 9))",
        {"t": [("no date", "[]", 5)]},
    )
    settings = settings_of(source, database, schema_mode="create", leave_out=("t.json", "t.low"))
    assert isinstance(await run(settings), ValuesRefused)
    fewer = settings_of(source, database, schema_mode="create", leave_out=("t.low",))
    for found in (await check(fewer), await run(fewer)):
        assert isinstance(found, TargetRefused)
        assert "--leave-out 't.json'" in (found.next_step or "")
    other = settings_of(source, database, schema_mode="create", leave_out=("t.json",))
    assert isinstance(await run(other), ValuesRefused)
    kept = await database.fetch("SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 't'::regclass")
    assert [row[0] for row in kept] == ["low"]


async def test_a_guard_of_a_table_with_rows_is_asked_for_again(make_sqlite: MakeSqlite, database: Database) -> None:
    """A table that can't give way is refused as long as what it is without isn't named."""
    source = make_sqlite("CREATE TABLE t (m INT, CONSTRAINT low CHECK (m < 9))", {"t": [(5,)]})
    named = settings_of(source, database, schema_mode="create", leave_out=("t.low",))
    assert await run(named) is None
    await database.execute("DELETE FROM migrator.state WHERE name IN ('completed', 'ready')")
    found = await run(settings_of(source, database, schema_mode="create"))
    assert isinstance(found, TargetRefused)
    assert "public.t is without the CHECK low: it was named when the table was made" in str(found)
    assert await run(named) is None


@pytest.mark.parametrize("mode", ["alembic", "command"])
async def test_tables_that_others_will_make(make_sqlite: MakeSqlite, database: Database, mode: str) -> None:
    """``check`` is no 0 about tables that it could not look at, and says whose business they are."""
    source = make_sqlite("CREATE TABLE t (n INT)", {"t": [(1,)]})
    found = await check(settings_of(source, database, schema_mode=mode))
    assert isinstance(found, NoMatch)
    assert f"--schema {mode} would make them" in str(found)


async def test_a_role_that_owns_nothing(make_sqlite: MakeSqlite, database: Database) -> None:
    """``run`` needs the tables for its own to take keys away; ``check`` says so before."""
    source = make_sqlite("CREATE TABLE t (n INT)", {"t": [(1,)]})
    await database.execute(f'CREATE TABLE t (n int); GRANT ALL ON t TO "{database.role}"', as_admin=True)
    settings = settings_of(source, database)
    found = await check(settings)
    assert "doesn't own public.t" in str(found)
    assert str(await run(settings)) == str(found)
