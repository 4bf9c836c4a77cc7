"""A migrated database whose source has changed since, for tests that disturb the refresh: ``stale``."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

import pytest
from fix_kinds import FLAGS, SOURCE, TARGET
from fix_postgres import Database, Server, database_on
from fix_proxy import Proxy
from fix_warm import Zygote
from refresh.oracle import State, state_of
from sqlalchemy import make_url

if TYPE_CHECKING:
    from fix_job import Ended

CHANGES = """
UPDATE big SET t = printf('%0101d', id) WHERE id % 40 = 0;
UPDATE big SET b = NULL, parent = 1 WHERE id % 97 = 5;
DELETE FROM big WHERE id > 1980;
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 60)
INSERT INTO big SELECT 3000 + i, 3000 + i - (i > 1), printf('new %d', i), zeroblob(i) FROM n;
UPDATE keyed SET b = b + 100 WHERE b = 3 AND c < 50;
UPDATE keyed SET a = CASE a WHEN 'it''s 10' THEN 'it''s 11' ELSE 'it''s 10' END WHERE a IN ('it''s 10', 'it''s 11');
DELETE FROM "Odd ""Name" WHERE rowid IN (1, 2, 3);
INSERT INTO "Odd ""Name" VALUES (4), (77);
INSERT INTO counted (t) VALUES ('gone'), ('gone too');
DELETE FROM counted WHERE t LIKE 'gone%' OR id = 7;
UPDATE typed SET tag = printf('%032x', 900000 + id) WHERE id IN (0, 4);
UPDATE typed SET tag = CASE id WHEN 21 THEN printf('%032x', 12) ELSE printf('%032x', 11) END WHERE id IN (21, 44);
UPDATE typed SET price = price + 1, big = 1 WHERE big % 20 = 0;
DELETE FROM typed WHERE big = 7;
UPDATE parted SET id = id + 500 WHERE id < 20;
DELETE FROM parted WHERE id BETWEEN 150 AND 160;
"""
"""The application's work since the migration: every table but the empty one holds other rows."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A target whose source has changed since, of which copies are made, and what the refresh has to make of it."""

    source: Path
    server: Server
    role: str
    password: str
    template: str
    before: State
    """The target as the first run has left it."""
    expected: State
    """The target of a fresh run of the source as it is now."""

    @contextmanager
    def copy(self, server: Server | None = None) -> Iterator[Database]:
        """Give a copy of the migrated target, as long as the block lasts."""
        name = f"test_{token_hex(6)}"
        self.server.administer(f'CREATE DATABASE "{name}" OWNER "{self.role}" TEMPLATE "{self.template}"')
        yield Database(server or self.server, name, self.role, self.password)
        self.server.administer(f'DROP DATABASE "{name}" WITH (FORCE)')

    def flags(self, *more: object) -> tuple[object, ...]:
        """Return the command line of a refresh."""
        return ("run", *REFRESH, "--source", self.source, *FLAGS, *more)


REFRESH = ("--refresh",)


@contextmanager
def made_stale(server: Server, zygote: Zygote, folder: Path) -> Iterator[Stale]:
    """Migrate a file, let the application change it, and migrate it once more into another database."""
    source = folder / "app.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(SOURCE)
        connection.commit()
    with database_on(server) as database, database_on(server) as other:
        fresh = Database(server, other.name, other.role, other.password)
        for one in (database, fresh):
            asyncio.run(one.execute(TARGET))
        ended = zygote("run", "--source", source, *FLAGS, MIGRATOR_TARGET_URL=database.url)
        assert ended.code == 0, ended.stderr
        before = asyncio.run(state_of(database))
        with closing(sqlite3.connect(source)) as connection:
            connection.executescript(CHANGES)
            connection.commit()
        ended = zygote("run", "--source", source, *FLAGS, MIGRATOR_TARGET_URL=fresh.url)
        assert ended.code == 0, ended.stderr
        expected = asyncio.run(state_of(fresh)).owned_by(fresh.role, database.role)
        yield Stale(source, server, database.role, database.password, database.name, before, expected)


@pytest.fixture(scope="module")
def stale(server: Server, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stale]:
    """Give a migrated target, to be copied, whose source has changed since; nobody may write to either."""
    with made_stale(server, zygote, tmp_path_factory.mktemp("stale")) as stale:
        yield stale


def through(proxy: Proxy, database: Database) -> str:
    """Return the URL of a database behind a proxy."""
    return make_url(database.url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """Give a proxy in front of the server, which counts what jobs send and stops them where it is told to."""
    port = make_url(server.admin_url).port
    assert port is not None
    proxy = Proxy(port)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def undisturbed_packets(stale: Stale, zygote: Zygote) -> int:
    """Give the number of packets that a refresh sends that nobody disturbs; its result is held to the fresh run's."""
    port = make_url(stale.server.admin_url).port
    assert port is not None
    proxy = Proxy(port)
    try:
        with stale.copy() as database:
            ended: Ended = zygote(*stale.flags(), MIGRATOR_TARGET_URL=through(proxy, database))
            assert ended.code == 0, ended.stderr
            differences = asyncio.run(state_of(database)).differences(stale.expected)
            assert not differences, differences
    finally:
        proxy.close()
    return proxy.sent
