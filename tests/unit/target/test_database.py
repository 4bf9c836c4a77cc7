"""The PostgreSQL end: what it says of itself, and how it takes rows."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from fix_postgres import Database
from fix_proxy import Proxy
from sqlalchemy import make_url, text

from migrator.errors import ConfigurationError
from migrator.names import TableName
from migrator.sessions.url import from_url
from migrator.target.copy_in import CopyTarget, copy_in
from migrator.target.database import Target, row_counts
from migrator.target.schema import CopyFormat

pytestmark = pytest.mark.one_server
SCHEMA = """
CREATE TYPE hue AS ENUM ('red', 'dark green');
CREATE DOMAIN short AS varchar(7) NOT NULL; CREATE DOMAIN shorter AS short;
CREATE TABLE "a table" (
    b int GENERATED ALWAYS AS IDENTITY, a bigint DEFAULT 7, price numeric(10, -2), name shorter, hue hue[],
    "Total" int GENERATED ALWAYS AS (1 + 1) STORED, gone int, PRIMARY KEY (name, b)
);
ALTER TABLE "a table" DROP COLUMN gone;
CREATE TABLE parted (id int) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parted DEFAULT;
CREATE VIEW seen AS SELECT 1 AS one; CREATE SCHEMA other; CREATE TABLE other.elsewhere (id int);
"""


@pytest.fixture
def target(database: Database) -> Target:
    """Give the target of a test."""
    return Target(from_url(database.url, {}))


async def test_tables_that_can_take_rows(target: Target, database: Database) -> None:
    """Of this schema: no views, no parts of a partitioned table; columns in their order, keys in theirs."""
    await database.execute(SCHEMA)
    async with target.connect() as connection:
        described = await target.describe(connection, "public")
    table, parted = described.tables
    assert (table.name, parted.name) == (TableName("public", "a table"), TableName("public", "parted"))
    assert (table.partitioned, parted.partitioned, table.owned, table.key) == (False, True, True, ("name", "b"))
    columns = {column.name: column for column in table.columns}
    assert list(columns) == ["b", "a", "price", "name", "hue", "Total"]
    assert {name for name, column in columns.items() if column.fills_itself} == {"b", "a", "Total"}
    assert (columns["b"].identity, columns["Total"].generated) == ("a", True)
    assert (columns["price"].precision, columns["price"].declared) == (10, "numeric(10,-2)")
    name = columns["name"]
    assert (name.type_name, name.length, name.not_null, name.domain) == ("varchar", 7, True, True)


async def test_the_schema_of_the_application(target: Target, database: Database) -> None:
    """The first of the search path that is there, or the one that is named; a name that isn't there is refused."""
    await database.execute(f"CREATE SCHEMA app; ALTER ROLE {database.role} SET search_path = nowhere, app, public")
    async with target.connect() as connection:
        assert await target.schema_of_application(connection, None) == "app"
        assert await target.schema_of_application(connection, "public") == "public"
        with pytest.raises(ConfigurationError, match="'App'"):
            await target.schema_of_application(connection, "App")


async def test_a_session_is_not_bound_by_the_limits_of_the_application(target: Target, database: Database) -> None:
    """What a role or database has set for short statements would cut a long COPY, or change how values are written."""
    limits = {
        "statement_timeout": "1ms",
        "datestyle": "SQL, DMY",
        "synchronous_commit": "off",
        "bytea_output": "escape",
    }
    await database.execute(
        "".join(f"ALTER ROLE {database.role} SET {name} = '{value}';" for name, value in limits.items())
    )
    async with target.connect() as connection:
        shown = [(await connection.exec_driver_sql(f"SHOW {name}")).scalar() for name in limits]
    assert shown == ["0", "ISO, YMD", "on", "hex"]


async def _send(target: Target, *chunks: bytes) -> int:
    async def sent() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    name = TableName("public", "t")
    async with target.transaction() as connection:
        await connection.exec_driver_sql("TRUNCATE t")
        copy_target = CopyTarget(name, ["id", "t"], CopyFormat.TEXT, freeze=True)
        return await copy_in(connection, copy_target, sent(), stall_seconds=30)


async def test_rows_come_in_whatever_pieces(target: Target, database: Database) -> None:
    """A row may be cut anywhere; PostgreSQL's own count is returned. What fails leaves what was there before."""
    await database.execute("CREATE TABLE t (t text, id int CHECK (id > 0))")
    assert await _send(target, b"1\t", b"on", b"e\n2\t\\N\n") == 2
    with pytest.raises(asyncpg.CheckViolationError):
        await _send(target, b"3\tthree\n", b"-1\tno\n")
    assert [tuple(row) for row in await database.fetch("SELECT id, t FROM t ORDER BY id")] == [(1, "one"), (2, None)]
    async with target.connect() as connection:
        assert await row_counts(connection, [TableName("public", "t")]) == {TableName("public", "t"): 2}


async def test_only_tables_with_rows_are_counted(target: Target, database: Database) -> None:
    """Without a page, with pages but no row, with rows that other tables inherit or that partitions hold."""
    await database.execute(
        "CREATE TABLE bare (id int); CREATE TABLE emptied (id int); CREATE TABLE parent (id int);"
        "CREATE TABLE child () INHERITS (parent); CREATE TABLE parted (id int) PARTITION BY RANGE (id);"
        "CREATE TABLE part PARTITION OF parted DEFAULT; INSERT INTO emptied VALUES (1), (2); DELETE FROM emptied;"
        "INSERT INTO child VALUES (1); INSERT INTO parted VALUES (1), (2)"
    )
    names = [TableName("public", name) for name in ("bare", "emptied", "parent", "child", "parted", "not there")]
    async with target.connect() as connection:
        counts = await row_counts(connection, names)
    assert counts == {TableName("public", "child"): 1, TableName("public", "parted"): 2}


async def test_a_locked_table_that_nobody_asks_about_is_not_waited_for(target: Target, database: Database) -> None:
    """The pages of the tables asked about are counted, and not those of all that the database has."""
    await database.execute("CREATE TABLE bare (id int); CREATE TABLE locked (id int)")
    async with target.transaction() as holder, target.connect() as connection, asyncio.timeout(30):
        await holder.exec_driver_sql("LOCK TABLE locked")
        assert await row_counts(connection, [TableName("public", "bare")]) == {}


async def test_a_copy_that_fails_here_after_the_server_refused_it(target: Target, database: Database) -> None:
    """The driver would wait without end for the answer to its cancellation: the server has nothing left to cancel."""
    await database.execute("CREATE TABLE t (id int CHECK (id > 0))")
    refused = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state LIKE '%(aborted)'"

    async def sent() -> AsyncIterator[bytes]:
        yield b"-1\n"
        while not await database.fetch(refused, as_admin=True):  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
        raise EOFError("the source ends here")

    name = TableName("public", "t")
    async with asyncio.timeout(60):
        with pytest.raises(EOFError):  # noqa: PT012 - the session is what isn't to be waited for
            async with target.transaction() as connection:
                await connection.exec_driver_sql("TRUNCATE t")
                await copy_in(connection, CopyTarget(name, ["id"], CopyFormat.TEXT), sent(), stall_seconds=30)
    assert await database.fetch("SELECT FROM t") == []


async def test_what_a_transaction_raised_is_what_comes_out(target: Target) -> None:
    """A ROLLBACK in the middle of a statement fails, and hides nothing: no loss, and not that a task was cancelled."""
    working: list[asyncio.Task[str]] = []

    async def fail(error: BaseException) -> None:
        async with target.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            driver: Any = (await connection.get_raw_connection()).driver_connection
            working.append(asyncio.create_task(driver.execute("SELECT pg_sleep(60)")))
            await asyncio.sleep(0)
            raise error

    for error in (ConnectionResetError("lost"), asyncio.CancelledError()):
        with pytest.raises(type(error)) as caught:
            await fail(error)
        assert caught.value is error
    for one in working:
        one.cancel()
    await asyncio.gather(*working, return_exceptions=True)


async def test_sessions_that_were_given_up_are_ended(database: Database, proxies: list[Proxy]) -> None:
    """The network swallows everything, also that a session is over: its locks are free again before the next try."""
    await database.execute("CREATE TABLE t (t text)")
    url = make_url(database.url)
    assert url.port is not None
    proxies.append(Proxy(url.port))
    proxies[0].will("black hole", after=20_000)
    target = Target(from_url(url.set(port=proxies[0].port).render_as_string(hide_password=False), {}))

    async def insert() -> None:
        async with target.transaction() as connection:
            await connection.execute(text("LOCK TABLE t"))
            await connection.execute(text("INSERT INTO t VALUES (:t)"), {"t": "x" * 50_000})

    inserting = asyncio.create_task(insert())
    while not proxies[0].happened:  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0.01)
    inserting.cancel()
    await asyncio.gather(inserting, return_exceptions=True)
    with pytest.raises(asyncpg.LockNotAvailableError):
        await database.execute("SET lock_timeout = '100ms'; LOCK TABLE t")
    await target.terminate_abandoned()
    await database.execute("SET lock_timeout = '20s'; LOCK TABLE t")


async def _number(target: Target) -> int:
    async with target.connect() as connection:
        return int(await connection.scalar(text("SELECT pg_backend_pid()")) or 0)


async def test_a_session_is_kept_until_sessions_begin_anew(database: Database) -> None:
    """One question after the other is asked in it; what a role is set to meanwhile holds from the next login."""
    target = Target(from_url(database.url, {}))
    async with target.pooled():
        first = await _number(target)
        assert await _number(target) == first
        async with target.connect() as one, target.connect() as other:
            assert await one.scalar(text("SELECT pg_backend_pid()")) == first
            assert await other.scalar(text("SELECT pg_backend_pid()")) != first
        await target.discard_pooled()
        assert await _number(target) != first
    known = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with asyncio.timeout(120):
        while (await database.fetch(known))[0]["n"]:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)


async def test_only_a_session_that_is_whole_is_kept(database: Database) -> None:
    """After an error nobody knows what state it is in; one that the server has ended meanwhile is replaced."""
    target = Target(from_url(database.url, {}))
    async with target.pooled():
        first = await _number(target)
        with pytest.raises(ValueError, match="no"):
            async with target.connect():
                raise ValueError("no")
        second = await _number(target)
        assert second != first
        await database.execute(f"SELECT pg_terminate_backend({second}, 10000)")
        assert await _number(target) not in {first, second}


async def test_what_changes_a_session_gets_one_of_its_own(database: Database) -> None:
    """Scripts and autocommit leave a session behind that others wouldn't expect."""
    target = Target(from_url(database.url, {}))
    async with target.pooled():
        first = await _number(target)
        async with target.script() as connection:
            assert connection.get_server_pid() != first
        async with target.autocommit() as alone:
            assert await alone.scalar(text("SELECT pg_backend_pid()")) != first
        assert await _number(target) == first
