"""Several migrations in one database: each has its own lines, tables and locks, and none takes what another has."""

import asyncio
import io
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest
from fix_job import Cli, contents, quick_flags, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from rich.console import Console
from structlog.testing import capture_logs

from migrator.config.settings import Settings
from migrator.errors import (
    ConfigurationError,
    GaveUp,
    NotComplete,
    RowsInTheWay,
    SourceChanged,
    TargetRefused,
    ValuesRefused,
)
from migrator.job import maintenance, run
from migrator.job import status as job_status
from migrator.job.check import check
from migrator.job.verify import verify
from migrator.monitoring.tracker import Tracker
from migrator.reports.console.outcome import render

pytestmark = pytest.mark.one_server
A = "CREATE TABLE a (id INTEGER PRIMARY KEY, t TEXT)"
B = "CREATE TABLE b (id INTEGER PRIMARY KEY, t TEXT)"


async def moved(source: Path, database: Database, **more: object) -> str:
    """Run the job to its end and return its headline."""
    report = await run.run(settings_of(source, database, **{"schema_mode": "create", **more}), Tracker())
    return report.headline


class Make(Protocol):
    """Makes a file of its own with one table of these rows, as often as it is called."""

    def __call__(self, script: str, rows: Mapping[str, Sequence[tuple[object, ...]]]) -> Path:
        """Return the file's path."""


@pytest.fixture
def make(make_sqlite: MakeSqlite, tmp_path: Path) -> Make:
    """Give a function that makes files."""
    numbers = count()
    return lambda script, rows: make_sqlite(script, rows, file=tmp_path / f"source-{next(numbers)}.db")


@pytest.fixture
def tenants(make: Make) -> tuple[Path, Path]:
    """Give two files of one schema with different rows."""
    return make(A, {"a": [(1, "one"), (2, "two")]}), make(A, {"a": [(7, "seven")]})


async def test_a_tenant_a_schema(tenants: tuple[Path, Path], database: Database) -> None:
    """Each source is copied into its own schema, and running either again changes nothing."""
    await database.execute("CREATE SCHEMA tenant_a; CREATE SCHEMA tenant_b")
    for _ in range(2):
        for source, schema in zip(tenants, ("tenant_a", "tenant_b"), strict=True):
            await moved(source, database, target_schema=schema)
    assert await contents(database, "tenant_a.a") == ["(1,one)", "(2,two)"]
    assert await contents(database, "tenant_b.a") == ["(7,seven)"]
    names = await database.fetch("SELECT name, target_schema, source ->> 'path' FROM migrator.migrations ORDER BY 1")
    assert [tuple(row) for row in names] == [
        ("tenant_a", "tenant_a", str(tenants[0])),
        ("tenant_b", "tenant_b", str(tenants[1])),
    ]
    assert await moved(tenants[1], database, target_schema="tenant_b") == "already migrated and verified: nothing to do"


async def test_two_files_into_one_schema(make: Make, database: Database) -> None:
    """With names of their own and other tables, one after the other, they fill one schema."""
    await moved(make(A, {"a": [(1, "one")]}), database)
    await moved(make(B, {"b": [(2, "two")]}), database, migration="second")
    assert await contents(database, "a") == ["(1,one)"]
    assert await contents(database, "b") == ["(2,two)"]


async def test_two_files_into_one_schema_at_once(make: Make, database: Database) -> None:
    """Two first runs make one ledger together; neither takes the other's tables for a change of the schema."""
    many = [(n, "x" * 50) for n in range(30_000)]
    one, other = make(A, {"a": many}), make(B, {"b": many})
    await asyncio.gather(moved(one, database, migration="one"), moved(other, database, migration="other"))
    assert len(await contents(database, "a")) == len(await contents(database, "b")) == len(many)
    ready = await database.fetch("SELECT migration FROM migrator.state WHERE name = 'ready' ORDER BY 1")
    assert [row[0] for row in ready] == ["one", "other"]


async def test_tables_of_another_migration(tenants: tuple[Path, Path], database: Database) -> None:
    """They are refused with 4 before a row is touched, naming the table and whose it is."""
    await moved(tenants[0], database)
    with pytest.raises(TargetRefused, match=r"another migration: public\.a \(of 'public'\)") as caught:
        await moved(tenants[1], database, migration="other")
    assert "migrator reset --migration public" in caught.value.next_step
    assert await contents(database, "a") == ["(1,one)", "(2,two)"]


async def test_a_table_is_claimed_before_its_rows_come(tenants: tuple[Path, Path], database: Database) -> None:
    """A migration that was refused in preflight keeps its tables, until it no longer plans them or is reset."""
    await database.execute("CREATE TABLE a (id int PRIMARY KEY, t text CHECK (t <> 'one'))")
    with pytest.raises(ValuesRefused):
        await moved(tenants[0], database, migration="first", schema_mode="existing")
    with pytest.raises(TargetRefused, match="of 'first'"):
        await moved(tenants[1], database, migration="second", schema_mode="existing")
    await maintenance.reset(settings_of(tenants[0], database, migration="first"))
    await moved(tenants[1], database, migration="second", schema_mode="existing")
    assert await contents(database, "a") == ["(7,seven)"]


async def test_another_source_under_the_same_name(make: Make, database: Database, cli: Cli) -> None:
    """It ends with 4 and says which source the ledger knows; what it advises, taken literally, works."""
    first, second = make(A, {"a": [(1, "one")]}), make(B, {"b": [(2, "two")]})
    given = {"MIGRATOR_TARGET_URL": database.url, "MIGRATOR_SCHEMA_MODE": "create"}
    assert cli("run", "--source", first, *quick_flags(), variables=given).code == 0
    refused = cli("run", "--source", second, *quick_flags(), variables=given)
    assert refused.code == 4
    assert f"the ledger knows '{first}'" in refused.message
    advice = re.search(r"--migration \S+", refused.failure["next_step"])
    assert advice
    assert cli("run", "--source", second, *quick_flags(), *shlex.split(advice[0]), variables=given).code == 0
    assert await contents(database, "b") == ["(2,two)"]


async def test_a_tenant_under_the_name_of_another(tenants: tuple[Path, Path], database: Database) -> None:
    """A file of the same schema at another path is another source, also where the first was only begun."""
    await moved(tenants[0], database)
    with pytest.raises(TargetRefused, match="is of another source"):
        await moved(tenants[1], database)
    await database.execute("DELETE FROM migrator.state WHERE name IN ('completed', 'ready')")
    with pytest.raises(TargetRefused, match="is of another source"):
        await moved(tenants[1], database)
    assert await contents(database, "a") == ["(1,one)", "(2,two)"]


async def test_a_source_at_another_path(tenants: tuple[Path, Path], database: Database, tmp_path: Path) -> None:
    """The same file, copied or moved elsewhere, is the same source."""
    await moved(tenants[0], database)
    copy = shutil.copy(tenants[0], tmp_path / "copied.db")
    assert await moved(Path(copy), database) == "already migrated and verified: nothing to do"


async def test_another_database_in_the_place_of_the_first(make: Make, database: Database) -> None:
    """At the same path, but without a table in common, it is another source too."""
    first, second = make(A, {"a": [(1, "one")]}), make(B, {"b": [(2, "two")]})
    await moved(first, database)
    shutil.copy(second, first)
    with pytest.raises(TargetRefused, match="is of another source"):
        await moved(first, database)


async def test_reset_of_one_leaves_the_other(tenants: tuple[Path, Path], database: Database) -> None:
    """Only the tables of the migration that is named are emptied, and the other stays complete."""
    await database.execute("CREATE SCHEMA tenant_a; CREATE SCHEMA tenant_b")
    for source, schema in zip(tenants, ("tenant_a", "tenant_b"), strict=True):
        await moved(source, database, target_schema=schema)
    await maintenance.reset(settings_of(tenants[0], database, target_schema="tenant_a"))
    assert await contents(database, "tenant_a.a") == []
    assert await contents(database, "tenant_b.a") == ["(7,seven)"]
    assert await moved(tenants[1], database, target_schema="tenant_b") == "already migrated and verified: nothing to do"
    await moved(tenants[0], database, target_schema="tenant_a")
    assert len(await contents(database, "tenant_a.a")) == 2


async def test_repair_of_one_leaves_what_the_other_has_parked(make: Make, database: Database) -> None:
    """Keys that a killed run of one migration has away are not brought back by repair of another."""
    await moved(make(A, {"a": [(1, "one")]}), database, migration="one")
    await moved(make(B, {"b": [(1, "one")]}), database, migration="other")
    await database.execute(
        "ALTER TABLE b DROP CONSTRAINT b_pkey;"
        "INSERT INTO migrator.parked (migration, schema_name, table_name, kind, name, statements) VALUES ('other',"
        "'public', 'b', 'primary key', 'b_pkey', '[\"ALTER TABLE public.b ADD CONSTRAINT b_pkey PRIMARY KEY (id)\"]')"
    )
    source = Path("none")
    assert (await maintenance.repair(settings_of(source, database, migration="one"))).headline.startswith("0 keys")
    assert (await maintenance.repair(settings_of(source, database, migration="other"))).headline.startswith("1 keys")


async def test_a_foreign_key_between_two_migrations(make: Make, database: Database) -> None:
    """The second takes it away from the first one's table and brings it back; both end well."""
    await database.execute(
        "CREATE TABLE b (id int PRIMARY KEY, t text); CREATE TABLE a (id int PRIMARY KEY REFERENCES b, t text)"
    )
    parents, children = make(B, {"b": [(1, "one")]}), make(A, {"a": [(1, "one")]})
    await moved(parents, database, migration="parents", schema_mode="existing")
    await moved(children, database, migration="children", schema_mode="existing")
    assert await database.fetch("SELECT FROM pg_constraint WHERE contype = 'f' AND convalidated")


async def test_rows_that_the_second_schema_is_made_with(
    tenants: tuple[Path, Path], database: Database, tmp_path: Path
) -> None:
    """A schema that was empty is what counts: rows that its own migrations put there give way, whatever else is."""
    await database.execute("CREATE SCHEMA tenant_a; CREATE SCHEMA tenant_b")
    await moved(tenants[0], database, target_schema="tenant_a")
    program = tmp_path / "make.py"
    program.write_text(
        "import asyncio, asyncpg, os\n"
        "async def make():\n"
        "    connection = await asyncpg.connect(os.environ['DATABASE_URL'])\n"
        "    await connection.execute('CREATE TABLE IF NOT EXISTS tenant_b.a (id int PRIMARY KEY, t text)')\n"
        "    await connection.execute('''INSERT INTO tenant_b.a VALUES (99, 'seed') ON CONFLICT DO NOTHING''')\n"
        "asyncio.run(make())\n"
    )
    command = {"schema_mode": "command", "schema_command": f"{sys.executable} {program}"}
    await moved(tenants[1], database, target_schema="tenant_b", **command)
    assert await contents(database, "tenant_b.a") == ["(7,seven)"]


async def test_rows_of_somebody_in_the_second_schema(tenants: tuple[Path, Path], database: Database) -> None:
    """A table that was there before with rows is refused, as ever."""
    await database.execute("CREATE SCHEMA tenant_b; CREATE TABLE tenant_b.a (id int, t text)")
    await database.execute("INSERT INTO tenant_b.a VALUES (5, 'mine')")
    await moved(tenants[0], database)
    with pytest.raises(RowsInTheWay):
        await moved(tenants[1], database, target_schema="tenant_b", schema_mode="existing")


NAMES = ["it's", 'a "b"', "with blank", "Ünïcödé ☃", "%s :name $1 {x}", "-dash", "x" * 200, "a;--", "\\"]


@pytest.mark.parametrize("name", NAMES)
async def test_names_of_any_letters(name: str, tenants: tuple[Path, Path], database: Database) -> None:
    """A name is data: whatever it holds, the migration under it is found again."""
    await moved(tenants[0], database, migration=name)
    assert await moved(tenants[0], database, migration=name) == "already migrated and verified: nothing to do"
    found = await job_status.status(settings_of(tenants[0], database, migration=name))
    assert found.completed_at is not None
    await maintenance.reset(settings_of(tenants[0], database, migration=name))
    assert await contents(database, "a") == []


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\nb", "a\0b"])
def test_names_that_are_none(name: str) -> None:
    """They end with 2 and a reason."""
    with pytest.raises(ConfigurationError, match="MIGRATOR_MIGRATION"):
        Settings.load({"migration": name})


@pytest.mark.parametrize("schema", ["migrator", "pg_catalog", "information_schema", "pg_toast", "pg_mine"])
@pytest.mark.parametrize("setting", ["target_schema", "init_schema"])
def test_schemas_that_hold_no_application(schema: str, setting: str) -> None:
    """The job's own schema and the server's are refused with 2 and a reason."""
    with pytest.raises(ConfigurationError, match="holds no application's tables"):
        Settings.load({setting: schema})


@pytest.mark.parametrize("path", ["migrator", "information_schema"])
async def test_a_search_path_that_begins_with_such_a_schema(
    path: str, tenants: tuple[Path, Path], database: Database
) -> None:
    """Nobody names the schema, and the role's first one is the job's own or the server's: that is refused too."""
    await database.execute("CREATE SCHEMA migrator")
    await database.execute(f'ALTER DATABASE "{database.name}" SET search_path = {path}', as_admin=True)
    with pytest.raises(ConfigurationError, match="holds no application's tables"):
        await moved(tenants[0], database)


async def test_status_with_several(tenants: tuple[Path, Path], database: Database) -> None:
    """One that is alone needs no name; of several one is named, by migration or schema, or there is a refusal."""
    await database.execute("CREATE SCHEMA tenant_a; CREATE SCHEMA tenant_b")
    await moved(tenants[0], database, target_schema="tenant_a")
    assert (await job_status.status(settings_of(tenants[0], database, wait=True))).completed_at
    await moved(tenants[1], database, target_schema="tenant_b", migration="b")
    with pytest.raises(ConfigurationError, match="several migrations: 'b', 'tenant_a'"):
        await job_status.status(settings_of(tenants[0], database, wait=True))
    told = await job_status.status(settings_of(tenants[0], database))
    assert [one["name"] for one in told.to_json()["migrations"] if one["completed_at"]] == ["b", "tenant_a"]
    console = Console(record=True, file=io.StringIO())
    render(told, console)
    assert re.search(r"migration b: complete.*\nmigration tenant_a: complete.*\n2 migrations, 2", console.export_text())
    assert told.failure is None
    for change in (maintenance.repair, maintenance.reset):
        with pytest.raises(ConfigurationError, match="several migrations: 'b', 'tenant_a'"):
            await change(settings_of(tenants[0], database))
    assert (
        await job_status.status(settings_of(tenants[0], database, target_schema="tenant_b", wait=True))
    ).completed_at
    mistyped = settings_of(tenants[0], database, migration="c")
    told = await job_status.status(mistyped)
    assert (told.state, told.completed_at) == ("never begun", None)
    assert isinstance(told.failure, NotComplete)
    render(told, console)
    assert "no migration 'c', but 'b', 'tenant_a'" in console.export_text()
    for change in (maintenance.repair, maintenance.reset):
        with pytest.raises(ConfigurationError, match="no migration 'c', but 'b', 'tenant_a'"):
            await change(mistyped)
    with capture_logs() as events, pytest.raises(GaveUp, match="no migration 'c', but 'b', 'tenant_a'"):
        await job_status.status(settings_of(tenants[0], database, migration="c", wait=True, ready_timeout_seconds=2.5))
    assert "no migration 'c', but 'b'" in next(one["reason"] for one in events if one["event"] == "ready.waiting")


async def test_the_migration_is_named(tenants: tuple[Path, Path], database: Database) -> None:
    """Reports and status say which migration they are about, to people and to programs."""
    settings = settings_of(tenants[0], database, schema_mode="create", migration="first")
    console = Console(record=True, file=io.StringIO())
    for _ in range(2):
        report = await run.run(settings, Tracker())
        assert report.to_json()["migration"] == "first"
        render(report, console)
        assert "migration first: " in console.export_text()
    status = await job_status.status(settings)
    assert status.to_json()["migration"] == "first"
    render(status, console)
    assert "migration first: complete, every value verified at" in console.export_text()
    assert (await verify(settings, Tracker())).to_json()["migration"] == "first"
    for undone in (await maintenance.repair(settings), await maintenance.reset(settings)):
        assert undone.to_json()["migration"] == "first"


async def test_check_sees_tables_of_others(tenants: tuple[Path, Path], database: Database) -> None:
    """It ends as run would, and names the migration that has the table; that one's own check is green."""
    await moved(tenants[0], database, migration="first")
    own = await check(settings_of(tenants[0], database, migration="first"), Tracker())
    assert own.failure is None
    other = await check(settings_of(tenants[1], database, migration="second"), Tracker())
    assert isinstance(other.failure, TargetRefused)
    assert "a (of 'first')" in str(other.failure)


async def test_the_init_sql_makes_the_schema(tenants: tuple[Path, Path], database: Database, tmp_path: Path) -> None:
    """The name follows the schema that comes first when the script has run, in the first run and in every other."""
    script = tmp_path / "init.sql"
    script.write_text(
        "DO $$ BEGIN CREATE SCHEMA IF NOT EXISTS app;"
        " EXECUTE format('ALTER DATABASE %I SET search_path = app', current_database()); END $$"
    )
    await moved(tenants[0], database, init_sql=script)
    assert await contents(database, "app.a") == ["(1,one)", "(2,two)"]
    assert [row[0] for row in await database.fetch("SELECT name FROM migrator.migrations")] == ["app"]
    assert await moved(tenants[0], database, init_sql=script) == "already migrated and verified: nothing to do"


async def test_a_source_that_changed_at_its_place(tenants: tuple[Path, Path], database: Database) -> None:
    """The same file with other rows is no other source: that is a change of the source."""
    await moved(tenants[0], database)
    await database.execute("DELETE FROM migrator.state WHERE name IN ('completed', 'ready')")
    shutil.copy(tenants[1], tenants[0])
    with pytest.raises(SourceChanged):
        await moved(tenants[0], database)
