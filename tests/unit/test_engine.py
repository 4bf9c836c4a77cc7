"""The application's side: its settings, the URL they make, and the engine on both databases."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fix_postgres import Database
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from migrator.engine import Settings, create_engine
from migrator.errors import ConfigurationError

pytestmark = pytest.mark.one_server

PASSWORD = "s3cret/%"
QUOTED = "s3cret%2F%25"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no variable of the machine reach the settings."""
    for name in os.environ.keys() & Settings.model_fields.keys():
        monkeypatch.delenv(name)


@asynccontextmanager
async def engine_of(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """Give the engine, and close its connections afterwards."""
    engine = create_engine(settings)
    try:
        yield engine
    finally:
        await engine.dispose()


async def scalar(connection: AsyncConnection, sql: str) -> object:
    """Return the one value of a query."""
    return (await connection.execute(text(sql))).scalar_one()


def test_defaults_are_the_documented_ones() -> None:
    """Without any variable the application runs on a SQLite file beside it, with the documented pool."""
    settings = Settings()
    assert settings.get_database_url() == "sqlite+aiosqlite:///./dryad.db"
    assert settings.DATABASE_URL == "sqlite+aiosqlite:///./dryad.db"
    assert (settings.POSTGRES_POOL_SIZE, settings.POSTGRES_MAX_OVERFLOW) == (10, 20)
    assert (settings.POSTGRES_POOL_TIMEOUT, settings.POSTGRES_POOL_RECYCLE) == (30, 3600)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting is read from the variable of its name; an empty one counts as not set, as compose passes it."""
    monkeypatch.setenv("DATABASE_URL", "postgres://u@h/d")
    monkeypatch.setenv("DATABASE_URL_FILE", "")
    monkeypatch.setenv("POSTGRES_POOL_SIZE", "3")
    monkeypatch.setenv("POSTGRES_MAX_OVERFLOW", "")
    settings = Settings()
    assert settings.get_database_url() == "postgresql+asyncpg://u@h/d"
    assert (settings.POSTGRES_POOL_SIZE, settings.POSTGRES_MAX_OVERFLOW) == (3, 20)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("postgresql://u:p@h:5433/d", "postgresql+asyncpg://u:p@h:5433/d", id="postgresql"),
        pytest.param("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d", id="postgres"),
        pytest.param("postgresql+asyncpg://u:p@h/d", "postgresql+asyncpg://u:p@h/d", id="already asyncpg"),
        pytest.param("postgresql+psycopg2://u:p@h/d", "postgresql+asyncpg://u:p@h/d", id="another driver"),
        pytest.param(f"postgres://u:{QUOTED}@h/d", f"postgresql+asyncpg://u:{QUOTED}@h/d", id="quoted password"),
        pytest.param("postgres://u@[::1]:5432/d", "postgresql+asyncpg://u@[::1]:5432/d", id="IPv6"),
        pytest.param("sqlite:///./x.db", "sqlite+aiosqlite:///./x.db", id="sqlite"),
        pytest.param("sqlite:////var/lib/x.db", "sqlite+aiosqlite:////var/lib/x.db", id="absolute path"),
        pytest.param("sqlite://", "sqlite+aiosqlite://", id="in memory"),
        pytest.param("postgres://h/d?sslmode=require", "postgresql+asyncpg://h/d?ssl=require", id="sslmode"),
        pytest.param("postgresql+asyncpg://h/d?ssl=prefer", "postgresql+asyncpg://h/d?ssl=prefer", id="ssl"),
        pytest.param(
            "postgres://h/d?sslmode=verify-full&sslrootcert=/ca.pem",
            "postgresql+asyncpg://h/d?dsn=postgresql%3A%2F%2F%3Fsslrootcert%3D%252Fca.pem&ssl=verify-full",
            id="certificate",
        ),
        pytest.param(
            "postgres://h/d?options=-csearch_path%3Ddryad&application_name=a%26b",
            "postgresql+asyncpg://h/d?dsn=postgresql%3A%2F%2F%3Fapplication_name%3Da%2526b"
            "%26options%3D-csearch_path%253Ddryad",
            id="server settings",
        ),
        pytest.param(
            "postgresql+asyncpg://h/d?dsn=postgresql://?sslmode%3Drequire&options=-cx%3D1",
            "postgresql+asyncpg://h/d?dsn=postgresql%3A%2F%2F%3Fsslmode%3Drequire%26options%3D-cx%253D1",
            id="a DSN that is there already",
        ),
        pytest.param("postgres://h/d?channel_binding=prefer&keepalives=1", "postgresql+asyncpg://h/d", id="tuning"),
        pytest.param("postgres://h/d?connect_timeout=5", "postgresql+asyncpg://h/d", id="a number"),
        pytest.param("postgres:///d?host=/run/pg&user=u", "postgresql+asyncpg://u@/d?host=%2Frun%2Fpg", id="socket"),
        pytest.param("postgres://h/d?user=u&password=p", "postgresql+asyncpg://u:p@h/d", id="password as an option"),
        pytest.param(
            "postgresql+asyncpg://u@/d?host=a:1&host=b:2",
            "postgresql+asyncpg://u@/d?host=a%3A1&host=b%3A2",
            id="two hosts",
        ),
    ],
)
def test_get_database_url(given: str, expected: str) -> None:
    """A URL as SQLAlchemy, libpq or a hoster writes it becomes one for the asynchronous driver."""
    assert Settings(DATABASE_URL=given).get_database_url() == expected


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        pytest.param(f"mysql://u:{QUOTED}@h/d", "mysql", id="another database"),
        pytest.param(f"u:{QUOTED}@h/d", "can't be read", id="no URL"),
        pytest.param(f"postgres://u:{QUOTED}@h:port/d", "can't be read", id="no port"),
        pytest.param(f"postgres://u:{QUOTED}@h/d?channel_binding=require", "channel_binding", id="channel binding"),
        pytest.param(f"postgres://u:{QUOTED}@h/d?connect_timeout=soon", "connect_timeout", id="no number"),
    ],
)
def test_an_unusable_url_is_named_without_the_password(url: str, complaint: str) -> None:
    """What is wrong is said in a ConfigurationError, and neither its text nor its cause holds the password."""
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        Settings(DATABASE_URL=url).get_database_url()
    assert caught.value.__cause__ is None
    assert QUOTED not in str(caught.value)
    assert caught.value.next_step


def test_a_file_gives_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABASE_URL_FILE is read without the newline at its end."""
    secret = tmp_path / "database-url"
    secret.write_text(f"postgresql://u:{QUOTED}@h/d\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(secret))
    assert Settings().get_database_url() == f"postgresql+asyncpg://u:{QUOTED}@h/d"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(None, "No such file", id="missing"),
        pytest.param(b" \n", "is empty", id="empty"),
        pytest.param(b"\xff\xfes3cret", "no UTF-8 text", id="no text"),
    ],
)
def test_a_useless_file_is_named(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    """A file that gives no URL is an error that names the file, not what is in it."""
    secret = tmp_path / "database-url"
    if content is not None:
        secret.write_bytes(content)
    with pytest.raises(ValidationError, match=complaint) as caught:
        Settings(DATABASE_URL_FILE=secret)
    assert str(secret) in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_url_and_file_exclude_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sources for one value are a mistake, and which of them wins is nothing to guess."""
    secret = tmp_path / "database-url"
    secret.write_text("postgresql://h/d")
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:{QUOTED}@h/d")
    with pytest.raises(ValidationError, match="both set") as caught:
        Settings(DATABASE_URL_FILE=secret)
    assert QUOTED not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"postgresql://u:{QUOTED}@h/d", id="in front of the host"),
        pytest.param(f"postgresql://h/d?user=u&password={QUOTED}", id="as an option"),
        pytest.param(f"postgresql://h/d?sslkey=/k&sslpassword={QUOTED}", id="of the key"),
        pytest.param(f"no url {PASSWORD}", id="in something else"),
    ],
)
def test_repr_shows_no_password(url: str) -> None:
    """Neither the settings nor the engine show a password when they are printed, whichever part of the URL held it."""
    settings = Settings(DATABASE_URL=url)
    shown = f"{settings!r} {settings}"
    if "://" in url:
        engine = create_engine(settings)
        shown += f"{engine!r} {engine.url} {engine.url!r}"
    assert "s3cret" not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_POOL_SIZE", "0"),
        ("POSTGRES_POOL_SIZE", "many"),
        ("POSTGRES_MAX_OVERFLOW", "-1"),
        ("POSTGRES_POOL_TIMEOUT", "0"),
        ("POSTGRES_POOL_RECYCLE", "-2"),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool without bounds, or with nothing in it, is refused by the name of its setting."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name):
        Settings()


async def test_sqlite_enforces_foreign_keys_on_every_connection(tmp_path: Path) -> None:
    """A row that refers to nothing is refused, by the first connection of the pool as by the second."""
    async with engine_of(Settings(DATABASE_URL=f"sqlite:///{tmp_path}/x.db")) as engine:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE parents (id INTEGER PRIMARY KEY)"))
            await connection.execute(text("CREATE TABLE children (parent INTEGER REFERENCES parents)"))
        async with engine.connect() as first, engine.connect() as second:
            for connection in (first, second):
                with pytest.raises(IntegrityError):
                    await connection.execute(text("INSERT INTO children VALUES (1)"))
                await connection.rollback()


async def test_options_reach_the_server(database: Database) -> None:
    """Server settings in the URL's options are in force in the session."""
    url = f"{database.url}?application_name=the%20app&options=-cstatement_timeout%3D4321&sslmode=disable"
    async with engine_of(Settings(DATABASE_URL=url)) as engine, engine.connect() as connection:
        assert await scalar(connection, "SHOW application_name") == "the app"
        assert await scalar(connection, "SHOW statement_timeout") == "4321ms"


async def test_the_url_works_in_an_engine_that_somebody_else_makes(database: Database) -> None:
    """The URL alone, as other programs use it, connects with the same options."""
    url = Settings(DATABASE_URL=f"{database.url}?application_name=elsewhere&sslmode=prefer").get_database_url()
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            assert await scalar(connection, "SHOW application_name") == "elsewhere"
    finally:
        await engine.dispose()


async def test_sslmode_is_obeyed(database: Database) -> None:
    """With ``sslmode=require`` a server without TLS is not talked to."""
    async with engine_of(Settings(DATABASE_URL=f"{database.url}?sslmode=require")) as engine:
        with pytest.raises(ConnectionError, match="SSL"):
            await engine.connect()


async def test_connect_timeout_is_obeyed() -> None:
    """A server that accepts and says nothing is given up after ``connect_timeout``, not after a minute."""
    silence = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silence.wait()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://u:p@127.0.0.1:{port}/d?connect_timeout=1&sslmode=disable"
        async with engine_of(Settings(DATABASE_URL=url)) as engine, asyncio.timeout(120):
            with pytest.raises(TimeoutError):
                await engine.connect()
        silence.set()


async def test_the_pool_has_its_bounds(database: Database) -> None:
    """One kept connection and one beyond it: the third has to wait, and waits no longer than it is told."""
    settings = Settings(
        DATABASE_URL=database.url, POSTGRES_POOL_SIZE=1, POSTGRES_MAX_OVERFLOW=1, POSTGRES_POOL_TIMEOUT=0.1
    )
    async with engine_of(settings) as engine, engine.connect(), engine.connect():
        with pytest.raises(PoolTimeoutError, match=r"timeout 0\.10"):
            await engine.connect()


@pytest.mark.parametrize(("seconds", "kept"), [(0, False), (3600, True), (-1, True)])
async def test_a_connection_is_replaced_when_it_is_old(database: Database, seconds: int, *, kept: bool) -> None:
    """A connection older than POSTGRES_POOL_RECYCLE is not handed out again; a younger one is."""
    pids = []
    async with engine_of(Settings(DATABASE_URL=database.url, POSTGRES_POOL_RECYCLE=seconds)) as engine:
        for _ in range(2):
            async with engine.connect() as connection:
                pids.append(await scalar(connection, "SELECT pg_backend_pid()"))
    assert (pids[0] == pids[1]) is kept


async def test_a_connection_that_died_in_the_pool_is_replaced(database: Database) -> None:
    """When the server has ended an idle connection, the application gets another one and no error."""
    async with engine_of(Settings(DATABASE_URL=database.url)) as engine:
        async with engine.connect() as connection:
            dead = await scalar(connection, "SELECT pg_backend_pid()")
        await database.fetch("SELECT pg_terminate_backend($1, 10000)", dead, as_admin=True)
        async with engine.connect() as connection:
            assert await scalar(connection, "SELECT pg_backend_pid()") != dead
