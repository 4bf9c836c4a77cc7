"""The whole job, on Dryad's sample: done once, done twice, begun again after a failure, and what only reads."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import INIT_SQL, catalogs, contents, dryad_settings, settings_of
from fix_obstacle import CLEAR, OBSTACLES, obstacle, only_in_copy
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from structlog.testing import capture_logs

from migrator.errors import MigratorError, Mismatch, RowsInTheWay, SourceChanged, TargetRefused
from migrator.job import check as job_check
from migrator.job import run as job_run
from migrator.job import status as job_status
from migrator.job import verify as job_verify
from migrator.monitoring.tracker import Tracker

DRYAD = ("users", "conversations", "messages", "documents", "document_chunks")


async def _counts(database: Database, schema: str = "public") -> dict[str, int]:
    return {
        table: (await database.fetch(f'SELECT count(*) AS n FROM {schema}."{table}"'))[0]["n"]
        for table in (*DRYAD, "groves", "branches", "vessels", "dialogues", "dialogue_messages")
    }


def _source_counts(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for name in names
            if not name.startswith("sqlite_") and name != "alembic_version"
        }


def _bytes(path: Path) -> dict[str, bytes]:
    """Return the source and what SQLite may have put beside it."""
    return {file.name: file.read_bytes() for file in path.parent.glob(f"{path.name}*")}


async def test_the_whole_job(dryad_file: Path, database: Database) -> None:
    """Init SQL, migrations, rows, keys and sequences: all arrive, and the report counts what the source holds."""
    before = _bytes(dryad_file)
    settings = dryad_settings(dryad_file, database, init_sql=INIT_SQL, init_schema="dryad")
    report = await job_run.run(settings, Tracker())
    assert {line.table.removeprefix("dryad."): line.source_rows for line in report.tables} == _source_counts(dryad_file)
    assert all(line.verified and line.source_rows == line.target_rows for line in report.tables)
    assert await _counts(database, "dryad") == _source_counts(dryad_file)
    assert [timing.stage for timing in report.timings] == [
        *("wait", "lock", "init_sql", "schema", "preflight", "park", "copy"),
        *("restore", "sequences", "analyze", "verify", "upgrade"),
    ]
    assert _bytes(dryad_file) == before


@pytest.mark.one_server
async def test_the_second_run_changes_nothing(dryad_file: Path, database: Database) -> None:
    """After success a run is a no-op, also when the application has written, changed and removed rows since."""
    settings = dryad_settings(dryad_file, database)
    await job_run.run(settings, Tracker())
    await database.execute("UPDATE users SET email = 'new@example.org' WHERE id = (SELECT min(id) FROM users)")
    await database.execute("DELETE FROM dialogue_messages")
    state = (await catalogs(database), {table: await contents(database, table) for table in DRYAD})
    report = await job_run.run(settings, Tracker())
    assert report.headline == "already migrated and verified: nothing to do"
    assert (await catalogs(database), {table: await contents(database, table) for table in DRYAD}) == state
    assert (await _counts(database))["dialogue_messages"] == 0


@pytest.mark.one_server
async def test_a_source_that_was_written_to_after_its_migration(dryad_file: Path, database: Database) -> None:
    """It is an error that names the table, unless the setting says that nobody needs the rows; nothing is copied."""
    settings = dryad_settings(dryad_file, database)
    await job_run.run(settings, Tracker())
    with closing(sqlite3.connect(dryad_file)) as connection:
        connection.execute("UPDATE users SET display_name = 'late'")
        connection.commit()
    with pytest.raises(SourceChanged, match=r"users: .* other values"):
        await job_run.run(settings, Tracker())
    with capture_logs() as events:
        report = await job_run.run(dryad_settings(dryad_file, database, if_source_changed="ignore"), Tracker())
    assert "source.changed" in [event["event"] for event in events]
    assert "the source has changed since" in report.notes[0]
    assert await database.fetch("SELECT 1 FROM users WHERE display_name = 'late'") == []


@pytest.mark.one_server
@pytest.mark.usefixtures("obstacle_allowed")
async def test_a_run_goes_on_where_another_failed(make_sqlite: MakeSqlite, database: Database) -> None:
    """Tables that were committed are not copied again, and the target's keys are back at the end."""
    source = make_sqlite(
        "CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY, n INTEGER);"
        "CREATE TABLE c (id INTEGER PRIMARY KEY)",
        {"a": [(n,) for n in range(5000)], "b": [(1, 1), (2, 2)], "c": [(1,)]},
    )
    await database.execute(
        "CREATE TABLE a (id bigint PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, n int);"
        f"CREATE TABLE c (id int PRIMARY KEY REFERENCES a); {OBSTACLES} {obstacle('b', 'n', 0)}"
    )
    before = await catalogs(database)
    settings = settings_of(source, database, jobs=1)
    with pytest.raises(TargetRefused, match="violates check constraint"):
        await job_run.run(settings, Tracker())
    assert len(await database.fetch("SELECT 1 FROM a")) == 5000
    assert await database.fetch("SELECT 1 FROM b") == []
    [brought] = await database.fetch("SELECT xmin::text FROM a LIMIT 1")
    await database.execute(CLEAR)
    with capture_logs() as events:
        await job_run.run(settings, Tracker())
    assert {event["table"] for event in events if event["event"] == "table.copied"} == {"public.b", "public.c"}
    assert await database.fetch("SELECT xmin::text FROM a LIMIT 1") == [brought]
    assert await catalogs(database) == before


@pytest.mark.one_server
@pytest.mark.usefixtures("obstacle_allowed")
async def test_another_source_does_not_go_on_with_the_first_ones_rows(
    make_sqlite: MakeSqlite, database: Database, tmp_path: Path
) -> None:
    """Half of one file and half of another would be neither: the job says which file the first was, and stops."""
    script = "CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY)"
    first = make_sqlite(script, {"a": [(1,)], "b": [(7,)]})
    await database.execute(f"CREATE TABLE a (id int); CREATE TABLE b (id int); {only_in_copy('b', 'id < 0')}")
    with pytest.raises(TargetRefused):
        await job_run.run(settings_of(first, database, jobs=1, chunk_bytes=100), Tracker())
    second = make_sqlite(script, {"a": [(n,) for n in range(9999)], "b": [(1,)]}, file=tmp_path / "other.db")
    loaded = await contents(database, "a")
    assert loaded == ["(1)"]
    with pytest.raises(TargetRefused, match=f"is of another source: the ledger knows '{first}'"):
        await job_run.run(settings_of(second, database), Tracker())
    assert await contents(database, "a") == loaded


@pytest.mark.one_server
async def test_rows_that_somebody_put_there_are_not_touched(dryad_file: Path, database: Database) -> None:
    """A target with rows is refused, by table and count, before anything is written."""
    await database.execute("CREATE TABLE users (id text)")
    await database.execute("INSERT INTO users VALUES ('mine'), ('yours')")
    source_users = "CREATE TABLE users (id TEXT); INSERT INTO users VALUES ('theirs')"
    other = dryad_file.with_name("other.db")
    with closing(sqlite3.connect(other)) as connection:
        connection.executescript(source_users)
    settings = settings_of(other, database)
    checked = await job_check.check(settings, Tracker())
    assert isinstance(checked.failure, RowsInTheWay)
    with pytest.raises(RowsInTheWay, match=r"public\.users \(2 rows: 2 only there\)"):
        await job_run.run(settings, Tracker())
    assert await contents(database, "users") == ["(mine)", "(yours)"]


async def test_a_damaged_value_is_found_and_its_table_named(dryad_file: Path, database: Database) -> None:
    """One changed value among all: verify raises Mismatch, whose exit code is 1, and names the table only."""
    settings = dryad_settings(dryad_file, database)
    await job_run.run(settings, Tracker())
    await job_verify.verify(settings, Tracker())
    await database.execute(
        "UPDATE messages SET content = content || ' ' WHERE id = (SELECT max(id) FROM messages WHERE content <> '')"
    )
    with pytest.raises(Mismatch, match=r"public\.messages") as caught:
        await job_verify.verify(settings, Tracker())
    assert caught.value.exit_code == 1
    assert caught.value.facts["tables"] == ["public.messages"]


@pytest.mark.one_server
async def test_check_verify_and_status_write_nothing(dryad_file: Path, database: Database) -> None:
    """They succeed as a role that may only read, so there is nothing that they could have written."""
    await job_run.run(dryad_settings(dryad_file, database), Tracker())
    reader = f"{database.role}_reader"
    database.server.administer(f"CREATE ROLE {reader} LOGIN PASSWORD 'r' IN ROLE pg_read_all_data")
    try:
        database.server.administer(f"ALTER ROLE {reader} SET default_transaction_read_only = on")
        url = database.server.url(database.name, reader, "r")
        settings = dryad_settings(dryad_file, database, target_url=url)
        before = await catalogs(database)
        check = await job_check.check(settings, Tracker())
        verify = await job_verify.verify(settings, Tracker())
        status = await job_status.status(settings)
        assert check.failure is None
        assert check.findings == ()
        assert all(line.verified for line in verify.tables)
        assert status.completed_at is not None
        assert {line.table for line in verify.tables} == {str(table.name) for table in status.tables}
        assert await catalogs(database) == before
    finally:
        database.server.administer(f"DROP OWNED BY {reader}", f"DROP ROLE {reader}")


@pytest.mark.one_server
async def test_status_of_a_database_without_a_ledger(dryad_file: Path, database: Database) -> None:
    """There is nothing to tell, and telling it makes no ledger."""
    status = await job_status.status(dryad_settings(dryad_file, database))
    assert (status.runs, status.tables, status.completed_at) == ((), (), None)
    assert await database.fetch("SELECT 1 FROM pg_namespace WHERE nspname = 'migrator'") == []


@pytest.mark.one_server
async def test_rows_that_migrations_seeded_give_way(dryad_file: Path, database: Database) -> None:
    """Dryad's migrations put a system account there; the source has its own, and each row arrives once."""
    await job_run.run(dryad_settings(dryad_file, database), Tracker())
    assert await _counts(database) == _source_counts(dryad_file)


@pytest.mark.one_server
@pytest.mark.usefixtures("obstacle_allowed")
async def test_an_error_says_where_it_happened(make_sqlite: MakeSqlite, database: Database) -> None:
    """The failing stage is among the facts, and in the ledger the run has ended with its exit code."""
    source = make_sqlite("CREATE TABLE a (id INTEGER)", {"a": [(1,)]})
    await database.execute(f"CREATE TABLE a (id int); {only_in_copy('a', 'id < 0')}")
    settings = settings_of(source, database)
    with pytest.raises(MigratorError) as caught:
        await job_run.run(settings, Tracker())
    assert caught.value.facts["stage"] == "copy"
    status = await job_status.status(settings)
    assert [(run.exit_code, run.ended_at is not None) for run in status.runs] == [(4, True)]
    assert "violates check constraint" in (status.runs[0].message or "")
    # These overlap with the one that failed, and were given up with it.
    unfinished = {stage.stage for stage in status.stages if stage.ended_at is None}
    assert unfinished == {"copy", "restore", "analyze", "verify"}


HOSTILE = (
    'quo"te',
    "apos'trophe",
    "two words",
    "Ünïcode ✓ 漢字",
    "semi;colon",
    "co:lon :bind",
    "per%cent %s %(x)s",
    "back\\slash",
    "$1 {} {0}",
    "select",
    "tab\tand\nline",
    "x" * 63,
    "é" * 40,
)


SCHEMA = 's %s; "$user", public'


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def test_hostile_names(make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever tables, columns, keys, indexes, sequences, comments and a schema are called: names are data."""
    monkeypatch.setattr("migrator.stages.park.PAYS_FROM_ROWS", 1)
    rows: dict[str, list[tuple[object, ...]]] = {}
    lite, post = "", f"CREATE SCHEMA {_quoted(SCHEMA)}; SET search_path = {_quoted(SCHEMA)};"
    for name in HOSTILE:
        table, child, column, key, index, foreign = (_quoted(f"{kind}{name}") for kind in ("", *"cnkif"))
        rows |= {name: [(7, "a"), (9, "b")], f"c{name}": [(7,)]}
        lite += (
            f"CREATE TABLE {table} ({table} INTEGER PRIMARY KEY AUTOINCREMENT, {column} TEXT);"
            f"CREATE TABLE {child} ({table} INTEGER REFERENCES {table});"
        )
        post += (
            f"CREATE TABLE {table} ({table} bigint GENERATED BY DEFAULT AS IDENTITY, {column} text,"
            f" CONSTRAINT {key} PRIMARY KEY ({table}));"
            f"CREATE INDEX {index} ON {table} ({column}) WHERE {column} <> ' WHERE ';"
            f"CREATE TABLE {child} ({table} bigint, CONSTRAINT {foreign} FOREIGN KEY ({table}) REFERENCES {table});"
            f"COMMENT ON CONSTRAINT {foreign} ON {child} IS 'it''s :one %s'; COMMENT ON INDEX {index} IS '\\ %(x)s :y';"
        )
    source = make_sqlite(lite, rows)
    await database.execute(post)
    before = await catalogs(database)
    report = await job_run.run(settings_of(source, database, target_schema=SCHEMA), Tracker())
    assert sum(line.target_rows for line in report.tables) == 3 * len(HOSTILE)
    assert await catalogs(database) == before
    for name in HOSTILE:
        table, column = f"{_quoted(SCHEMA)}.{_quoted(name)}", _quoted(f"n{name}")
        await database.execute(f"INSERT INTO {table} ({column}) VALUES ('new')")
        assert (await database.fetch(f"SELECT max({_quoted(name)}) AS n FROM {table}"))[0]["n"] == 10
