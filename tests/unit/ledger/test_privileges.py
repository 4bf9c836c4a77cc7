"""Privileges: what a role lacks is said before anything is done, with the GRANT that helps."""

import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.errors import MissingPrivilege
from migrator.job import check, run
from migrator.runtime.progress import NoProgress


@pytest.mark.one_server
async def test_the_privilege_that_the_ledger_needs_is_named(make_sqlite: MakeSqlite, database: Database) -> None:
    """A role that may not create a schema is told so by check and by run, with the GRANT; with that it works."""
    source = make_sqlite("CREATE TABLE t (id INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (id int)")
    await database.execute(f"ALTER DATABASE {database.name} OWNER TO postgres", as_admin=True)
    settings = settings_of(source, database)
    checked = (await check.check(settings, NoProgress())).failure
    assert isinstance(checked, MissingPrivilege)
    assert await database.fetch("SELECT FROM pg_namespace WHERE nspname = 'migrator'") == []
    with pytest.raises(MissingPrivilege, match="may neither use nor create the schema migrator") as caught:
        await run.run(settings, NoProgress())
    assert (str(checked), checked.next_step) == (str(caught.value), caught.value.next_step)
    grant = caught.value.next_step.removeprefix("Run ").partition(";")[0]
    assert grant == f'GRANT CREATE ON DATABASE "{database.name}" TO "{database.role}"'
    await database.execute(grant, as_admin=True)
    assert (await check.check(settings, NoProgress())).failure is None
    await run.run(settings, NoProgress())
    assert (await database.fetch("SELECT count(*) AS n FROM t"))[0]["n"] == 1


@pytest.mark.one_server
async def test_a_ledger_that_an_administrator_has_made_room_for(make_sqlite: MakeSqlite, database: Database) -> None:
    """The other way that the message names: a schema of the role's own, and no right to create any."""
    source = make_sqlite("CREATE TABLE t (id INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (id int)")
    await database.execute(
        f"ALTER DATABASE {database.name} OWNER TO postgres; CREATE SCHEMA migrator AUTHORIZATION {database.role}",
        as_admin=True,
    )
    settings = settings_of(source, database)
    assert (await check.check(settings, NoProgress())).failure is None
    await run.run(settings, NoProgress())
    assert (await database.fetch("SELECT count(*) AS n FROM t"))[0]["n"] == 1
