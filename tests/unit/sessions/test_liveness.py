"""Answers: a statement may take its time, but an answer that was given has to come."""

import asyncio
from collections.abc import Coroutine

import pytest
from fix_postgres import Database
from fix_proxy import Proxy
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from migrator.sessions.url import from_url
from migrator.target.database import Target


def behind_a_proxy(database: Database, proxies: list[Proxy]) -> Target:
    """Return the database as a target that is reached through a proxy, the first of ``proxies``."""
    url = make_url(database.url)
    assert url.port is not None
    proxies.append(Proxy(url.port))
    return Target(from_url(url.set(port=proxies[0].port).render_as_string(hide_password=False), {}))


async def look_at_answers(target: Target) -> None:
    """Look again and again, until something is found."""
    while True:
        await asyncio.sleep(0.05)
        await target.check_answers(1.5)


@pytest.mark.one_server
async def test_a_statement_may_take_long(database: Database) -> None:
    """The server is asked and says that it is still at it: nothing happens, and the statement ends well."""
    target = Target(from_url(database.url, {}))
    async with target.connect() as connection:
        working = asyncio.create_task(connection.execute(text("SELECT pg_sleep(2.5)")))
        while not working.done():
            await target.check_answers(1.5)
            await asyncio.sleep(0.1)
        await working
    await target.check_answers(1.5)


@pytest.mark.one_server
@pytest.mark.parametrize("fault", ["black hole", "deaf"])
async def test_an_answer_that_does_not_come(fault: str, database: Database, proxies: list[Proxy]) -> None:
    """The server has done its part, or waits for the rest: the session is cut off, and its locks are free again."""
    await database.execute("CREATE TABLE t (t text)")
    target = behind_a_proxy(database, proxies)
    proxies[0].will("deaf" if fault == "deaf" else "black hole", after=20_000)

    async def insert() -> None:
        async with target.transaction() as connection:
            await connection.execute(text("LOCK TABLE t"))
            await connection.execute(text("INSERT INTO t VALUES (:t)"), {"t": "x" * 50_000})

    await is_cut_off(insert(), target)
    await database.execute("SET lock_timeout = '20s'; LOCK TABLE t")


async def is_cut_off(work: Coroutine[object, object, None], target: Target) -> None:
    """Do the work, whose answer won't come, until the session is cut off for that."""
    working = asyncio.create_task(work)
    with pytest.raises(TimeoutError, match="its answer did not come"):
        await asyncio.wait_for(look_at_answers(target), 120)
    with pytest.raises((DBAPIError, ConnectionError)):
        await asyncio.wait_for(working, 120)


@pytest.mark.one_server
async def test_a_role_that_begins_as_another(database: Database, proxies: list[Proxy]) -> None:
    """After ALTER ROLE … SET role the sessions are still those of the role that logs in, and are cut off as ever."""
    group = f"{database.role}_group"
    database.server.administer(
        f"CREATE ROLE {group}", f"GRANT {group} TO {database.role}", f"ALTER ROLE {database.role} SET role = {group}"
    )
    try:
        await database.execute(f"GRANT ALL ON SCHEMA public TO {group}", as_admin=True)
        await database.execute("CREATE TABLE t (t text)")
        target = behind_a_proxy(database, proxies)

        async def insert() -> None:
            async with target.transaction() as connection:
                assert await connection.scalar(text("SELECT current_user <> session_user"))
                await connection.execute(text("LOCK TABLE t"))
                proxies[0].fall_silent()
                await connection.execute(text("INSERT INTO t VALUES ('x')"))

        await is_cut_off(insert(), target)
        await database.execute("SET lock_timeout = '20s'; LOCK TABLE t")
    finally:
        await database.execute(f"DROP OWNED BY {group} CASCADE", as_admin=True)
        database.server.administer(f"ALTER ROLE {database.role} RESET role", f"DROP ROLE {group}")


@pytest.mark.one_server
async def test_a_session_whose_end_is_not_told(database: Database, proxies: list[Proxy]) -> None:
    """The server has ended it, and what is in between keeps that to itself."""
    target = behind_a_proxy(database, proxies)

    async def sleep() -> None:
        async with target.connect() as connection:
            number = await connection.scalar(text("SELECT pg_backend_pid()"))
            proxies[0].fall_silent()
            await database.execute(f"SELECT pg_terminate_backend({number}, 10000)")
            await connection.execute(text("SELECT pg_sleep(600)"))

    sleeping = asyncio.create_task(sleep())
    with pytest.raises(TimeoutError, match="its answer did not come"):
        await asyncio.wait_for(look_at_answers(target), 120)
    with pytest.raises((DBAPIError, ConnectionError)):
        await asyncio.wait_for(sleeping, 120)


@pytest.mark.one_server
async def test_an_answer_to_commit_that_does_not_come(database: Database, proxies: list[Proxy]) -> None:
    """COMMIT is watched like any statement; whether it was carried out is for the ledger to say."""
    await database.execute("CREATE TABLE t (t text)")
    target = behind_a_proxy(database, proxies)

    async def insert() -> None:
        async with target.transaction() as connection:
            await connection.execute(text("INSERT INTO t VALUES ('x')"))
            proxies[0].fall_silent()

    writing = asyncio.create_task(insert())
    with pytest.raises(TimeoutError, match="its answer did not come"):
        await asyncio.wait_for(look_at_answers(target), 120)
    with pytest.raises((DBAPIError, ConnectionError)):
        await asyncio.wait_for(writing, 120)
    assert len(await database.fetch("SELECT FROM t")) == 1
