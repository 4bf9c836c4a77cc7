"""Stages from copy to verify overlap: tables don't wait for each other, and a large one doesn't hold up itself."""

import asyncio

import asyncpg
import pytest
from fix_job import catalogs, contents, settings_of
from fix_obstacle import only_in_copy
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from structlog.testing import capture_logs

from migrator.errors import Mismatch
from migrator.job import run, verify
from migrator.monitoring.tracker import Tracker

pytestmark = [pytest.mark.one_server, pytest.mark.usefixtures("obstacle_allowed")]

FILL = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO"
BIG = f"CREATE TABLE big (id INTEGER PRIMARY KEY, t TEXT); {FILL} big SELECT i, printf('%0100d', i) FROM n;"
SMALL = "CREATE TABLE small (id INTEGER PRIMARY KEY, big INTEGER REFERENCES big); INSERT INTO small VALUES (1, 2);"
TARGET = """
CREATE TABLE big (id bigint PRIMARY KEY, t text); CREATE INDEX by_t ON big (t);
CREATE TABLE small (id int PRIMARY KEY, big bigint REFERENCES big);
"""
# A row of the key that somebody holds is waited for; that is what a slow server is here.
WAIT_FOR = """
CREATE FUNCTION turn(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT pg_advisory_xact_lock_shared($1) IS NOT NULL'
"""


async def test_a_table_is_compared_while_another_is_still_copied(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One table can't be filled yet; the other is copied, has its key back and is found equal meanwhile."""
    monkeypatch.setattr("migrator.stages.park.PAYS_FROM_ROWS", 1)
    source = make_sqlite(BIG + SMALL)
    await database.execute(f"{WAIT_FOR}; {TARGET} {only_in_copy('big', 'turn(id)')}")
    before = await catalogs(database)
    somebody = await asyncpg.connect(database.url)
    await somebody.execute("SELECT pg_advisory_lock(1)")
    with capture_logs() as events:
        working = asyncio.create_task(run.run(settings_of(source, database, jobs=2), Tracker()))
        async with asyncio.timeout(60):
            while not any(e["event"] == "table.verified" and e["table"] == "public.small" for e in events):
                assert not working.done(), working
                await asyncio.sleep(0.01)
        assert not any(e["event"] == "table.copied" and e["table"] == "public.big" for e in events)
        await somebody.close()
        await working
    assert await catalogs(database) == before


async def test_in_turn_no_stage_begins_before_the_last_has_ended(make_sqlite: MakeSqlite, database: Database) -> None:
    """For who wants to see one at a time: every stage that starts has been preceded by the end of the one before."""
    source = make_sqlite(BIG + SMALL)
    await database.execute(TARGET)
    before = await catalogs(database)
    with capture_logs() as events:
        await run.run(settings_of(source, database, jobs=2, in_turn=True), Tracker())
    told = [e["event"] for e in events if e["event"] in {"stage.started", "stage.finished"}]
    assert told == ["stage.started", "stage.finished"] * (len(told) // 2)
    assert await catalogs(database) == before


async def test_pieces_of_a_table_come_side_by_side(make_sqlite: MakeSqlite, database: Database) -> None:
    """One piece is held up at its first row; all the others are committed, each with its line, before it is."""
    source = make_sqlite(BIG)
    await database.execute(
        f"{WAIT_FOR}; CREATE TABLE big (id bigint PRIMARY KEY, t text); {only_in_copy('big', 'turn(id)')}"
    )
    somebody = await asyncpg.connect(database.url)
    await somebody.execute("SELECT pg_advisory_lock(1)")
    working = asyncio.create_task(run.run(settings_of(source, database, jobs=2, chunk_bytes=30_000), Tracker()))
    async with asyncio.timeout(60):
        while True:
            assert not working.done(), working
            if await somebody.fetchval("SELECT to_regclass('migrator.chunks') IS NOT NULL"):
                found = await somebody.fetch("SELECT position FROM migrator.chunks WHERE copied_at IS NULL")
                if [line["position"] for line in found] == [0]:
                    break
            await asyncio.sleep(0.01)
    assert await somebody.fetchval("SELECT count(*) FROM migrator.chunks") > 3
    await somebody.close()
    await working
    assert len(await contents(database, "big")) == 2000


async def test_a_table_in_pieces_keeps_its_place(make_sqlite: MakeSqlite, database: Database) -> None:
    """The largest table is begun first, and its pieces don't wait until all other tables are copied."""
    others = [f"other_{number}" for number in range(4)]
    fill = FILL.replace("2000", "200")
    texts = "SELECT i, printf('%0100d', i) FROM n"
    source = make_sqlite(
        BIG
        + "".join(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, t TEXT); {fill} {name} {texts};" for name in others)
    )
    tables = ("big", *others)
    await database.execute("".join(f"CREATE TABLE {name} (id bigint PRIMARY KEY, t text);" for name in tables))
    with capture_logs() as events:
        await run.run(settings_of(source, database, jobs=1, chunk_bytes=30_000), Tracker())
    copied = [e for e in events if e["event"] == "table.copied"]
    assert copied[0]["table"] == "public.big"
    assert copied[0]["chunks"] > 3
    assert {e["table"] for e in copied} == {f"public.{name}" for name in tables}


async def test_pieces_of_a_table_with_a_trigger(make_sqlite: MakeSqlite, database: Database) -> None:
    """Who switches a trigger off locks the table, so they come one after the other, and the trigger doesn't fire."""
    source = make_sqlite(BIG)
    await database.execute("""
        CREATE TABLE big (id bigint PRIMARY KEY, t text);
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.t := 'touched'; RETURN NEW; END $$;
        CREATE TRIGGER touch BEFORE INSERT ON big FOR EACH ROW EXECUTE FUNCTION touch()
    """)
    before = await catalogs(database)
    await run.run(settings_of(source, database, jobs=4, chunk_bytes=30_000), Tracker())
    assert await catalogs(database) == before
    assert (await database.fetch("SELECT count(*) AS n FROM big WHERE t <> 'touched'"))[0]["n"] == 2000


@pytest.mark.parametrize("place", [1, 1000, 2000])
async def test_a_difference_in_any_part_is_found(make_sqlite: MakeSqlite, database: Database, place: int) -> None:
    """Both ends are read in parts; a value that was changed is named wherever it is, and only that."""
    source = make_sqlite(BIG)
    await database.execute("CREATE TABLE big (id bigint PRIMARY KEY, t text)")
    settings = settings_of(source, database, jobs=2, chunk_bytes=30_000)
    await run.run(settings, Tracker())
    report = await verify.verify(settings, Tracker())
    assert [line.verified for line in report.tables] == [True]
    await database.execute(f"UPDATE big SET t = 'x' WHERE id = {place}")
    with pytest.raises(Mismatch) as caught:
        await verify.verify(settings, Tracker())
    differences = caught.value.facts["differences"]
    assert isinstance(differences, list)
    [difference] = differences
    assert [example["key"] for example in difference["examples"]] == [{"id": str(place)}]
