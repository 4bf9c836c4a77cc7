"""
The target's address: where the target is and how to log in. Every driver gets its arguments from this one value.

Three drivers open connections: asyncpg for COPY, SQLAlchemy for statements, and libpq inside ADBC for reading back.
They read URLs by three different grammars, so the address is one value, which is handed to each in its own form.
``sslmode`` has the meaning of the PostgreSQL manual, section "SSL Support", for all of them. Files under
``~/.postgresql`` are not looked for: HOME is often another user's in a container. Name the files instead.
"""

import socket
import ssl
from asyncio import Transport
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import asyncpg
from pydantic import SecretStr

from migrator.errors import ConfigurationError
from migrator.runtime.redaction import spellings
from migrator.sessions.options import of_options

if TYPE_CHECKING:
    from sqlalchemy import URL

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

# A dead peer is noticed after 30 + 3 * 10 seconds of silence, and after 60 seconds of unacknowledged data: early enough
# for a retry within the default deadlines, late enough to sit out a failover of a virtual address.
KEEPALIVE_IDLE_SECONDS: Final = 30

KEEPALIVE_INTERVAL_SECONDS: Final = 10

KEEPALIVE_COUNT: Final = 3

UNACKNOWLEDGED_MILLISECONDS: Final = 60_000

GOODBYE_SECONDS: Final = 2
"""For a session to take leave in: asyncpg waits for the server to close the connection, by itself without a limit."""

# libpq looks for ~/.postgresql/root.crt unless it is told another name; a name that can't exist means "none".
NO_FILE: Final = "/dev/null/none"


@dataclass(frozen=True, slots=True)
class Tls:
    """How the connection is protected, in libpq's words. The root ``system`` is the machine's own bundle."""

    mode: SslMode = "prefer"
    root_certificate: str | None = None
    certificate: str | None = None
    key: str | None = None

    def root_file(self) -> str | None:
        """Path of the file with the authorities to trust, or None when the certificate is not checked."""
        if self.root_certificate != "system":
            return self.root_certificate
        paths = ssl.get_default_verify_paths()
        return paths.cafile or paths.openssl_cafile

    def for_asyncpg(self) -> str | bool | ssl.SSLContext:
        """
        Value for asyncpg's ``ssl`` argument. Raises ConfigurationError when a file can't be used.

        ``allow`` and ``prefer`` go as words, since only then does asyncpg fall back; neither of them checks anything.
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
        """Parameters of a libpq URI."""
        return {
            "sslmode": self.mode,
            "sslrootcert": self.root_file() or NO_FILE,
            **({"sslcert": self.certificate} if self.certificate else {"sslcertmode": "disable"}),
            **({"sslkey": self.key} if self.key else {}),
        }


class _KeptAlive(asyncpg.Connection):  # type: ignore[misc]
    """A connection that notices a peer gone without a word; asyncpg has no setting for that."""

    __slots__ = ("backend", "unheard")

    def __init__(self, protocol: object, transport: Transport, *arguments: object) -> None:
        super().__init__(protocol, transport, *arguments)
        self.backend: int | None = None
        """Number of its server process as the server has told it; what comes with the login a pooler may invent."""
        self.unheard = False
        """Whether the server has not shown that it heard the goodbye: its process may be there still."""
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
            if hasattr(socket, name):  # not every platform has every one
                plug.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's own argument
        """Take leave of the server, and go without its answer if none comes in time."""
        with suppress(TimeoutError):
            self.unheard = True
            await super().close(timeout=GOODBYE_SECONDS if timeout is None else timeout)
            self.unheard = False

    def get_server_pid(self) -> int:
        """Return the number of its server process."""
        return int(self.backend or super().get_server_pid())


@dataclass(frozen=True, slots=True)
class TargetAddress:
    """
    One PostgreSQL database and the role to log in with.

    ``hosts`` and ``ports`` are of equal length; a host that begins with ``/`` is the folder of a Unix socket. With
    several hosts the first that accepts writes is taken, unless ``session`` says otherwise. No password means the
    driver's own ways: PGPASSWORD, ``.pgpass``, or a server that asks for none. ``repr`` never shows the password.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    database: str
    user: str
    password: SecretStr | None = None
    tls: Tls = field(default_factory=Tls)
    connect_timeout_seconds: float = 10
    stall_timeout_seconds: float = 120
    """How long an answer may be overdue that the server is not at work on any more."""
    application_name: str = "migrator"
    options: str | None = None
    session: str | None = None
    channel_binding: str | None = None
    origin: str = field(default="MIGRATOR_TARGET_URL", compare=False)
    """The settings that say where it is, as an operator knows them."""

    def asyncpg_arguments(self) -> dict[str, Any]:
        """
        Give keyword arguments for ``asyncpg.connect``; also good as ``connect_args`` of an SQLAlchemy engine.

        What else a session is set to comes after the login (``login.py``): a pooler refuses most start-up parameters.
        Raises ConfigurationError when a TLS file can't be used.
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
        Give one URI with everything in it, for libpq inside the ADBC driver. It holds the password: never log it.

        ``options`` stand for those of the address, which are set after the login where that can be.

        All values travel as parameters: they are percent-encoded alike, and sockets, IPv6 and several hosts need no
        grammar of their own.
        """
        begun = {"options": options} if options else {}
        return f"postgresql:///?{_encoded(self._libpq_parameters(unacknowledged_milliseconds) | begun)}"

    def sqlalchemy_url(self, drivername: str = "postgresql+asyncpg") -> "URL":
        """
        Give an SQLAlchemy URL for code that isn't ours, an Alembic ``env.py`` say. It holds the password.

        With asyncpg the TLS words travel in a ``dsn`` parameter, the only door through which it takes file names.
        """
        from sqlalchemy import URL  # noqa: PLC0415 - it takes as long to load as all else that `--help` needs

        tls = self.tls.parameters()
        # asyncpg would send what it doesn't know to the server as a setting, and the server would refuse it.
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
        """Give the address as a person writes it, without the password: for logs, reports and the ledger."""
        return f"postgresql://{quote(self.user, safe='')}@{self.server()}/{quote(self.database, safe='')}"

    def server(self) -> str:
        """Give hosts and ports as a person writes them."""
        return ",".join(f"{_bracketed(host)}:{port}" for host, port in self.places())

    def secrets(self) -> frozenset[str]:
        """Give every spelling of the password that may turn up in a message."""
        return frozenset(spellings(self._password() or ""))

    __str__ = redacted

    def places(self) -> Iterator[tuple[str, int]]:
        """Yield every host with its port."""
        return zip(self.hosts, self.ports, strict=True)

    def _password(self) -> str | None:
        return self.password.get_secret_value() if self.password is not None else None

    @property
    def login_seconds(self) -> float:
        """How long a login may take with everything that is asked right after it."""
        return self.connect_timeout_seconds * len(self.hosts) + self.stall_timeout_seconds

    def settings(self) -> Mapping[str, str]:
        """Give the settings that ``options`` ask for and that can be set after the login."""
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
            # libpq counts whole seconds, and takes 0 for "for ever".
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
