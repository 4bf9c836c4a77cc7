"""The address: every driver logs in from the same value, whatever the password, and ``sslmode`` means one thing."""

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from adbc_driver_manager import OperationalError
from fix_postgres import DEBIAN_15, NO_DURABILITY, Database
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from migrator.demo.server import EmbeddedServer
from migrator.errors import ConfigurationError
from migrator.sessions.address import SslMode, TargetAddress, Tls
from migrator.sessions.login import login
from migrator.sessions.reader import ReadOnlySession
from migrator.sessions.url import from_url
from migrator.target.database import Target

HOSTILE = """p%40@:/#[ ]"'"""
ASK = "SELECT current_database() || ' ' || session_user || ' ' || current_setting('application_name')"


async def by_asyncpg(address: TargetAddress, sql: str = ASK) -> object:
    """Ask through asyncpg."""
    connection = await login(address)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def by_sqlalchemy(address: TargetAddress, sql: str = ASK) -> object:
    """Ask through an engine made from nothing but the URL, as an application's env.py does."""
    engine = create_async_engine(address.sqlalchemy_url())
    try:
        async with engine.connect() as connection:
            return (await connection.execute(text(sql))).scalar()
    finally:
        await engine.dispose()


def by_adbc(address: TargetAddress, sql: str = ASK) -> object:
    """Ask through libpq, inside the ADBC driver."""
    with ReadOnlySession(address) as session:
        [(answer,)] = session.rows(sql)
    return answer


@pytest.mark.one_server
@pytest.mark.parametrize("password", [HOSTILE, "ünï©ødé 🌳", "a\\b'c", " blanks ", "100%", "%%%"])
async def test_every_driver_logs_in_with_any_password(database: Database, password: str) -> None:
    """asyncpg, SQLAlchemy and libpq get the same password, whatever characters it has."""
    database.server.administer(f"ALTER ROLE {database.role} PASSWORD '{password.replace(chr(39), chr(39) * 2)}'")
    given = from_url(database.url, {})
    address = TargetAddress(given.hosts, given.ports, given.database, given.user, SecretStr(password))
    expected = f"{database.name} {database.role}"
    assert await by_asyncpg(address) == f"{expected} migrator"
    assert by_adbc(address) == f"{expected} migrator"
    assert str(await by_sqlalchemy(address)).startswith(expected)


@pytest.mark.one_server
async def test_sessions_are_in_utc_whatever_the_role_says(database: Database) -> None:
    """Text of a timestamp means the same on every server, so the session's time zone is ours."""
    await database.execute(f"ALTER ROLE {database.role} SET timezone = 'Asia/Tokyo'", as_admin=True)
    assert await by_asyncpg(from_url(database.url, {}), "SELECT current_setting('TimeZone')") == "UTC"


@pytest.mark.one_server
async def test_options_of_the_url_reach_the_server(database: Database) -> None:
    """``options`` is libpq's way to set what the session begins with; asyncpg gets it as well."""
    address = from_url(database.url + "?options=-c%20search_path%3Dgrove", {})
    assert await by_asyncpg(address, "SELECT current_setting('search_path')") == "grove"
    assert by_adbc(address, "SELECT current_setting('search_path')") == "grove"


@pytest.mark.one_server
async def test_a_peer_that_vanishes_is_noticed(database: Database) -> None:
    """There is no setting for keepalives in asyncpg, so the connection's class sets them on the socket."""
    connection = await asyncpg.connect(**from_url(database.url, {}).asyncpg_arguments())
    try:
        plug = connection._transport.get_extra_info("socket")  # noqa: SLF001 - there is no public way to it
        assert plug.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
    finally:
        await connection.close()


@pytest.mark.one_server
async def test_the_server_notices_too(database: Database) -> None:
    """Its end of a job that vanished ends within the minute, and with it the lock and whatever else it held."""
    target = Target(from_url(database.url, {}))
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    async with target.autocommit() as connection:
        shown = [await connection.scalar(text(f"SELECT current_setting('{name}')")) for name in names]
    assert shown == ["30", "10", "3", "60000"]


def test_libpq_is_told_everything_so_that_the_environment_decides_nothing() -> None:
    """What isn't in the URI libpq takes from PG… variables and files in HOME."""
    uri = from_url("postgresql://u:p@h/d", {}).libpq_uri()
    for name in (
        "host",
        "port",
        "user",
        "password",
        "dbname",
        "sslmode",
        "sslrootcert",
        "sslcertmode",
        "client_encoding",
    ):
        assert f"{name}=" in uri


async def test_a_unix_socket_is_a_host(own_server: EmbeddedServer, tmp_path: Path) -> None:
    """A host that begins with / is the folder of a socket, for every driver; one without a server is a missing one."""
    del own_server  # it has no socket; what counts is that the drivers looked for one
    address = from_url(f"postgresql://u:p@/d?host={tmp_path}&port=5433", {})
    with pytest.raises(FileNotFoundError):
        await by_asyncpg(address)
    with pytest.raises(FileNotFoundError):
        await by_sqlalchemy(address)
    with pytest.raises(OperationalError, match=r"\.s\.PGSQL\.5433"):
        by_adbc(address)


async def test_the_first_host_that_takes_writes_is_used(database: Database) -> None:
    """With several hosts the ones that don't answer are passed over."""
    given = from_url(database.url, {})
    [here] = given.ports
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        closed = silent.getsockname()[1]
        address = TargetAddress(
            ("127.0.0.1", "127.0.0.1"), (closed, here), database.name, database.role, given.password
        )
        for answer in (await by_asyncpg(address), by_adbc(address), await by_sqlalchemy(address)):
            assert str(answer).startswith(f"{database.name} {database.role}")


def test_what_is_shown_holds_no_password() -> None:
    """repr, str and the redacted form are for messages."""
    address = from_url("postgresql://us%40er:s3cr%25t@[::1]:5/d%20b", {})
    assert address.redacted() == str(address) == "postgresql://us%40er@[::1]:5/d%20b"
    for shown in (repr(address), str(address), str(address.sqlalchemy_url())):
        assert "s3cr" not in shown


def test_the_password_is_known_in_every_spelling() -> None:
    """A redaction that knows one spelling only would pass the others."""
    found = from_url("postgresql://u:p%2540%40%20@h/d", {}).secrets()
    assert {"p%40@ ", "p%2540%40%20", "p%2540%40+", "p%%2540%%40%%20"} <= found
    assert from_url("postgresql://u@h/d", {}).secrets() == frozenset()


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for localhost, signed by itself; gives it and its key."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, "-out", certificate, "-keyout", key],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[EmbeddedServer, Path]]:
    """Give a server that speaks TLS with a certificate for localhost, and that certificate."""
    if shutil.which("openssl") is None or not DEBIAN_15.exists():
        pytest.skip("it takes openssl and Debian's PostgreSQL 15: the wheel's is built without TLS")
    with EmbeddedServer(bin_directory=DEBIAN_15, settings=NO_DURABILITY) as server:
        certificate = _serve_tls(server, tmp_path)
        yield server, certificate


def _serve_tls(server: EmbeddedServer, tmp_path: Path) -> Path:
    certificate, key = make_certificate(tmp_path, "server")
    owner = server.data_directory.stat()
    for file in (certificate, key):
        placed = server.data_directory / file.name
        shutil.copy(file, placed)
        os.chown(placed, owner.st_uid, owner.st_gid)
        placed.chmod(0o600)
    with (server.data_directory / "postgresql.auto.conf").open("a") as settings:
        settings.write("ssl = on\n")
    server.restart()
    return certificate


async def verdict(address: TargetAddress) -> str:
    """Say which drivers get in with TLS (``tls``), without (``plain``), or not (``no``); they must agree."""
    asked = "SELECT CASE WHEN ssl THEN 'tls' ELSE 'plain' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    answers: list[Any] = []
    for ask in (by_asyncpg, by_sqlalchemy):
        try:
            answers.append(await ask(address, asked))
        except (ssl.SSLError, ConnectionError, FileNotFoundError, ConfigurationError):
            answers.append("no")
    try:
        answers.append(by_adbc(address, asked))
    except OperationalError:
        answers.append("no")
    assert len(set(answers)) == 1, answers
    return str(answers[0])


async def test_sslmode_means_the_same_to_every_driver(
    tls_server: tuple[EmbeddedServer, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of libpq's manual, section SSL Support, hold for asyncpg and SQLAlchemy as well."""
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    server, certificate = tls_server
    [port] = from_url(server.url("postgres"), {}).ports
    wrong, _ = make_certificate(tmp_path, "other")

    async def try_it(host: str, mode: SslMode, root: Path | None = None) -> str:
        given = from_url(server.url("postgres"), {})
        tls = Tls(mode, str(root) if root else None)
        return await verdict(TargetAddress((host,), (port,), given.database, given.user, given.password, tls))

    assert await try_it("localhost", "disable") == "plain"
    assert await try_it("localhost", "allow") == "plain"
    assert await try_it("localhost", "prefer") == "tls"
    assert await try_it("localhost", "require") == "tls"
    assert await try_it("localhost", "require", wrong) == "no"
    assert await try_it("127.0.0.1", "verify-ca", certificate) == "tls"
    assert await try_it("localhost", "verify-ca", wrong) == "no"
    assert await try_it("localhost", "verify-full", certificate) == "tls"
    assert await try_it("127.0.0.1", "verify-full", certificate) == "no"
    assert await try_it("localhost", "verify-full", tmp_path / "missing.crt") == "no"


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("mode", "outcome"), [("disable", "plain"), ("allow", "plain"), ("prefer", "plain"), ("require", "no")]
)
async def test_a_server_without_tls(database: Database, mode: SslMode, outcome: str) -> None:
    """Only the modes that insist are refused by a server that has no TLS."""
    given = from_url(database.url, {})
    address = TargetAddress(given.hosts, given.ports, given.database, given.user, given.password, Tls(mode))
    assert await verdict(address) == outcome


def test_system_is_the_machines_own_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """``sslrootcert=system`` is resolved to a file here, so that both libraries trust the same authorities."""
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    assert Tls("verify-full", "system").root_file() == __file__
