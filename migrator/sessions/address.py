"""
Holds the target's address: where the target is and how to log in. Every driver gets its arguments from this one value.

Three drivers open connections: asyncpg for COPY, SQLAlchemy for statements, and libpq inside ADBC for reading back.
They read URLs by three different grammars, so the address is one value, and each driver gets it in its own form. For
all drivers, ``sslmode`` has the meaning of the PostgreSQL manual, section "SSL Support". Files under ``~/.postgresql``
are not used, because HOME in a container often belongs to another user. The operator names the files instead.
"""

import socket
import ssl
from asyncio import Transport
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import asyncpg
from msgspec import Struct, field
from pydantic import SecretStr

from migrator.errors import ConfigurationError
from migrator.runtime.redaction import spellings
from migrator.sessions.options import of_options

if TYPE_CHECKING:
    from sqlalchemy import URL

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

# A dead peer is noticed after 30 + 3 * 10 seconds of silence, or after 60 seconds of unacknowledged data. This is early
# enough for a retry within the default deadlines, and late enough for a connection to survive the failover of a virtual
# address.
KEEPALIVE_IDLE_SECONDS: Final = 30

KEEPALIVE_INTERVAL_SECONDS: Final = 10

KEEPALIVE_COUNT: Final = 3

UNACKNOWLEDGED_MILLISECONDS: Final = 60_000

GOODBYE_SECONDS: Final = 2
"""The time limit for an orderly close: asyncpg waits until the server closes the connection, without its own limit."""

# libpq uses ~/.postgresql/root.crt unless it gets another name. A name that can't exist means "no file".
NO_FILE: Final = "/dev/null/none"


class Tls(Struct, frozen=True):
    """The protection of a connection, in libpq's words. The root ``system`` is the machine's own bundle."""

    mode: SslMode = "prefer"
    root_certificate: str | None = None
    certificate: str | None = None
    key: str | None = None

    def root_file(self) -> str | None:
        """Return the path of the file with the trusted authorities; None if the certificate is not checked."""
        if self.root_certificate != "system":
            return self.root_certificate
        paths = ssl.get_default_verify_paths()
        return paths.cafile or paths.openssl_cafile

    def for_asyncpg(self) -> str | bool | ssl.SSLContext:
        """
        Return the value for asyncpg's ``ssl`` argument. Raises ConfigurationError if a file can't be used.

        ``allow`` and ``prefer`` are passed as words, because asyncpg falls back only for these words. Neither of them
        checks a certificate.
        """
        if self.mode == "disable":
            return False
        if self.mode in {"allow", "prefer"}:
            return self.mode
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self.mode == "verify-full"
        try:
            if root := self.root_file():
                context.load_verify_locations(cafile=root)
                context.verify_mode = ssl.CERT_REQUIRED
            else:
                context.verify_mode = ssl.CERT_NONE
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"a TLS file can't be used: {error}",
                next_step="Check sslrootcert, sslcert and sslkey: each must be a readable PEM file.",
            ) from error
        return context

    def parameters(self) -> dict[str, str]:
        """Return the TLS parameters of a libpq URI."""
        return {
            "sslmode": self.mode,
            "sslrootcert": self.root_file() or NO_FILE,
            **({"sslcert": self.certificate} if self.certificate else {"sslcertmode": "disable"}),
            **({"sslkey": self.key} if self.key else {}),
        }


class _KeptAlive(asyncpg.Connection):  # type: ignore[misc]
    """A connection that notices if its peer is gone without closing it. asyncpg has no setting for that."""

    __slots__ = ("backend", "unheard")

    def __init__(self, protocol: object, transport: Transport, *arguments: object) -> None:
        super().__init__(protocol, transport, *arguments)
        self.backend: int | None = None
        """The number of the server process, from a statement. The number in the login may be invented by a pooler."""
        self.unheard = False
        """Whether the server has not confirmed the close, so that its process may still exist."""
        plug: socket.socket | None = transport.get_extra_info("socket")
        if plug is None or plug.family not in {socket.AF_INET, socket.AF_INET6}:
            return
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", KEEPALIVE_IDLE_SECONDS),
            ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_SECONDS),
            ("TCP_KEEPCNT", KEEPALIVE_COUNT),
            ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MILLISECONDS),
        ):
            if hasattr(socket, name):  # some platforms lack some of these options
                plug.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's own argument
        """Close the connection in an orderly way, or without the server's answer if no answer comes in time."""
        with suppress(TimeoutError):
            self.unheard = True
            await super().close(timeout=GOODBYE_SECONDS if timeout is None else timeout)
            self.unheard = False

    def get_server_pid(self) -> int:
        """Return the number of the connection's server process."""
        return int(self.backend or super().get_server_pid())


class TargetAddress(Struct, frozen=True):
    """
    The address of one PostgreSQL database, with the role that logs in.

    ``hosts`` and ``ports`` have equal length; a host that begins with ``/`` is the folder of a Unix socket. Of several
    hosts, the first host that accepts writes is used, unless ``session`` has another rule. Without a password, the
    driver uses PGPASSWORD or ``.pgpass``, or the server needs no password. ``repr`` never shows the password.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    database: str
    user: str
    password: SecretStr | None = None
    tls: Tls = field(default_factory=Tls)
    connect_timeout_seconds: float = 10
    stall_timeout_seconds: float = 120
    """The time after which a missing answer counts as lost, if the server no longer works on the statement."""
    application_name: str = "migrator"
    options: str | None = None
    session: str | None = None
    channel_binding: str | None = None
    snapshot: str = ""
    """The exported snapshot that every reading session sees (PostgreSQL, "Snapshot Synchronization Functions"); empty
    if each sees the moment at which it reads."""
    origin: str = "MIGRATOR_TARGET_URL"
    """The names of the settings from which the address comes, as an operator knows them."""

    def asyncpg_arguments(self) -> dict[str, Any]:
        """
        Return keyword arguments for ``asyncpg.connect``, or for ``connect_args`` of an SQLAlchemy engine.

        All other settings of a session are set after the login (``login.py``), because a pooler refuses most start-up
        parameters. Raises ConfigurationError if a TLS file can't be used.
        """
        return {
            "host": list(self.hosts),
            "port": list(self.ports),
            "user": self.user,
            "password": self._password(),
            "database": self.database,
            "ssl": self.tls.for_asyncpg(),
            "timeout": self.connect_timeout_seconds,
            "target_session_attrs": self._session(),
            "server_settings": {"application_name": self.application_name, **self._startup_options()},
            "connection_class": _KeptAlive,
        }

    def libpq_uri(
        self, *, unacknowledged_milliseconds: int = UNACKNOWLEDGED_MILLISECONDS, options: str | None = None
    ) -> str:
        """
        Return the address as one URI for libpq inside the ADBC driver. The URI holds the password: never log it.

        ``options`` replace the options of the address, which are set after the login if that is possible.
        ``unacknowledged_milliseconds`` is the value of TCP_USER_TIMEOUT.

        All values are parameters of the URI: all are percent-encoded in the same way, and sockets, IPv6 and several
        hosts need no special grammar.
        """
        startup = {"options": options} if options else {}
        return f"postgresql:///?{_encoded(self._libpq_parameters(unacknowledged_milliseconds) | startup)}"

    def sqlalchemy_url(self, drivername: str = "postgresql+asyncpg") -> "URL":
        """
        Return the address as an SQLAlchemy URL, for the application's code, such as an Alembic ``env.py``.

        The URL holds the password: never log it. With asyncpg the TLS parameters are in a ``dsn`` parameter, because
        asyncpg accepts file names only there.
        """
        from sqlalchemy import URL  # noqa: PLC0415 - it takes as long to load as all other imports of `--help`

        tls = self.tls.parameters()
        # asyncpg would send an unknown parameter to the server as a setting, and the server would refuse it.
        tls.pop("sslcertmode", None)
        if tls["sslrootcert"] == NO_FILE:
            del tls["sslrootcert"]
        query: dict[str, Any] = (
            {"dsn": f"postgresql://?{_encoded(tls)}"} if drivername.endswith("+asyncpg") else {**tls}
        )
        if len(self.hosts) > 1:
            query["host"] = tuple(f"{_bracketed(host)}:{port}" for host, port in self.places())
        elif self.hosts[0].startswith("/"):
            query["host"] = self.hosts[0]
        return URL.create(
            drivername,
            username=self.user,
            password=self._password(),
            host=self.hosts[0] if "host" not in query else None,
            port=self.ports[0] if len(self.hosts) == 1 else None,
            database=self.database,
            query=query,
        )

    def redacted(self) -> str:
        """Return the address as a person writes it, without the password: for logs, reports and the ledger."""
        return f"postgresql://{quote(self.user, safe='')}@{self.server()}/{quote(self.database, safe='')}"

    def server(self) -> str:
        """Return hosts and ports as a person writes them."""
        return ",".join(f"{_bracketed(host)}:{port}" for host, port in self.places())

    def secrets(self) -> frozenset[str]:
        """Return every spelling of the password that may appear in a message."""
        return frozenset(spellings(self._password() or ""))

    __str__ = redacted

    def places(self) -> Iterator[tuple[str, int]]:
        """Yield every host with its port."""
        return zip(self.hosts, self.ports, strict=True)

    def _password(self) -> str | None:
        return self.password.get_secret_value() if self.password is not None else None

    @property
    def login_seconds(self) -> float:
        """The time limit, in seconds, for a login together with the statements that settle the session."""
        return self.connect_timeout_seconds * len(self.hosts) + self.stall_timeout_seconds

    def settings(self) -> Mapping[str, str]:
        """Return the settings in ``options``; empty if they can't be set after the login."""
        return of_options(self.options) or {}

    def _startup_options(self) -> dict[str, str]:
        return {"options": self.options} if self.options and of_options(self.options) is None else {}

    def _session(self) -> str:
        return self.session or ("read-write" if len(self.hosts) > 1 else "any")

    def _libpq_parameters(self, unacknowledged_milliseconds: int) -> dict[str, str]:
        password = self._password()
        return {
            "host": ",".join(self.hosts),
            "port": ",".join(map(str, self.ports)),
            "user": self.user,
            **({"password": password} if password is not None else {}),
            "dbname": self.database,
            **self.tls.parameters(),
            # libpq counts whole seconds, and 0 means no limit.
            "connect_timeout": str(max(1, round(self.connect_timeout_seconds))),
            "application_name": self.application_name,
            "client_encoding": "UTF8",
            "target_session_attrs": self._session(),
            "keepalives": "1",
            "keepalives_idle": str(KEEPALIVE_IDLE_SECONDS),
            "keepalives_interval": str(KEEPALIVE_INTERVAL_SECONDS),
            "keepalives_count": str(KEEPALIVE_COUNT),
            "tcp_user_timeout": str(unacknowledged_milliseconds),
            **self._startup_options(),
            **({"channel_binding": self.channel_binding} if self.channel_binding else {}),
        }


def _encoded(parameters: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
