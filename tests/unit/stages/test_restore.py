"""Stage restore, alone: what the ledger has as parked comes back in the right order, or is kept. See also test_park."""

import asyncio

import asyncpg
import pytest
from fix_job import MIGRATION, begin_ledger, run_ledger
from fix_postgres import Database

from migrator.errors import GaveUp, TargetRefused
from migrator.ledger import parked
from migrator.ledger.schema import Taken
from migrator.names import TableName
from migrator.sessions.url import from_url
from migrator.stages.restore import restore
from migrator.target.database import Target

pytestmark = pytest.mark.one_server
T, U = TableName("public", "t"), TableName("public", "u")
PARKED = (
    # Written down first, and back last: it needs the key.
    (U, parked.FOREIGN_KEY, "to_t", "ALTER TABLE public.u ADD CONSTRAINT to_t FOREIGN KEY (id) REFERENCES public.t"),
    (T, "primary key", "t_pkey", "ALTER TABLE public.t ADD CONSTRAINT t_pkey PRIMARY KEY (id)"),
    (U, "index", "by_id", "CREATE INDEX by_id ON public.u USING btree (id)"),
)


@pytest.fixture
async def target(database: Database) -> Target:
    """Give a target whose tables are without their keys."""
    await database.execute("CREATE TABLE t (id int); CREATE TABLE u (id int); INSERT INTO t VALUES (1)")
    target = Target(from_url(database.url, {}))
    await begin_ledger(target)
    async with target.transaction() as connection:
        for table, kind, name, statement in PARKED:
            await parked.write_parked(connection, MIGRATION, Taken(table, kind, name, (statement,)))
    return target


async def _missing(target: Target) -> set[str]:
    async with target.connect() as connection:
        return {entry.name for entry in await parked.still_parked(connection, MIGRATION)}


@pytest.mark.parametrize("jobs", [1, 4])
async def test_foreign_keys_last(jobs: int, target: Target, database: Database) -> None:
    """Whatever the order in which they went, and however many work at once; afterwards nothing is parked."""
    assert await restore(run_ledger(target), jobs) == len(PARKED)
    assert await _missing(target) == set()
    there = "SELECT conname::text FROM pg_constraint WHERE conname IN ('t_pkey', 'to_t')"
    assert {row[0] for row in await database.fetch(there)} == {"t_pkey", "to_t"}


async def _restored_by_three_at_once(target: Target, database: Database, jobs: int) -> int:
    """Restore while somebody holds table ``u``, who lets it go when three sessions wait for it; return the number."""
    somebody = await asyncpg.connect(database.url)
    await somebody.execute("BEGIN; LOCK TABLE u IN ROW EXCLUSIVE MODE")
    restoring = asyncio.create_task(restore(run_ledger(target), jobs))
    waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE relation = 'u'::regclass AND NOT granted"
    async with asyncio.timeout(60):
        while await somebody.fetchval(waiting) < 3:
            assert not restoring.done(), restoring
            await asyncio.sleep(0.01)
        await somebody.close()
        return await restoring


async def test_indexes_of_a_table_are_made_side_by_side(target: Target, database: Database) -> None:
    """Nobody else's table is left to work on at the end, when the largest gets its indexes; its key comes beside."""
    async with target.transaction() as connection:
        for number in (1, 2):
            statement = f"CREATE INDEX more_{number} ON public.u USING btree ((id + {number}))"
            await parked.write_parked(connection, MIGRATION, Taken(U, "index", f"more_{number}", (statement,)))
    assert await _restored_by_three_at_once(target, database, jobs=3) == len(PARKED) + 2
    assert await _missing(target) == set()


async def test_the_last_table_gets_its_keys_beside_its_indexes(database: Database) -> None:
    """Two keys, each of which needs the table for itself in the end, don't wait for each other for ever."""
    await database.execute("CREATE TABLE u (id int, n int); INSERT INTO u SELECT i, i FROM generate_series(1, 9) i")
    target = Target(from_url(database.url, {}))
    await begin_ledger(target)
    made = {
        "u_pkey": ("primary key", "UNIQUE INDEX", "id", "PRIMARY KEY"),
        "u_n": ("unique key", "UNIQUE INDEX", "n", "UNIQUE"),
        "more_1": ("index", "INDEX", "(id + 1)", None),
        "more_2": ("index", "INDEX", "(id + 2)", None),
    }
    async with target.transaction() as connection:
        for name, (kind, making, on, constraint) in made.items():
            index = f"CREATE {making} {name} ON public.u USING btree ({on})"
            key = f"ALTER TABLE public.u ADD CONSTRAINT {name} {constraint} USING INDEX {name}"
            statements = (index, key) if constraint else (index,)
            await parked.write_parked(connection, MIGRATION, Taken(U, kind, name, statements))
    assert await _restored_by_three_at_once(target, database, jobs=4) == len(made)
    assert await _missing(target) == set()
    there = await database.fetch("SELECT conname::text FROM pg_constraint WHERE conrelid = 'u'::regclass")
    assert {"u_pkey", "u_n"} <= {row[0] for row in there}


@pytest.mark.parametrize(
    ("jobs", "cache", "own", "expected"),
    [
        (2, "4GB", "64MB", "256MB"),
        (4, "1GB", "32MB", "64MB"),
        (4, "400MB", "64MB", "64MB"),
        (1, "64GB", "512MB", "512MB"),
    ],
)
async def test_memory_and_workers(
    jobs: int, cache: str, own: str, expected: str, target: Target, database: Database
) -> None:
    """A share of what the server has, but never less than the administrator allows; and always parallel workers."""
    await database.execute(
        f"ALTER ROLE {database.role} SET effective_cache_size = '{cache}';"
        f"ALTER ROLE {database.role} SET maintenance_work_mem = '{own}';"
        f"ALTER ROLE {database.role} SET max_parallel_maintenance_workers = 0;"
        "CREATE TABLE seen (memory text, workers text)"
    )
    statement = "INSERT INTO public.seen SELECT current_setting('maintenance_work_mem'), "
    statement += "current_setting('max_parallel_maintenance_workers')"
    async with target.transaction() as connection:
        await parked.write_parked(connection, MIGRATION, Taken(T, "primary key", "told", (statement,)))
    await restore(run_ledger(target), jobs)
    assert [tuple(row) for row in await database.fetch("SELECT * FROM seen")] == [(expected, "2")]


async def test_what_cannot_come_back_stays_parked(target: Target, database: Database) -> None:
    """The one that fails is named with its reason and kept; the others are back, and the next try needs only that."""
    await database.execute("INSERT INTO u VALUES (99)")
    with pytest.raises(TargetRefused, match=r"(?s)'to_t' of public\.u.*\(id\)=\(99\)"):
        await restore(run_ledger(target), 2)
    assert await _missing(target) == {"to_t"}
    await database.execute("DELETE FROM u")
    assert await restore(run_ledger(target), 2) == 1


async def test_rows_without_a_parent_are_named(target: Target, database: Database) -> None:
    """The refusal has the keys of the rows that refer to nothing, as they are in the source, and how many they are."""
    await database.execute(
        'ALTER TABLE u ADD COLUMN "my Key" int; INSERT INTO u SELECT 99 + n / 4, n FROM generate_series(1, 7) n;'
        'INSERT INTO u VALUES (1, 8), (NULL, 9); ALTER TABLE u ADD PRIMARY KEY ("my Key")'
    )
    with pytest.raises(TargetRefused, match=r"7 rows: my Key = 1; .*; and 2 more"):
        await restore(run_ledger(target), 2)
    assert await database.fetch("SELECT FROM pg_constraint WHERE conname = 'to_t'") == []


async def test_a_run_that_was_overtaken_brings_nothing_back(target: Target, database: Database) -> None:
    """The other may be loading just now, and needs the tables bare."""
    await begin_ledger(target, 8)
    with pytest.RaisesGroup(pytest.RaisesExc(GaveUp, match="taken over"), flatten_subgroups=True):
        await restore(run_ledger(target), 1)
    assert await _missing(target) == {"to_t", "t_pkey", "by_id"}
    assert await database.fetch("SELECT FROM pg_indexes WHERE schemaname = 'public'") == []
