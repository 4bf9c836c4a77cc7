"""COPY has an end: a server that takes no more rows, or gives no answer, is noticed within the time that is set."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fix_postgres import Database

from migrator.names import TableName
from migrator.sessions.url import from_url
from migrator.target.copy_in import CopyTarget, copy_in
from migrator.target.database import Target
from migrator.target.schema import CopyFormat

pytestmark = pytest.mark.one_server
STALL_SECONDS = 0.5
GUARD_SECONDS = 20
"""Far longer than the limit, far shorter than the server sleeps: without the limit this ends the test."""

SLEEPY = """
CREATE TABLE t (v text);
CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(120); RETURN NEW; END $$;
CREATE TRIGGER sleepy BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION sleep();
"""


async def send(database: Database, rows: AsyncIterator[bytes], stall_seconds: float = STALL_SECONDS) -> int:
    """Copy text into ``t``."""
    target = Target(from_url(database.url, {}))
    try:
        async with asyncio.timeout(GUARD_SECONDS), target.transaction() as connection:
            await connection.exec_driver_sql("SELECT 1")
            return await copy_in(
                connection,
                CopyTarget(TableName("public", "t"), ["v"], CopyFormat.TEXT),
                rows,
                stall_seconds=stall_seconds,
            )
    finally:
        await target.close()


async def chunks(count: int, size: int) -> AsyncIterator[bytes]:
    """Give that many rows, one a chunk."""
    for _ in range(count):
        yield b"x" * size + b"\n"


async def test_a_server_that_takes_no_more_rows(database: Database) -> None:
    """What is sent fills the buffers on the way, and then nothing moves."""
    await database.execute(SLEEPY)
    with pytest.raises(TimeoutError, match=f"the server took no rows for {STALL_SECONDS:g} s"):
        await send(database, chunks(300, 1 << 20))


async def test_a_server_that_gives_no_answer_at_the_end(database: Database) -> None:
    """All rows are on their way, and what became of them isn't said."""
    await database.execute(SLEEPY)
    with pytest.raises(TimeoutError, match=f"the server took no rows for {STALL_SECONDS:g} s"):
        await send(database, chunks(1, 10))


async def test_the_time_that_the_source_takes_is_not_the_servers(database: Database) -> None:
    """A slow disk between two batches is no stall of the server."""
    await database.execute("CREATE TABLE t (v text)")

    async def slow() -> AsyncIterator[bytes]:
        for row in (b"one\n", b"two\n"):
            yield row
            await asyncio.sleep(3 * STALL_SECONDS)  # what is tested is that time passes

    assert await send(database, slow()) == 2
