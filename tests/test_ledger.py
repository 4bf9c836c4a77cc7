"""The ledger: what a transaction writes there is true with it, gone with it, and only the owner's."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest
from fix_postgres import Database

from migrator import ledger
from migrator.errors import GaveUp
from migrator.ledger import Begun, CopiedTable
from migrator.names import TableName
from migrator.source_file import Fingerprint
from migrator.target import Target
from migrator.target_url import from_url

pytestmark = pytest.mark.one_server
TABLE = TableName("a schema", 'the "table"')
SOURCE = Fingerprint(size_bytes=4096, change_counter=1, wal_bytes=0, schema_digest="0")


@pytest.fixture
async def target(database: Database) -> Target:
    """Give a target with a ledger."""
    target = Target(from_url(database.url, {}))
    async with target.transaction() as connection:
        await ledger.create(connection)
    return target


async def _begin(target: Target) -> UUID:
    run_id = uuid4()
    async with target.transaction() as connection:
        await ledger.begin_run(connection, run_id, version="1", source=SOURCE, settings={"jobs": 1})
        await ledger.take_over(connection, run_id)
    return run_id


async def _write_chunk(target: Target, run_id: UUID, position: int, last: str | None) -> None:
    async with target.transaction() as connection:
        await ledger.write_chunk(connection, TABLE, run_id, position, last=last, rows=2, size=10, seconds=0.5)


async def test_the_last_that_took_over_may_write(target: Target) -> None:
    """Whoever was there before is refused with the other's id, and what it had written in that transaction is gone."""
    first, second = await _begin(target), await _begin(target)

    async def write(run_id: UUID) -> None:
        async with target.transaction() as connection:
            await ledger.remember(connection, "fact", 1)
            await ledger.check_owner(connection, run_id)

    with pytest.raises(GaveUp, match=str(second)):
        await write(first)
    async with target.transaction() as connection:
        await ledger.check_owner(connection, second)
        assert await ledger.recall(connection, "fact") is None


async def test_taking_over_waits_for_what_is_about_to_be_committed(target: Target, database: Database) -> None:
    """Who has been found to be the owner stays it to the end of its transaction: no other can begin in between."""
    first = await _begin(target)
    async with asyncio.timeout(60):
        async with target.transaction() as connection:
            await ledger.check_owner(connection, first)
            taking = asyncio.create_task(_begin(target))
            while not await database.fetch("SELECT FROM pg_locks WHERE NOT granted"):
                assert not taking.done()
            await ledger.remember(connection, "fact", 1)
        second = await taking
    async with target.transaction() as connection:
        await ledger.check_owner(connection, second)
        assert await ledger.recall(connection, "fact") == 1


async def test_how_far_a_table_is(target: Target) -> None:
    """Its chunks are counted together, the last key is the newest; a chunk can't be written a second time."""
    run_id = await _begin(target)
    await _write_chunk(target, run_id, 0, "(1)")
    await _write_chunk(target, run_id, 1, "(2)")
    with pytest.raises(Exception, match="chunks_pkey") as caught:
        await _write_chunk(target, run_id, 1, "(3)")
    assert isinstance(caught.value.__cause__.__cause__, asyncpg.UniqueViolationError)
    async with target.connect() as connection:
        assert await ledger.begun(connection) == {TABLE: Begun(chunks=2, rows=4, bytes=20, seconds=1.0, last="(2)")}
        brought = (await ledger.loaded(connection))[TABLE]
    assert (brought.rows, len(set(brought.transactions))) == (4, 2)


async def test_what_was_parked_comes_back_in_order_and_once(target: Target) -> None:
    """Statements are kept letter by letter; what is back is not told any more."""
    statements = ['ALTER TABLE "x" ADD CONSTRAINT ":a %s" CHECK (\'\\\' <> $$é$$)', "COMMENT …"]
    async with target.transaction() as connection:
        await ledger.write_parked(connection, TABLE, "index", "first", statements)
        await ledger.write_parked(connection, TABLE, ledger.FOREIGN_KEY, "second", ["…"])
        first, second = await ledger.still_parked(connection)
        assert (first.table, first.name, list(first.statements)) == (TABLE, "first", statements)
        await ledger.write_restored(connection, first)
        assert await ledger.still_parked(connection) == [second]


async def test_what_is_forgotten(target: Target) -> None:
    """Of tables that were emptied nothing stays, nor that all was complete; other tables and parked things do."""
    run_id, other = await _begin(target), TableName("a schema", "other")
    await _write_chunk(target, run_id, 0, None)
    async with target.transaction() as connection:
        for name in (TABLE, other):
            await ledger.write_copied(connection, CopiedTable(name, run_id, 2, 10, 0.5, None))
        await ledger.write_verified(connection, other, "00ff")
        await ledger.write_seeded(connection, {TABLE: 1})
        await ledger.write_parked(connection, TABLE, "index", "i", ["…"])
        for fact in ("source", "completed", ledger.READY, "began_empty"):
            await ledger.remember(connection, fact, value=True)
    async with target.transaction() as connection:
        await ledger.forget(connection, [TABLE])
    async with target.connect() as connection:
        assert {name: table.digest for name, table in (await ledger.copied(connection)).items()} == {other: "00ff"}
        assert (await ledger.begun(connection), await ledger.seeded_rows(connection)) == ({}, {})
        assert await ledger.completed_at(connection) is None
        assert [await ledger.recall(connection, fact) for fact in ("source", ledger.READY, "began_empty")] == [
            None,
            None,
            True,
        ]
        assert len(await ledger.still_parked(connection)) == 1


async def test_a_run_from_its_begin_to_its_end(target: Target) -> None:
    """While it runs it has no end and no code; a stage that is tried again has begun again."""
    run_id = await _begin(target)
    async with target.transaction() as connection:
        await ledger.begin_stage(connection, run_id, "copy")
        [running] = await ledger.last_runs(connection, 5)
        assert (running.id, running.ended_at, running.exit_code) == (run_id, None, None)
        await ledger.end_stage(connection, run_id, "copy")
        await ledger.begin_stage(connection, run_id, "copy")
        [stage] = await ledger.stages_of(connection, run_id)
        assert (stage.stage, stage.ended_at) == ("copy", None)
        await ledger.end_run(connection, run_id, exit_code=4, message="why")
        [ended] = await ledger.last_runs(connection, 5)
    assert (ended.exit_code, ended.message) == (4, "why")
    assert ended.ended_at is not None


async def test_making_it_again_changes_nothing(target: Target) -> None:
    """Every run makes what is missing; what an earlier one has written stays."""
    run_id = await _begin(target)
    async with target.transaction() as connection:
        await ledger.create(connection)
        assert [run.id for run in await ledger.last_runs(connection, 5)] == [run_id]
