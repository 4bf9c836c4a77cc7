"""Bookkeeping of migrations: each side keeps its own, unless the job makes the tables or a rule says otherwise."""

from pathlib import Path

import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from structlog.testing import capture_logs

from migrator.errors import Mismatch
from migrator.job import check, run, verify
from migrator.monitoring.tracker import Tracker

pytestmark = pytest.mark.one_server

SOURCE = """
    CREATE TABLE birds (id INTEGER PRIMARY KEY);
    CREATE TABLE django_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT, name TEXT, applied TEXT);
    CREATE TABLE schema_migrations (version VARCHAR PRIMARY KEY);
    CREATE TABLE migrations (id INTEGER PRIMARY KEY, name TEXT, species TEXT)
"""
ROWS: dict[str, list[tuple[object, ...]]] = {
    "birds": [(1,), (2,)],
    "django_migrations": [
        (1, "shop", "0001_initial", "2024-01-01 00:00:00"),
        (2, "shop", "0002_price", "2024-02-01 00:00:00"),
    ],
    "schema_migrations": [("20240101",)],
    "migrations": [(1, "to the south", "stork")],
}
TARGET = """
    CREATE TABLE birds (id int PRIMARY KEY);
    CREATE TABLE django_migrations (id serial PRIMARY KEY, app text, name text, applied timestamptz);
    CREATE TABLE schema_migrations (version varchar PRIMARY KEY);
    CREATE TABLE migrations (id int PRIMARY KEY, name text, species text);
    INSERT INTO schema_migrations VALUES ('20240101');
    INSERT INTO django_migrations (app, name) VALUES ('shop', '0001_initial'), ('shop', '0003_colour');
"""
NAMES = "SELECT name FROM django_migrations ORDER BY id"


async def _names(database: Database) -> list[str]:
    return [row[0] for row in await database.fetch(NAMES)]


async def test_each_side_keeps_its_own(make_sqlite: MakeSqlite, database: Database) -> None:
    """It is in nobody's way, differences are a warning, and an application's table of such a name is copied."""
    settings = settings_of(make_sqlite(SOURCE, ROWS), database)
    await database.execute(TARGET)
    looked = await check.check(settings, Tracker())
    assert looked.failure is None
    with capture_logs() as events:
        report = await run.run(settings, Tracker())
    skipped = {entry.name: entry.reason for entry in report.skipped}
    assert set(skipped) == {"django_migrations", "schema_migrations"}
    assert "each side keeps its own (Django)" in skipped["django_migrations"]
    [event] = [event for event in events if event["event"] == "versions.differ"]
    assert event["table"] == "django_migrations"
    assert "only the source has shop 0002_price; only the target has shop 0003_colour" in event["reason"]
    for notes in (report.notes, looked.notes):
        assert sum("different versions" in note for note in notes) == 1
    assert await _names(database) == ["0001_initial", "0003_colour"]
    assert await database.fetch("SELECT species FROM migrations") == [("stork",)]
    await verify.verify(settings, Tracker())
    assert "nothing to do" in (await run.run(settings, Tracker())).headline


async def test_tables_that_the_job_makes_have_the_bookkeeping(make_sqlite: MakeSqlite, database: Database) -> None:
    """Without it, the application's next upgrade would begin at its first migration. Verification knows of it later."""
    source = make_sqlite(
        SOURCE + ";CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)",
        {
            **ROWS,
            "alembic_version": [("ae1027a6acf",)],
        },
    )
    report = await run.run(settings_of(source, database, schema_mode="create"), Tracker())
    assert report.skipped == ()
    assert await _names(database) == ["0001_initial", "0002_price"]
    assert await database.fetch("SELECT version_num FROM alembic_version") == [("ae1027a6acf",)]
    existing = settings_of(source, database)
    assert "nothing to do" in (await run.run(existing, Tracker())).headline
    await database.execute("UPDATE alembic_version SET version_num = 'other'")
    with pytest.raises(Mismatch, match="alembic_version"):
        await verify.verify(existing, Tracker())


async def test_a_rule_has_it_carried(make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """The warning about a target that records nothing gives the rule; another one leaves a table behind."""
    source = make_sqlite(SOURCE, ROWS)
    await database.execute(f"{TARGET}; TRUNCATE django_migrations")
    looked = await check.check(settings_of(source, database), Tracker())
    [note] = [note for note in looked.notes if "records no version" in note]
    assert '[tables."django_migrations"] exclude = false' in note
    rules = tmp_path / "migrator.toml"
    rules.write_text('[tables."django_migrations"]\nexclude = false\n[tables."schema_*"]\nexclude = true\n')
    report = await run.run(settings_of(source, database, rules=rules), Tracker())
    assert [entry.name for entry in report.skipped] == ["schema_migrations"]
    assert await _names(database) == ["0001_initial", "0002_price"]


async def test_a_target_without_the_table(make_sqlite: MakeSqlite, database: Database) -> None:
    """Nothing is missing for the copy, and the application is going to be surprised: a warning."""
    source = make_sqlite(SOURCE, ROWS)
    await database.execute(f"{TARGET}; DROP TABLE django_migrations")
    quiet = await check.check(settings_of(source, database, exclude=["django_migrations"]), Tracker())
    assert quiet.notes == ()
    report = await run.run(settings_of(source, database), Tracker())
    assert sum("records no version" in note for note in report.notes) == 1
