"""
Who else is at work while a target is refreshed: a writer at either end, another job, and a server that dies.

What somebody has written to the target is neither lost nor overwritten, whenever it came.
"""

import asyncio
import random
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing

import asyncpg
import pytest
from fix_job import Ended
from fix_postgres import Database, Server, quick_server
from fix_proxy import Proxy
from fix_warm import Zygote
from refresh.oracle import State, state_of
from refresh.stale import Stale, made_stale, through

from migrator.demo.server import EmbeddedServer

pytestmark = pytest.mark.one_server

INSTANTS = 5
"""At how many instants of a refresh a writer comes."""
OWN = "INSERT INTO big (id, t) VALUES (999999, 'of somebody')"
TAKEN_BACK = "DELETE FROM big WHERE id = 999999"
FACTS = "SELECT name FROM migrator.state WHERE name IN ('completed', 'ready') ORDER BY 1"
PATIENT = ("--retry-attempts", 10, "--retry-max-pause-seconds", 0.1)
CRASHES = 4


def refresh(stale: Stale, warm: Zygote, url: str, *more: object) -> Ended:
    """Run a refresh to its end."""
    return warm(*stale.flags(*more), MIGRATOR_TARGET_URL=url)


async def own_rows(database: Database) -> int:
    """Return how often the writer's row is there, as it was written."""
    return len(await database.fetch("SELECT FROM big WHERE id = 999999 AND t = 'of somebody'"))


# A write of the application's, what takes it back, and what the refusal has to name.
WRITES = (
    (OWN, TAKEN_BACK, "big"),
    ("UPDATE keyed SET c = c + 1 WHERE a = 'it''s 500'", "UPDATE keyed SET c = c - 1 WHERE a = 'it''s 500'", "keyed"),
    ("INSERT INTO none VALUES (1)", "DELETE FROM none", "none"),
    ("UPDATE parted SET id = id + 400 WHERE id = 250", "UPDATE parted SET id = id - 400 WHERE id = 650", "parted"),
    (
        'INSERT INTO "Odd ""Name" VALUES (9)',
        'DELETE FROM "Odd ""Name" WHERE ctid = (SELECT max(ctid) FROM "Odd ""Name" WHERE "Näme" = 9)',
        'Odd "Name',
    ),
)  # fmt: skip


async def test_a_writer_in_the_target_between_the_runs(stale: Stale, warm: Zygote) -> None:
    """Each is refused with 4, by table and rows, and nothing has changed; taken back, the refresh ends well."""
    with stale.copy() as database:
        for written, taken_back, named in WRITES:
            await database.execute(f"SET session_replication_role = replica; {written}", as_admin=True)
            before = await state_of(database)
            facts = await database.fetch(FACTS)
            ended = refresh(stale, warm, database.url)
            assert ended.code == 4, (written, ended.stderr)
            assert named in ended.message, (written, ended.message)
            assert not (await state_of(database)).differences(before), written
            assert await database.fetch(FACTS) == facts, written
            await database.execute(f"SET session_replication_role = replica; {taken_back}", as_admin=True)
        ended = refresh(stale, warm, database.url)
        assert ended.code == 0, ended.stderr
        differences = (await state_of(database)).differences(stale.expected)
        assert not differences, differences


async def test_a_table_that_somebody_has_emptied_or_made_anew(stale: Stale, warm: Zygote) -> None:
    """It is refused with 4 by name, or its rows are brought again: nothing is called complete that isn't."""
    for written in ("TRUNCATE parted", "DROP TABLE keyed; CREATE TABLE keyed (a text, b int, c float8)"):
        with stale.copy() as database:
            await database.execute(written)
            ended = refresh(stale, warm, database.url)
            state = await state_of(database)
            assert ended.code in {0, 4}, ended.stderr
            if ended.code:
                assert "parted" in ended.message or "keyed" in ended.message, ended.message
            else:
                assert state.rows == stale.expected.rows, written


_WAITS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock' AND query LIKE '%of somebody%'
"""


class Writer(threading.Thread):
    """Writes a row to the target as soon as it is let."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self.error: BaseException | None = None

    def run(self) -> None:
        """Write the row; waits for locks."""
        try:
            asyncio.run(self._database.execute(f"SET session_replication_role = replica; {OWN}", as_admin=True))
        except (asyncpg.PostgresError, OSError) as error:
            self.error = error

    def begin(self) -> None:
        """Start, and come back when the row is there or a lock is waited for."""
        self.start()
        looks = threading.Thread(target=lambda: asyncio.run(self._until_it_waits()))  # this one has a loop already
        looks.start()
        looks.join()

    async def _until_it_waits(self) -> None:
        connection = await asyncpg.connect(self._database.admin_url)
        try:
            async with asyncio.timeout(60):
                while self.is_alive() and not await connection.fetchval(_WAITS, self._database.name):
                    pass
        finally:
            await connection.close()


@pytest.mark.parametrize("instant", range(INSTANTS))
async def test_a_writer_in_the_target_meanwhile(
    instant: int, stale: Stale, undisturbed_packets: int, warm: Zygote, proxy: Proxy
) -> None:
    """Whenever the writer comes, its row is there afterwards, once, whatever the refresh and the next say."""
    part = (instant + random.Random(instant).random()) / INSTANTS  # noqa: S311 - no secret
    with stale.copy() as database:
        writer = Writer(database)
        proxy.when(1 + int(part * undisturbed_packets), writer.begin)
        ended = refresh(stale, warm, through(proxy, database))
        await asyncio.to_thread(writer.join)
        assert writer.error is None, writer.error
        assert await own_rows(database) == 1, ended.stderr
        assert ended.code in {0, 1, 4}, (part, ended.stderr)
        rows = (await state_of(database)).rows
        whole = _without_own(rows) in (stale.before.rows, stale.expected.rows)
        facts = [row[0] for row in await database.fetch(FACTS)]
        assert whole or "ready" not in facts, (part, ended.stderr)
        if ended.code == 0:
            assert _without_own(rows) == stale.expected.rows, (part, ended.stderr)
        again = refresh(stale, warm, database.url)
        assert again.code in {1, 4}, (part, ended.stderr, again.stderr)
        assert "big" in again.message, again.message
        assert await own_rows(database) == 1, (part, again.stderr)
        await database.execute(f"SET session_replication_role = replica; {TAKEN_BACK}", as_admin=True)
        last = refresh(stale, warm, database.url)
        assert last.code == 0, (part, ended.stderr, last.stderr)
        differences = (await state_of(database)).differences(stale.expected)
        assert not differences, (part, differences)


def _without_own(rows: dict[str, list[str]]) -> dict[str, list[str]]:
    return {table: [row for row in of_table if "of somebody" not in row] for table, of_table in rows.items()}


@pytest.mark.parametrize("part", [0.2, 0.55, 0.9])
async def test_a_writer_in_the_source_meanwhile(
    part: float, stale: Stale, undisturbed_packets: int, warm: Zygote, proxy: Proxy
) -> None:
    """Ended with 3, or in time for the row; the next refresh brings what the source holds then."""
    kept = stale.source.with_name("kept.db")
    shutil.copy(stale.source, kept)
    try:
        with closing(sqlite3.connect(stale.source)) as connection:
            connection.execute("PRAGMA journal_mode = wal")  # in which nobody keeps a writer out
        with stale.copy() as database:
            proxy.when(1 + int(part * undisturbed_packets), lambda: _write(stale))
            ended = refresh(stale, warm, through(proxy, database))
            assert ended.code in {0, 3}, ended.stderr
            state = await state_of(database)
            facts = [row[0] for row in await database.fetch(FACTS)]
            assert state.rows in (stale.before.rows, stale.expected.rows) or "ready" not in facts
            assert ended.code or _without_last(state) == stale.expected.rows
            again = refresh(stale, warm, database.url)
            assert again.code == 0, (ended.stderr, again.stderr)
            state = await state_of(database)
            assert _without_last(state) == stale.expected.rows
            assert sum(len(rows) for rows in state.rows.values()) == 1 + sum(map(len, stale.expected.rows.values()))
    finally:
        with closing(sqlite3.connect(stale.source)) as connection:
            connection.execute("PRAGMA journal_mode = delete")
        stale.source.write_bytes(kept.read_bytes())


def _write(stale: Stale) -> None:
    with closing(sqlite3.connect(stale.source)) as connection:
        connection.execute("INSERT INTO big (id, t) VALUES (888888, 'the last one')")
        connection.commit()


def _without_last(state: State) -> dict[str, list[str]]:
    return {table: [row for row in rows if "the last one" not in row] for table, rows in state.rows.items()}


@pytest.mark.parametrize("part", [0.1, 0.7])
async def test_two_at_once(part: float, stale: Stale, undisturbed_packets: int, warm: Zygote, proxy: Proxy) -> None:
    """The second waits for the first, and finds nothing left to do; or it is told that another runs."""
    with stale.copy() as database:
        so_far, second_begun = threading.Event(), threading.Event()

        def hold() -> None:
            so_far.set()
            second_begun.wait()

        proxy.when(1 + int(part * undisturbed_packets), hold)
        first = warm.start(*stale.flags(), watched=False, MIGRATOR_TARGET_URL=through(proxy, database))
        await asyncio.to_thread(so_far.wait)
        other = warm.start(*stale.flags(), watched=False, MIGRATOR_TARGET_URL=database.url)
        second_begun.set()
        ended, second = first.ended(), other.ended()
        assert ended.code == 0, (ended.stderr, second.stderr)
        assert second.code in {0, 5}, (ended.stderr, second.stderr)
        differences = (await state_of(database)).differences(stale.expected)
        assert not differences, differences
        assert [row[0] for row in await database.fetch(FACTS)] == ["completed", "ready"]


@pytest.fixture(scope="module")
def mortal(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stale, EmbeddedServer]]:
    """Give a stale target on a server that tests may stop, if they start it again."""
    # What a client was told is committed has to be there after the crash; the disk's part in it is not tested.
    with quick_server(synchronous_commit="on") as embedded:
        server = Server("mortal", embedded.url("postgres"))
        with made_stale(server, zygote, tmp_path_factory.mktemp("mortal")) as stale:
            yield stale, embedded


@pytest.mark.parametrize("seed", range(CRASHES))
async def test_the_server_dies(
    seed: int, mortal: tuple[Stale, EmbeddedServer], undisturbed_packets: int, warm: Zygote
) -> None:
    """The server stops as in a crash and comes back: the refresh goes on, or the next one finishes."""
    stale, embedded = mortal
    part = (seed + random.Random(seed).random()) / CRASHES  # noqa: S311 - no secret

    def crash() -> None:
        embedded.stop("immediate")
        embedded.start()

    proxy = Proxy(embedded.port)
    try:
        with stale.copy() as database:
            proxy.when(1 + int(part * undisturbed_packets), crash)
            ended = refresh(stale, warm, through(proxy, database), *PATIENT)
            assert ended.code in {0, 5}, (part, ended.stderr)
            if ended.code:
                again = refresh(stale, warm, database.url)
                assert again.code == 0, (part, ended.stderr, again.stderr)
            differences = (await state_of(database)).differences(stale.expected)
            assert not differences, (part, differences, ended.stderr)
    finally:
        proxy.close()
