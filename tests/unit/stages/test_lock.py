"""Stage lock: one job at a time on a target, and a dead job blocks nobody."""

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from fix_job import MIGRATION, Cli, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from sqlalchemy import make_url, text
from structlog.testing import capture_logs

from migrator.demo.account import Account
from migrator.errors import ConfigurationError, GaveUp
from migrator.events import Event
from migrator.job import run
from migrator.ledger.migration import LOCK_KEY
from migrator.monitoring.tracker import Tracker
from migrator.sessions.connections import driver_of
from migrator.sessions.url import from_url
from migrator.stages.lock import lock
from migrator.target.database import Target


async def test_the_second_gives_up_and_names_the_holder(database: Database) -> None:
    """It says whom it waits for, and waits as long as allowed; its exit code is that of something worth another try."""
    target = Target(from_url(database.url, {}))
    async with lock(target, MIGRATION, 5):
        with (
            capture_logs() as events,
            pytest.raises(GaveUp, match=r"migrator from .* \(server process \d+\)") as caught,
        ):
            async with lock(target, MIGRATION, 0.1):
                pytest.fail("two hold the lock")
    assert caught.value.exit_code == 5
    assert [(event["event"], event["holder"]) for event in events] == [("lock.waiting", caught.value.facts["holder"])]
    async with lock(target, MIGRATION, 0.1):
        pass


@pytest.mark.one_server
async def test_the_second_gets_it_when_the_first_is_done(database: Database) -> None:
    """Waiting ends with the holder's block, not with the time that was allowed; meanwhile the log says for whom."""
    target = Target(from_url(database.url, {}))
    order: list[str] = []

    async def second() -> None:
        async with lock(target, MIGRATION, 60):
            order.append("second")

    with capture_logs() as log:
        async with lock(target, MIGRATION, 5):
            waiting = asyncio.create_task(second())
            while not await database.fetch("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                pass
            order.append("first")
        await waiting
    assert order == ["first", "second"]
    (line,) = log
    assert line["event"] == Event.LOCK_WAITING
    assert re.fullmatch(r"migrator from .* \(server process \d+\)", line["holder"])


@pytest.mark.one_server
async def test_a_dead_holder_blocks_nobody(database: Database) -> None:
    """The lock is the session's: when its connection dies, the next has it at once."""
    holder = await asyncpg.connect(database.url)
    await holder.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
    holder.terminate()
    async with lock(Target(from_url(database.url, {})), MIGRATION, 30):
        pass


@pytest.mark.one_server
@pytest.mark.parametrize("jobs", [2, 5])
async def test_several_jobs_started_at_once(jobs: int, make_sqlite: MakeSqlite, database: Database) -> None:
    """One copies; the others wait, find it done, and end well. No row comes twice."""
    source = make_sqlite("CREATE TABLE t (id INTEGER, t TEXT)", {"t": [(n, "x") for n in range(500)]})
    await database.execute("CREATE TABLE t (id int, t text)")
    settings = settings_of(source, database)
    reports = await asyncio.gather(*(run.run(settings, Tracker()) for _ in range(jobs)))
    assert sorted(report.headline.split(":")[0] for report in reports) == [
        *(["already migrated and verified"] * (jobs - 1)),
        "migrated",
    ]
    assert (await database.fetch("SELECT count(*) AS n FROM t"))[0]["n"] == 500


PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
SETTINGS = "statement_timeout,jit,quote_all_identifiers,options"


@contextmanager
def pooler(database: Database, folder: Path, mode: str, ignored: str) -> Iterator[str]:
    """Give the URL of the database behind a pooler, which refuses start-up parameters that are not ``ignored``."""
    if PGBOUNCER is None:
        pytest.skip("no pgbouncer here")
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        port = plug.getsockname()[1]
    server = make_url(database.url)
    ini = folder / "pgbouncer.ini"
    ini.write_text(
        f"[databases]\n* = host={server.host} port={server.port} user={server.username} password='{server.password}'\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = {mode}\n"
        f"default_pool_size = {3 if mode == 'transaction' else 40}\nunix_socket_dir =\n"
        f"ignore_startup_parameters = {ignored}\n"
    )
    with subprocess.Popen(
        [PGBOUNCER, "-q", ini], stderr=subprocess.DEVNULL, **Account.without_root().identity()
    ) as process:
        try:
            yield server.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        finally:
            process.terminate()


@pytest.mark.one_server
@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("ignored", ["", SETTINGS], ids=["strict", "lenient"])
async def test_a_pooler_that_mixes_sessions_is_refused(
    mode: str, ignored: str, open_folder: Path, make_sqlite: MakeSqlite, database: Database
) -> None:
    """With the reason, as a matter of configuration, and before anything is written."""
    source = make_sqlite("CREATE TABLE t (id INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (id int)")
    with (
        pooler(database, open_folder, mode, ignored) as url,
        pytest.raises(ConfigurationError, match="behind a connection pooler") as caught,
    ):
        await run.run(settings_of(source, database, target_url=url), Tracker())
    assert "pool_mode = session" in caught.value.next_step
    assert await database.fetch("SELECT 1 FROM pg_namespace WHERE nspname = 'migrator'") == []


@pytest.mark.one_server
@pytest.mark.parametrize("ignored", ["", SETTINGS], ids=["strict", "lenient"])
async def test_a_pooler_that_keeps_sessions_apart_is_as_good_as_the_server(
    ignored: str, open_folder: Path, make_sqlite: MakeSqlite, database: Database, cli: Cli
) -> None:
    """A whole run through it, with options of the URL's; the server's processes are known by their own numbers."""
    source = make_sqlite(
        "CREATE TABLE t (id INTEGER, words TEXT, at TEXT)",
        {"t": [(n, '{a,"b c"}', "2024-02-03 04:05:06") for n in range(2000)]},
    )
    await database.execute("CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, words text[], at timestamptz)")
    with pooler(database, open_folder, "session", ignored) as url:
        given = f"{url}?options=-c%20search_path%3Dapp%20-c%20timezone%3DAsia/Tokyo"
        ended = await asyncio.to_thread(
            cli, "run", "--source-url", source, "--target-url", given, "--schema", "existing"
        )
        assert ended.code == 0, ended.stderr
        target = Target(from_url(url, {}))
        async with target.connect() as connection:
            number = (await driver_of(connection)).get_server_pid()
            assert await connection.scalar(text("SELECT pg_backend_pid()")) == number
        await target.close()
    [found] = await database.fetch("SELECT count(*) AS n, min(at AT TIME ZONE 'UTC')::text AS at FROM app.t")
    assert (found["n"], found["at"]) == (2000, "2024-02-03 04:05:06")


@pytest.mark.one_server
async def test_types_that_a_pooler_hides_are_refused_by_name(
    open_folder: Path, make_sqlite: MakeSqlite, database: Database
) -> None:
    """The reading driver finds types by unquoted names when it logs in, and nothing can be set before that."""
    source = make_sqlite("CREATE TABLE t (id INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (id int)")
    await database.execute(f"ALTER DATABASE {database.name} SET quote_all_identifiers = on", as_admin=True)
    with (
        pooler(database, open_folder, "session", "") as url,
        pytest.raises(ConfigurationError, match="quote_all_identifiers is on"),
    ):
        await run.run(settings_of(source, database, target_url=url), Tracker())
