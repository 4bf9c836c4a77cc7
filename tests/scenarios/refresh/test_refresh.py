"""``migrator run --refresh``: only what has changed is carried, and the target is as after a fresh run."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import contents, settings_of
from fix_postgres import Database, database_on
from fix_sqlite import MakeSqlite, Rows

from migrator.errors import MigratorError, Mismatch, RowsInTheWay, SourceChanged, TargetRefused, ValuesRefused
from migrator.job import maintenance, migrate
from migrator.job import run as job_run
from migrator.monitoring.tracker import Tracker
from migrator.reports.refresh_report import Way
from migrator.reports.run_report import Report

pytestmark = pytest.mark.one_server

SCRIPT = """
CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(40) NOT NULL UNIQUE, boss INTEGER
    REFERENCES people (id), born DATE, meta JSON, size REAL);
CREATE TABLE letters (id INTEGER PRIMARY KEY, writer INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    body TEXT, price DECIMAL(10, 2));
CREATE TABLE pairs (a TEXT, b TEXT, v INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE bag (x INTEGER, y TEXT);
CREATE TABLE left_hand (id INTEGER PRIMARY KEY, other INTEGER REFERENCES right_hand (id));
CREATE TABLE right_hand (id INTEGER PRIMARY KEY, other INTEGER REFERENCES left_hand (id));
CREATE TABLE calm (id INTEGER PRIMARY KEY, t TEXT);
CREATE TABLE none (id INTEGER PRIMARY KEY);
"""
ROWS: Rows = {
    "people": [(n, f"p{n}", n - 1 or None, "2001-02-03", f'{{"a": {n}}}', n / 3) for n in range(1, 1501)],
    "letters": [(n, n % 1000 + 1, f"body {n}", n / 4) for n in range(1, 3001)],
    "pairs": [(f"a{n}", f"b{n % 3}", n) for n in range(200)],
    "bag": [(n % 5, "z") for n in range(40)],
    "left_hand": [(1, 1), (2, 2)],
    "right_hand": [(1, 1), (2, 2)],
    "calm": [(n, "calm") for n in range(50)],
}
TABLES = ("people", "letters", "pairs", "bag", "left_hand", "right_hand", "calm", "none")
CHANGES = """
UPDATE people SET name = 'x' WHERE id = 1; UPDATE people SET name = 'p1' WHERE id = 2;
UPDATE people SET name = 'p2' WHERE id = 1; UPDATE people SET boss = 1400, meta = '{"b": [1, 2]}' WHERE id = 7;
DELETE FROM letters WHERE writer = 1000; DELETE FROM people WHERE id BETWEEN 1499 AND 1500;
INSERT INTO people VALUES (1600, 'new', 7, '2020-01-01', NULL, -0.0); INSERT INTO letters VALUES (9000, 1600, 'é', 1.5);
UPDATE letters SET writer = 1600 WHERE id = 5; UPDATE people SET name = 'freed' WHERE id = 9;
DELETE FROM people WHERE id = 1497; INSERT INTO people (id, name) VALUES (1700, 'p1497');
UPDATE people SET boss = NULL WHERE id = 1498;
UPDATE pairs SET v = -1 WHERE a = 'a7'; DELETE FROM pairs WHERE a = 'a8'; INSERT INTO pairs VALUES ('zz', '', 5);
DELETE FROM bag WHERE rowid IN (SELECT rowid FROM bag WHERE x = 3 LIMIT 2); INSERT INTO bag VALUES (4, 'z'), (9, NULL);
INSERT INTO left_hand VALUES (3, 3); INSERT INTO right_hand VALUES (3, 3); DELETE FROM left_hand WHERE id = 1;
UPDATE right_hand SET other = 3 WHERE id = 1; INSERT INTO none VALUES (4);
"""


def change(path: Path, script: str) -> None:
    """Run a script on the source."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


async def moved(source: Path, database: Database, **more: object) -> Report:
    """Run the job, by default without ``--refresh``."""
    return await job_run.run(settings_of(source, database, **{"schema_mode": "create", **more}), Tracker())


def lines_of(report: Report) -> list[str]:
    """Return what was done with each table."""
    return [entry.line() for entry in report.refreshed]


async def state_of(database: Database, tables: tuple[str, ...] = TABLES) -> dict[str, object]:
    """Return all rows of the target, and whether the migration is complete and ready."""
    rows = {table: await contents(database, table) for table in tables}
    facts = await database.fetch("SELECT name FROM migrator.state WHERE name IN ('completed', 'ready') ORDER BY name")
    return {**rows, "facts": [row[0] for row in facts]}


async def places_of(database: Database, table: str) -> list[str]:
    """Return where each row is and who wrote it."""
    return [row[0] for row in await database.fetch(f"SELECT xmin::text || ctid::text FROM {table} ORDER BY 1")]


async def test_only_what_has_changed_is_carried(make_sqlite: MakeSqlite, database: Database) -> None:
    """Every kind of change; the target is as after a fresh run, and what was equal has not been written again."""
    source = make_sqlite(SCRIPT, ROWS)
    await moved(source, database)
    calm = await places_of(database, "calm")
    change(source, CHANGES)
    report = await moved(source, database, refresh=True)
    with database_on(database.server) as other:
        await moved(source, other)
        assert await state_of(database) == await state_of(other)
        feeds = "SELECT last_value FROM people_id_seq"
        assert await database.fetch(feeds) == await other.fetch(feeds)
    assert await places_of(database, "calm") == calm
    assert "public.pairs: 1 inserted, 1 updated, 1 deleted" in lines_of(report)
    assert "public.calm: unchanged" in lines_of(report)
    assert [entry.seconds > 0 for entry in report.refreshed] == [not entry.is_unchanged for entry in report.refreshed]
    untouched = {table: await places_of(database, table) for table in TABLES}
    again = await moved(source, database, refresh=True)
    assert set(lines_of(again)) == {f"public.{table}: unchanged" for table in TABLES}
    assert {table: await places_of(database, table) for table in TABLES} == untouched
    assert (await moved(source, database)).headline == "already migrated and verified: nothing to do"


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("UPDATE calm SET t = 'other' WHERE id = 7", "public.calm (1 new or changed, 1 changed or removed)"),
        ("DELETE FROM calm WHERE id = 7", "public.calm (0 new or changed, 1 changed or removed)"),
        ("INSERT INTO people (id, name) VALUES (7000, 'own')", "public.people (1 new or changed"),
        ("TRUNCATE calm", "public.calm"),
    ],
)
async def test_a_target_that_somebody_has_written_to(
    script: str, what: str, make_sqlite: MakeSqlite, database: Database
) -> None:
    """4, with tables and rows, and nothing changes."""
    source = make_sqlite(SCRIPT, ROWS)
    await moved(source, database)
    change(source, CHANGES)
    await database.execute(script)
    before = await state_of(database)
    with pytest.raises(RowsInTheWay) as caught:
        await moved(source, database, refresh=True)
    assert what in str(caught.value)
    assert await state_of(database) == before


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (f"{CHANGES}; UPDATE people SET born = 'soon' WHERE id = 3; UPDATE letters SET price = 'x'", ValuesRefused),
        (f"{CHANGES}; UPDATE letters SET writer = 77777 WHERE id = 3", MigratorError),
        ("DELETE FROM people WHERE id = 900", MigratorError),
        ("DROP TABLE calm", TargetRefused),
    ],
)
async def test_a_refusal_changes_nothing(
    script: str, error: type[MigratorError], make_sqlite: MakeSqlite, database: Database
) -> None:
    """Values and references are judged as before a copy; settled, the next refresh carries everything."""
    source = make_sqlite(SCRIPT, ROWS)
    await moved(source, database)
    before, original = await state_of(database), source.read_bytes()
    change(source, script)
    with pytest.raises(error):
        await moved(source, database, refresh=True)
    assert await state_of(database) == before
    source.write_bytes(original)
    change(source, "UPDATE people SET size = 1 WHERE id = 1")
    await moved(source, database, refresh=True)
    assert (await moved(source, database)).headline == "already migrated and verified: nothing to do"


async def test_a_first_run_and_tables_loaded_anew(make_sqlite: MakeSqlite, database: Database) -> None:
    """Where nothing was carried yet, it is a run; a table of which most has changed, and a new one, are loaded."""
    source = make_sqlite(SCRIPT, ROWS)
    await moved(source, database, refresh=True)
    with closing(sqlite3.connect(source)) as connection:
        connection.executemany("INSERT INTO calm VALUES (?, 'more')", [(n,) for n in range(100, 30_100)])
        connection.execute("CREATE TABLE fresh (id INTEGER PRIMARY KEY, who INTEGER REFERENCES people (id))")
        connection.execute("INSERT INTO fresh VALUES (1, 5)")
        connection.execute("DELETE FROM letters")
        connection.commit()
    report = await moved(source, database, refresh=True)
    assert "public.calm: loaded anew (about 100 % of its rows have changed)" in lines_of(report)
    assert "public.fresh: new" in lines_of(report)
    with database_on(database.server) as other:
        await moved(source, other)
        tables = (*TABLES, "fresh")
        assert await state_of(database, tables) == await state_of(other, tables)
    await job_run.run(settings_of(source, database, schema_mode="create", restart=True), Tracker())
    change(source, "DROP TABLE fresh; DROP TABLE calm")
    with pytest.raises(TargetRefused, match=r"no longer has tables .*: calm, fresh") as caught:
        await moved(source, database, refresh=True)
    assert "--restart" in caught.value.next_step
    await moved(source, database, restart=True)
    change(source, "UPDATE people SET size = 2 WHERE id = 1")
    await moved(source, database, refresh=True)
    await maintenance.reset(settings_of(source, database, schema_mode="create", yes=True))
    assert await contents(database, "people") == []
    report = await moved(source, database, refresh=True)
    assert {entry.way for entry in report.refreshed} <= {Way.NEW}
    assert len(await contents(database, "people")) == len(ROWS["people"])


async def test_the_source_changes_again_after_an_interruption(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are written and not compared: the gate is closed, and a refresh goes on from what is there."""
    source = make_sqlite(SCRIPT, ROWS)
    await moved(source, database)
    change(source, CHANGES)
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "park", _interrupted)
        with pytest.raises(KeyError):
            await moved(source, database, refresh=True)
    assert (await state_of(database))["facts"] == []
    await database.execute("UPDATE calm SET t = 'own' WHERE id = 3")
    with pytest.raises(Mismatch):
        await moved(source, database)
    with pytest.raises(RowsInTheWay):
        await moved(source, database, refresh=True)
    await database.execute("UPDATE calm SET t = 'calm' WHERE id = 3")
    change(source, "UPDATE people SET size = 3 WHERE id = 3; UPDATE calm SET t = 'late' WHERE id = 9")
    with pytest.raises(SourceChanged, match="the source is not the one") as caught:
        await moved(source, database)
    assert "--refresh" in caught.value.next_step
    report = await moved(source, database, refresh=True)
    assert "public.people: 0 inserted, 1 updated, 0 deleted" in lines_of(report)
    with database_on(database.server) as other:
        await moved(source, other)
        assert await state_of(database) == await state_of(other)


async def _interrupted(*_arguments: object) -> None:
    raise KeyError
