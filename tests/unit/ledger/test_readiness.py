"""``migrator status --wait``: an init container comes through when the migration is done, and not before."""

import json
from pathlib import Path

import pytest
from fix_job import Cli, dryad_settings, settings_of, until
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.demo.dryad import ALEMBIC_INI
from migrator.errors import GaveUp, MissingPrivilege, ValuesRefused
from migrator.job import maintenance, run
from migrator.ledger import schema
from migrator.ledger.migration import Wanted
from migrator.ledger.readiness import readiness, until_ready
from migrator.monitoring.tracker import Tracker
from migrator.target.database import Target

pytestmark = pytest.mark.one_server
GIVE_UP_SECONDS = 0.3


async def waited(database: Database, url: str | None = None) -> None:
    """Wait for readiness, shortly, with pauses that are shorter still."""
    target = Target(settings_of(Path("none"), database, target_url=url or database.url).target)
    try:
        await until_ready(target, Wanted(), GIVE_UP_SECONDS, pause_seconds=0.05)
    finally:
        await target.close()


async def test_before_the_first_run(database: Database) -> None:
    """An empty database is waited for: the job and the application start side by side."""
    with pytest.raises(GaveUp, match="no migration has begun here") as caught:
        await waited(database)
    assert caught.value.exit_code == 5
    assert await database.fetch("SELECT FROM pg_namespace WHERE nspname = 'migrator'") == []


async def test_after_a_run(dryad_file: Path, database: Database) -> None:
    """After a run that did everything it comes through at once, and a second run changes nothing about it."""
    settings = dryad_settings(dryad_file, database)
    await run.run(settings, Tracker())
    await waited(database)
    before = await database.fetch("SELECT * FROM migrator.state")
    await run.run(settings, Tracker())
    assert await database.fetch("SELECT * FROM migrator.state") == before
    await waited(database)


async def test_a_refusal_keeps_it_waiting(make_sqlite: MakeSqlite, database: Database) -> None:
    """A run that ended otherwise is told with its code, and waited on: only an operator knows whether one follows."""
    source = make_sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER)", {"a": [(1, "many")]})
    await database.execute("CREATE TABLE a (id int PRIMARY KEY, n int)")
    with pytest.raises(ValuesRefused):
        await run.run(settings_of(source, database), Tracker())
    with pytest.raises(GaveUp, match=r"the newest run ended with 3: .*a\.n"):
        await waited(database)


async def test_verified_rows_are_not_enough(dryad_file: Path, database: Database) -> None:
    """A run that is killed before the newest schema is reached leaves the application waiting; the next run ends it."""
    settings = dryad_settings(dryad_file, database)
    await run.run(settings, Tracker())
    await database.execute(
        "DELETE FROM migrator.state WHERE name = 'ready'; UPDATE migrator.runs SET ended_at = NULL, exit_code = NULL"
    )
    with pytest.raises(
        GaveUp, match="newest schema is not reached; a run is under way, or was killed, in stage upgrade"
    ):
        await waited(database)
    await run.run(settings, Tracker())
    await waited(database)


async def test_a_restart_takes_readiness_away(make_sqlite: MakeSqlite, database: Database) -> None:
    """What ``reset`` has emptied is not ready for anybody."""
    source = make_sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY)", {"a": [(1,)]})
    await database.execute("CREATE TABLE a (id int PRIMARY KEY)")
    settings = settings_of(source, database)
    await run.run(settings, Tracker())
    await waited(database)
    await maintenance.reset(settings)
    with pytest.raises(GaveUp):
        await waited(database)


async def test_a_role_that_may_only_read(make_sqlite: MakeSqlite, database: Database) -> None:
    """The application's own role, named when the job runs, is enough; a stranger is told what to grant, with exit 4."""
    source = make_sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY)", {"a": [(1,)]})
    await database.execute("CREATE TABLE a (id int PRIMARY KEY)")
    reader, stranger = f"{database.name}_reader", f"{database.name}_stranger"
    roles = (reader, stranger)
    database.server.administer(*(f"CREATE ROLE {role} LOGIN PASSWORD 'x'" for role in roles))
    database.server.administer(*(f"ALTER ROLE {role} SET default_transaction_read_only = on" for role in roles))
    try:
        await run.run(settings_of(source, database, init_role=reader), Tracker())
        await waited(database, database.server.url(database.name, reader, "x"))
        with pytest.raises(MissingPrivilege) as caught:
            await waited(database, database.server.url(database.name, stranger, "x"))
        assert "GRANT USAGE ON SCHEMA migrator" in caught.value.next_step
    finally:
        await database.execute(f"DROP OWNED BY {reader}", as_admin=True)
        database.server.administer(*(f"DROP ROLE {role}" for role in roles))


async def test_a_role_of_the_application_that_is_not_there(make_sqlite: MakeSqlite, database: Database) -> None:
    """A role that is made later is no reason to fail: the init SQL warns of it as well and goes on."""
    source = make_sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY)", {"a": [(1,)]})
    await database.execute("CREATE TABLE a (id int PRIMARY KEY)")
    await run.run(settings_of(source, database, init_role="no such role"), Tracker())
    await waited(database)


async def test_the_stage_of_a_run_is_told(database: Database, make_sqlite: MakeSqlite) -> None:
    """While a run is under way the reason names its stage."""
    source = make_sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY)", {"a": [(1,)]})
    await database.execute("CREATE TABLE a (id int PRIMARY KEY)")
    settings = settings_of(source, database)
    await run.run(settings, Tracker())
    target = Target(settings.target)
    async with target.transaction() as connection:
        await connection.execute(schema.state.delete())
        await connection.execute(schema.runs.update().values(ended_at=None, exit_code=None))
        await connection.execute(schema.stages.delete().where(schema.stages.c.stage.not_in(["schema", "copy"])))
    seen = await readiness(target, Wanted())
    await target.close()
    assert (seen.ready, seen.reason) == (False, "a run is under way, or was killed, in stage copy")


async def test_the_command_waits_for_the_job(dryad_file: Path, database: Database, cli: Cli) -> None:
    """Started first and without a source, it says what it waits for, sees the job through, and exits 0."""
    waiting = cli.start("status", "--wait", "--format", "json", MIGRATOR_TARGET_URL=database.url)
    first = until(lambda event: event["event"] == "ready.waiting", waiting)
    assert first["reason"] == "no migration has begun here"
    assert waiting.poll() is None
    ran = cli("run", "--source", dryad_file, "--alembic-config", ALEMBIC_INI, MIGRATOR_TARGET_URL=database.url)
    assert ran.code == 0, ran.stderr
    stdout, stderr = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, stderr
    assert json.loads(stdout)["completed_at"]


async def test_the_command_gives_up(database: Database, cli: Cli) -> None:
    """After its time it exits 5 and says what it saw last; a server that is away is waited for as well."""
    limited = ("status", "--wait", "--ready-timeout-seconds", 0.5)
    ended = cli(*limited, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 5
    assert "no migration has begun here" in ended.message
    away = database.url.partition("@")[0] + "@127.0.0.1:1/x"
    ended = cli(*limited, MIGRATOR_TARGET_URL=away)
    assert ended.code == 5
    assert "Connect call failed" in ended.message
    assert database.password not in ended.stderr


async def test_the_command_takes_no_wrong_password_for_a_delay(database: Database, cli: Cli) -> None:
    """What is refused now would be refused again: exit 2 at once."""
    wrong = database.server.url(database.name, database.role, "wrong")
    assert cli("status", "--wait", MIGRATOR_TARGET_URL=wrong).code == 2
