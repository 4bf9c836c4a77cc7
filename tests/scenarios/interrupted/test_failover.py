"""A failover, with a real replica: to the replica the job says in plain words that it can't work there, or goes on."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest
from fix_kinds import FLAGS, TARGET, Undisturbed, differences, state_of
from fix_postgres import NO_DURABILITY, Database, Server, database_on
from fix_warm import WarmJob, Zygote
from sqlalchemy import make_url

from migrator.demo.account import Account
from migrator.demo.server import EmbeddedServer

pytestmark = pytest.mark.one_server
SETTINGS = NO_DURABILITY | {"synchronous_commit": "on"}


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary, and the replica that follows it."""

    primary: EmbeddedServer
    replica: EmbeddedServer

    def replica_url(self, database: Database) -> str:
        """Return the URL of the same database on the replica, for the role."""
        return _at(database.url, self.replica.port)

    def both(self, database: Database) -> str:
        """Return a URL that names both servers, the primary first."""
        one, other = f"127.0.0.1:{self.primary.port}", f"127.0.0.1:{self.replica.port}"
        return database.url.replace(f"@{one}/", f"@{one},{other}/")


def _at(url: str, port: int) -> str:
    return make_url(url).set(port=port).render_as_string(hide_password=False)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Give a primary and its replica; tests stop, demote and promote them."""
    with TemporaryDirectory(prefix="migrator-test-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedServer(directory=Path(folder) / "one", settings=SETTINGS) as primary:
            other = Path(folder) / "two"
            other.mkdir(mode=0o711)
            account = Account.without_root()
            password = Path(shutil.copy(primary.directory / "password", other / "password"))
            (data := other / "data").mkdir(mode=0o700)
            for path in (password, data):
                account.take(path)
            subprocess.run(
                [
                    *(primary.programs / "pg_basebackup", "--pgdata", data, "--write-recovery-conf"),
                    *("--checkpoint", "fast", "--no-sync", "--dbname", primary.url("postgres")),
                ],
                check=True,
                capture_output=True,
                cwd=other,
                **account.identity(),
            )
            with EmbeddedServer(directory=other, settings=SETTINGS) as replica:
                yield Pair(primary, replica)


async def _ask(server: EmbeddedServer, question: str) -> object:
    connection = await asyncpg.connect(server.url("postgres"))
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def _until(server: EmbeddedServer, question: str) -> None:
    async with asyncio.timeout(60):
        while not await _ask(server, question):  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.02)


async def _follows(pair: Pair) -> None:
    """Wait until the replica has everything that the primary has."""
    await _until(
        pair.primary,
        "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn = pg_current_wal_lsn()",
    )


def _loading(job: WarmJob) -> None:
    """Read the log until some rows are in."""
    assert job.until(lambda event: event["event"] == "table.copied")


async def test_a_replica_is_refused(pair: Pair, kinds_file: Path, warm: Zygote) -> None:
    """At once, and with what to do; nothing can have been written."""
    with database_on(Server("primary", pair.primary.url("postgres"))) as database:
        await database.execute(TARGET)
        await _follows(pair)
        ended = warm("run", "--source", kinds_file, *FLAGS, MIGRATOR_TARGET_URL=pair.replica_url(database))
        assert ended.code == 4, ended.stderr
        assert ended.message == "the server is a replica, which takes no writes"
        assert ended.failure["next_step"] == "Point the job at the primary server."


async def test_the_primary_is_demoted(pair: Pair, kinds_file: Path, undisturbed: Undisturbed, warm: Zygote) -> None:
    """Under the same address there is a replica all of a sudden: said so; when it takes writes again, all gets done."""
    primary = pair.primary
    with database_on(Server("primary", primary.url("postgres"))) as database:
        await database.execute(TARGET)
        job = warm.start("run", "--source", kinds_file, *FLAGS, MIGRATOR_TARGET_URL=database.url)
        _loading(job)
        await asyncio.to_thread(primary.stop)
        (primary.data_directory / "standby.signal").touch()
        Account.without_root().take(primary.data_directory / "standby.signal")
        await asyncio.to_thread(primary.start)
        ended = job.ended()
        assert ended.code == 4, ended.stderr
        assert "replica" in ended.message or "read-only" in ended.message
        assert "primary" in str(ended.failure["next_step"])
        assert await _ask(primary, "SELECT pg_promote()")
        again = warm("run", "--source", kinds_file, *FLAGS, MIGRATOR_TARGET_URL=database.url)
        assert again.code == 0, again.stderr
        assert not differences(undisturbed.state, await state_of(database)), (ended.stderr, again.stderr)


async def test_the_replica_takes_over(pair: Pair, kinds_file: Path, undisturbed: Undisturbed, warm: Zygote) -> None:
    """Both are in the address: the job finds the one that takes writes, and finishes there."""
    with database_on(Server("primary", pair.primary.url("postgres"))) as database:
        await database.execute(TARGET)
        await _follows(pair)
        target = {"MIGRATOR_TARGET_URL": pair.both(database)}
        job = warm.start("run", "--source", kinds_file, *FLAGS, "--retry-attempts", 10, variables=target)
        _loading(job)
        await asyncio.to_thread(pair.primary.stop)  # what it has committed, it still sends
        assert await _ask(pair.replica, "SELECT pg_promote()")
        ended = job.ended()
        assert ended.code in {0, 5}, ended.stderr
        if ended.code:
            again = warm("run", "--source", kinds_file, *FLAGS, **target)
            assert again.code == 0, (ended.stderr, again.stderr)
        state = await state_of(database, _at(database.admin_url, pair.replica.port))
        assert not differences(undisturbed.state, state), ended.stderr
        await asyncio.to_thread(pair.primary.start)  # for the test's own tidying up
