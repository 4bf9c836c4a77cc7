"""Sections by declared type, and what the models of a framework need in tables that the job makes."""

from pathlib import Path

import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.config.settings import Settings
from migrator.errors import ConfigurationError, MigratorError, TargetRefused
from migrator.job import check as job_check
from migrator.job import run as job_run
from migrator.monitoring.tracker import Tracker

pytestmark = pytest.mark.one_server

# As Django's migrations make the tables (Django, "DatabaseWrapper.data_types").
DJANGO = """
CREATE TABLE "django_migrations" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "applied" datetime NOT NULL);
CREATE TABLE "app_event" ("id" char(32) NOT NULL PRIMARY KEY, "at" datetime NOT NULL, "span" bigint NOT NULL,
    "data" text NOT NULL CHECK ((JSON_VALID("data") OR "data" IS NULL)), "ip" char(39) NULL, "name" varchar(9) UNIQUE);
CREATE TABLE "app_seat" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "n" integer unsigned CHECK ("n" >= 0),
    "event_id" char(32) NOT NULL REFERENCES "app_event" ("id") DEFERRABLE INITIALLY DEFERRED);
"""
ROWS: dict[str, list[tuple[object, ...]]] = {
    "django_migrations": [(1, "2024-01-01 10:00:00.5")],
    "app_event": [("0" * 31 + "1", "2024-01-01 10:00:00", 90_500_000, '{"a": 1}', "::1", "x")],
    "app_seat": [(1, 2, "0" * 31 + "1")],
}


async def ended(settings: Settings) -> MigratorError | None:
    """Return what ``run`` ends with, or None for 0."""
    try:
        await job_run.run(settings, Tracker())
    except MigratorError as error:
        return error
    return None


async def types_of(database: Database) -> dict[str, str]:
    """Return the type of each column in the schema ``public``."""
    rows = await database.fetch(
        "SELECT relname || '.' || attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "JOIN pg_class ON pg_class.oid = attrelid "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0"
    )
    return dict(rows)


async def test_what_django_needs_is_refused_and_its_lines_settle_it(
    make_sqlite: MakeSqlite, database: Database, tmp_path: Path
) -> None:
    """``check`` and ``run`` say the same before a table is made; the lines as they are printed are enough."""
    settings = settings_of(make_sqlite(DJANGO, ROWS), database, schema_mode="create")
    found = await ended(settings)
    assert isinstance(found, TargetRefused)
    with pytest.raises(TargetRefused) as checked:
        await job_check.check(settings, Tracker())
    assert str(checked.value) == str(found)
    assert "app_event: column at and 1 more: it is declared datetime, and Django's models need" in str(found)
    assert await types_of(database) == {}
    lines = (found.next_step or "").split("\n")[1:-1]
    rules = tmp_path / "migrator.toml"
    rules.write_text("\n".join([*lines, '[columns."app_event.span"]', 'type = "interval"', 'interval_unit = "us"']))
    assert await ended(settings_of(settings.source_path, database, schema_mode="create", rules=rules)) is None
    kinds = await types_of(database)
    moments = {kinds[name] for name in ("django_migrations.applied", "app_event.at")}
    assert moments == {"timestamp with time zone"}
    assert (kinds["app_event.id"], kinds["app_seat.event_id"], kinds["app_event.ip"]) == ("uuid", "uuid", "inet")
    assert (kinds["app_event.data"], kinds["app_event.span"]) == ("jsonb", "interval")
    [row] = await database.fetch("SELECT span = '90.5 s', at = '2024-01-01 10:00:00Z' FROM app_event")
    assert tuple(row) == (True, True)
    for refused in ("UPDATE app_seat SET n = -1", "DELETE FROM app_event"):
        with pytest.raises(Exception, match="violates"):
            await database.execute(refused)


async def test_another_decision_is_one_too(make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """A rule about a column wins over that of its declared type; columns that are excluded need none."""
    rules = tmp_path / "migrator.toml"
    rules.write_text(
        '[types."DateTime"]\ntype = "timestamp"\n[types."char(*)"]\ntype = "text"\n'
        '[columns."app_event.at"]\ntype = "timestamptz"\n'
    )
    settings = settings_of(
        make_sqlite(DJANGO, ROWS), database, schema_mode="create", rules=rules, exclude=("app_event.data",)
    )
    assert await ended(settings) is None
    kinds = await types_of(database)
    assert (kinds["app_event.at"], kinds["django_migrations.applied"]) == (
        "timestamp with time zone",
        "timestamp without time zone",
    )
    assert await ended(settings) is None


async def test_another_application_is_not_asked(make_sqlite: MakeSqlite, database: Database) -> None:
    """Without Django's table the declarations decide."""
    source = make_sqlite("CREATE TABLE t (at DATETIME, id char(32))", {"t": [("2024-01-01 10:00:00", "0" * 32)]})
    assert await ended(settings_of(source, database, schema_mode="create")) is None
    assert await types_of(database) == {"t.at": "timestamp without time zone", "t.id": "text"}


async def test_a_declared_type_that_nobody_declares(
    make_sqlite: MakeSqlite, database: Database, tmp_path: Path
) -> None:
    """It is a mistake, named with what may be meant."""
    rules = tmp_path / "migrator.toml"
    rules.write_text('[types."datetme"]\ntype = "timestamptz"\n')
    source = make_sqlite("CREATE TABLE t (at DATETIME, n)", {"t": [("2024-01-01 10:00:00", 1)]})
    found = await ended(settings_of(source, database, schema_mode="create", rules=rules))
    assert isinstance(found, ConfigurationError)
    assert str(found) == 'the rule [types."datetme"] matches no declared type of the source'
    assert found.next_step == "Write 'datetime' if that is meant, or take it out."
