"""Row-level security: rows that a policy would hide are never taken for rows that aren't there."""

import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.errors import MissingPrivilege
from migrator.job import check, run
from migrator.monitoring.tracker import Tracker
from migrator.sessions.reader import ReadOnlySession
from migrator.sessions.url import from_url

DOC = "CREATE TABLE doc (id int PRIMARY KEY, v text); ALTER TABLE doc ENABLE ROW LEVEL SECURITY;"
POLICY = "CREATE POLICY p ON doc USING (v <> 'b');"
FORCED = "ALTER TABLE doc FORCE ROW LEVEL SECURITY;"


@pytest.fixture
def source(make_sqlite: MakeSqlite) -> object:
    """Give rows one of which the policy hides."""
    return make_sqlite("CREATE TABLE doc (id INTEGER PRIMARY KEY, v TEXT)", {"doc": [(1, "a"), (2, "b")]})


async def test_policies_that_bind_the_owner_are_refused_by_name(source: object, database: Database) -> None:
    """Before a key is parked or a row written, in check too; and what the message says to do works, word by word."""
    await database.execute(DOC + POLICY + FORCED + "CREATE TABLE pet (doc int REFERENCES doc)")
    settings = settings_of(source, database)  # type: ignore[arg-type]
    with pytest.raises(MissingPrivilege, match=r"forced on public\.doc") as caught:
        await check.check(settings, Tracker())
    assert await database.fetch("SELECT FROM pg_namespace WHERE nspname = 'migrator'") == []
    with pytest.raises(MissingPrivilege, match=r"forced on public\.doc"):
        await run.run(settings, Tracker())
    assert await database.fetch("SELECT FROM migrator.parked") == []
    lift = caught.value.next_step.removeprefix("Run ").partition(";")[0]
    await database.execute(lift)
    await run.run(settings, Tracker())
    await database.execute(lift.replace("NO FORCE", "FORCE"))
    assert len(await database.fetch("SELECT FROM doc", as_admin=True)) == 2


async def test_policies_that_leave_the_owner_free_change_nothing(source: object, database: Database) -> None:
    """That is what they do unless they are forced; and a member of the owning role is as free."""
    await database.execute(
        DOC + POLICY + f"CREATE ROLE {database.name}_o; GRANT {database.name}_o TO {database.name}; "
        f"GRANT CREATE ON SCHEMA public TO {database.name}_o; ALTER TABLE doc OWNER TO {database.name}_o",
        as_admin=True,
    )
    report = await run.run(settings_of(source, database), Tracker())  # type: ignore[arg-type]
    assert report.headline.startswith("migrated")
    assert len(await database.fetch("SELECT FROM doc")) == 2
    await database.execute(f"DROP OWNED BY {database.name}_o; DROP ROLE {database.name}_o", as_admin=True)


async def test_a_reading_session_never_sees_less(database: Database) -> None:
    """Under a policy that holds for it, it gets an error in place of the rows that are left."""
    await database.execute(DOC + POLICY + FORCED + "INSERT INTO doc VALUES (1, 'a'), (2, 'b')", as_admin=True)
    await database.execute(f"GRANT SELECT ON doc TO {database.name}", as_admin=True)
    with (
        ReadOnlySession(from_url(database.url, {})) as session,
        pytest.raises(Exception, match="row-level security policy"),
    ):
        session.rows("SELECT * FROM doc")
