"""The ledger: what a transaction writes there is true with it, gone with it, and only the owner's."""

import asyncio
from uuid import uuid4

import pytest
from fix_job import MIGRATION, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.copying import ledger_lines
from migrator.errors import GaveUp, MissingPrivilege
from migrator.job import check, run
from migrator.ledger import loads, parked, runs, schema, state
from migrator.ledger.loads import CopyProgress, CopyStats, LoadedRows, Seed
from migrator.ledger.run_ledger import RunLedger
from migrator.ledger.runs import RunInfo
from migrator.ledger.schema import Taken
from migrator.monitoring.tracker import Tracker
from migrator.names import TableName
from migrator.sessions.url import from_url
from migrator.source.chunks import Chunk
from migrator.source.file import Fingerprint
from migrator.target.database import Target

pytestmark = pytest.mark.one_server
TABLE = TableName("a schema", 'the "table"')
SOURCE = Fingerprint(size_bytes=4096, change_counter=1, wal_bytes=0, schema_digest="0")


@pytest.fixture
async def target(database: Database) -> Target:
    """Give a target with a ledger."""
    target = Target(from_url(database.url, {}))
    async with target.transaction() as connection:
        await schema.create(connection)
    return target


async def _begin(target: Target) -> RunLedger:
    run = RunLedger(target, MIGRATION, uuid4())
    async with target.transaction() as connection:
        await runs.begin_run(connection, run, RunInfo("1", SOURCE, {"jobs": 1}))
        await run.take_over(connection)
    return run


PIECES = {0: Chunk(None, "1"), 1: Chunk("1", "2"), 2: Chunk("2", None)}


async def _cut(target: Target, run: RunLedger) -> None:
    async with target.transaction() as connection:
        await loads.write_chunks(connection, run, TABLE, PIECES)


async def _write_chunk(target: Target, run: RunLedger, position: int) -> None:
    async with target.transaction() as connection:
        await loads.write_chunk(connection, run, TABLE, position, CopyStats(rows=2, bytes=10, seconds=0.5))


async def test_the_last_that_took_over_may_write(target: Target) -> None:
    """Whoever was there before is refused with the other's id, and what it had written in that transaction is gone."""
    first, second = await _begin(target), await _begin(target)

    async def write(run: RunLedger) -> None:
        async with target.transaction() as connection:
            await state.remember(connection, MIGRATION, "fact", 1)
            await run.hold(connection)

    with pytest.raises(GaveUp, match=str(second.run_id)):
        await write(first)
    async with target.transaction() as connection:
        await second.hold(connection)
        assert await state.recall(connection, MIGRATION, "fact") is None


async def test_taking_over_waits_for_what_is_about_to_be_committed(target: Target, database: Database) -> None:
    """Who has been found to be the owner stays it to the end of its transaction: no other can begin in between."""
    first = await _begin(target)
    async with asyncio.timeout(60):
        async with target.transaction() as connection:
            await first.hold(connection)
            taking = asyncio.create_task(_begin(target))
            while not await database.fetch("SELECT FROM pg_locks WHERE NOT granted"):
                assert not taking.done()
            await state.remember(connection, MIGRATION, "fact", 1)
        second = await taking
    async with target.transaction() as connection:
        await second.hold(connection)
        assert await state.recall(connection, MIGRATION, "fact") == 1


async def test_how_far_a_table_is(target: Target) -> None:
    """What has come is counted together, in whatever order; what is left is known, and no piece can come twice."""
    run = await _begin(target)
    await _cut(target, run)
    await _write_chunk(target, run, 2)
    await _write_chunk(target, run, 0)
    with pytest.raises(GaveUp, match="chunk 2 of"):
        await _write_chunk(target, run, 2)
    async with target.connect() as connection:
        assert await loads.begun(connection, MIGRATION) == {
            TABLE: CopyProgress(chunks=2, brought=CopyStats(rows=4, bytes=20, seconds=1.0), left={1: PIECES[1]})
        }
        brought = (await loads.loaded(connection, MIGRATION))[TABLE]
    assert (brought.rows, len(set(brought.transactions))) == (4, 2)


async def test_a_table_that_was_emptied_and_has_got_nothing_yet(target: Target) -> None:
    """It is begun, with all its pieces left, and is among the tables that a reset empties."""
    await _cut(target, await _begin(target))
    async with target.connect() as connection:
        assert await loads.begun(connection, MIGRATION) == {TABLE: CopyProgress(left=PIECES)}
        assert await loads.loaded(connection, MIGRATION) == {TABLE: LoadedRows(0, ())}


async def test_what_was_parked_comes_back_in_order_and_once(target: Target) -> None:
    """Statements are kept letter by letter; what is back is not told any more."""
    statements = ['ALTER TABLE "x" ADD CONSTRAINT ":a %s" CHECK (\'\\\' <> $$é$$)', "COMMENT …"]
    async with target.transaction() as connection:
        await parked.write_parked(connection, MIGRATION, Taken(TABLE, "index", "first", tuple(statements)))
        await parked.write_parked(connection, MIGRATION, Taken(TABLE, parked.FOREIGN_KEY, "second", ("…",)))
        first, second = await parked.still_parked(connection, MIGRATION)
        assert (first.table, first.name, list(first.statements)) == (TABLE, "first", statements)
        await parked.write_restored(connection, first)
        assert await parked.still_parked(connection, MIGRATION) == [second]


async def test_what_is_forgotten(target: Target) -> None:
    """Of tables that were emptied nothing stays, nor that all was complete; other tables and parked things do."""
    run, other = await _begin(target), TableName("a schema", "other")
    await _cut(target, run)
    await _write_chunk(target, run, 0)
    async with target.transaction() as connection:
        for name in (TABLE, other):
            await ledger_lines.write_copied(connection, run, {name: CopyStats(2, 10, 0.5)})
        await loads.write_verified(connection, MIGRATION, {other: "00ff"})
        await loads.write_seeded(connection, MIGRATION, {TABLE: Seed(1, "0")})
        await parked.write_parked(connection, MIGRATION, Taken(TABLE, "index", "i", ("…",)))
        for fact in ("source", "completed", state.READY, "began_empty"):
            await state.remember(connection, MIGRATION, fact, value=True)
    async with target.transaction() as connection:
        await loads.forget(connection, MIGRATION, [TABLE])
    async with target.connect() as connection:
        copied = await loads.copied(connection, MIGRATION)
        assert {name: table.digest for name, table in copied.items()} == {other: "00ff"}
        assert (await loads.begun(connection, MIGRATION), await loads.seeds(connection)) == ({}, {})
        assert await state.completed_at(connection, MIGRATION) is None
        facts = ("source", state.READY, "began_empty")
        assert [await state.recall(connection, MIGRATION, fact) for fact in facts] == [
            None,
            None,
            True,
        ]
        assert len(await parked.still_parked(connection, MIGRATION)) == 1


async def test_a_run_from_its_begin_to_its_end(target: Target) -> None:
    """While it runs it has no end and no code; a stage that is tried again has begun again."""
    run = await _begin(target)
    async with target.transaction() as connection:
        await runs.begin_stage(connection, run, "copy")
        [running] = await runs.last_runs(connection, MIGRATION, 5)
        assert (running.id, running.ended_at, running.exit_code) == (run.run_id, None, None)
        await runs.end_stage(connection, run, "copy")
        await runs.begin_stage(connection, run, "copy")
        [stage] = await runs.stages_of(connection, run.run_id)
        assert (stage.stage, stage.ended_at) == ("copy", None)
        await runs.end_run(connection, run, exit_code=4, message="why")
        [ended] = await runs.last_runs(connection, MIGRATION, 5)
    assert (ended.exit_code, ended.message) == (4, "why")
    assert ended.ended_at is not None


async def test_making_it_again_changes_nothing(target: Target) -> None:
    """Every run makes what is missing; what an earlier one has written stays."""
    run = await _begin(target)
    async with target.transaction() as connection:
        await schema.create(connection)
        assert [line.id for line in await runs.last_runs(connection, MIGRATION, 5)] == [run.run_id]


@pytest.mark.one_server
async def test_the_privilege_that_the_ledger_needs_is_named(make_sqlite: MakeSqlite, database: Database) -> None:
    """A role that may not create a schema is told so by check and by run, with the GRANT; with that it works."""
    source = make_sqlite("CREATE TABLE t (id INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (id int)")
    await database.execute(f"ALTER DATABASE {database.name} OWNER TO postgres", as_admin=True)
    settings = settings_of(source, database)
    checked = (await check.check(settings, Tracker())).failure
    assert isinstance(checked, MissingPrivilege)
    assert await database.fetch("SELECT FROM pg_namespace WHERE nspname = 'migrator'") == []
    with pytest.raises(MissingPrivilege, match="may neither use nor create the schema migrator") as caught:
        await run.run(settings, Tracker())
    assert (str(checked), checked.next_step) == (str(caught.value), caught.value.next_step)
    grant = caught.value.next_step.removeprefix("Run ").partition(";")[0]
    assert grant == f'GRANT CREATE ON DATABASE "{database.name}" TO "{database.role}"'
    await database.execute(grant, as_admin=True)
    assert (await check.check(settings, Tracker())).failure is None
    await run.run(settings, Tracker())
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
    assert (await check.check(settings, Tracker())).failure is None
    await run.run(settings, Tracker())
    assert (await database.fetch("SELECT count(*) AS n FROM t"))[0]["n"] == 1
