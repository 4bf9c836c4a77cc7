"""
Reads the target's address from a URL in any usual spelling, from separate parts, or from both.

``from_url`` and ``from_parts`` are the two entry points. A value of the URL goes before a value of the parts.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, get_args
from urllib.parse import unquote

from pydantic import SecretStr

from migrator.errors import ConfigurationError
from migrator.sessions.address import SslMode, TargetAddress, Tls

SCHEMES: Final = (
    "postgresql",
    "postgres",
    "postgresql+asyncpg",
    "postgresql+psycopg",
    "postgresql+psycopg2",
)

PARAMETERS: Final = (
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "ssl",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "connect_timeout",
    "application_name",
    "options",
    "target_session_attrs",
    "channel_binding",
)

DEFAULT_PORT: Final = 5432

# RFC 3986 forbids an unencoded "@", "/" or "#" in a password, but many passwords have one. The text after the "@" that
# ends the password must have the form of hosts, path and query, so the pattern finds the right "@" by itself.
_URL = re.compile(
    r"""
    (?P<scheme>[A-Za-z][\w+.-]*)://
    (?:(?P<user>[^:@/?]*)(?::(?P<password>.*?))?@)?
    (?P<hosts>[^@/?\#]*)
    (?:/(?P<database>[^@?\#]*))?
    (?:\?(?P<query>.*))?
    """,
    re.VERBOSE | re.DOTALL,
)

_HOST = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[^:]*))?")


def from_url(text: str, defaults: Mapping[str, str]) -> TargetAddress:
    """
    Return the address in a target URL. Missing parts come from ``defaults``, whose keys are libpq's parameter names.

    The password may hold any character, either percent-encoded or, if that is unambiguous, unencoded. Raises
    ConfigurationError for an unknown scheme or parameter, or a wrong value; the message never quotes the password.
    """
    match = _URL.fullmatch(text.strip())
    if match is None:
        raise _unreadable("it is not of the form postgresql://user:password@host:port/database")
    if match["scheme"].lower() not in SCHEMES:
        raise _unreadable(f"the scheme {match['scheme']}:// is not one of {', '.join(f'{s}://' for s in SCHEMES)}")
    try:
        parts = {
            "user": unquote(match["user"] or "", errors="strict"),
            "password": unquote(match["password"] or "", errors="strict"),
            "dbname": unquote(match["database"] or "", errors="strict"),
            "hosts": unquote(match["hosts"] or "", errors="strict"),
            **_query(match["query"] or "", quotable=text.count("@") <= 1),
        }
    except UnicodeDecodeError as error:
        raise _unreadable("its percent-encoded bytes are no UTF-8") from error
    return from_parts({**defaults, **{name: value for name, value in parts.items() if value}})


def from_parts(parts: Mapping[str, str]) -> TargetAddress:
    """
    Return the address from values under libpq's names: ``host``, ``port``, ``dbname``, ``user`` and so on.

    If the database is missing, it has the user's name, as in libpq. Raises ConfigurationError for a wrong value.
    """
    hosts, ports = _hosts(parts)
    user = parts.get("user") or "postgres"
    password = parts.get("password")
    return TargetAddress(
        hosts=hosts,
        ports=ports,
        database=parts.get("dbname") or user,
        user=user,
        password=SecretStr(password) if password else None,
        tls=_tls(parts),
        connect_timeout_seconds=_number(parts, "connect_timeout", 10.0),
        application_name=parts.get("application_name") or "migrator",
        options=parts.get("options"),
        session=_one_of(
            parts,
            "target_session_attrs",
            ("any", "read-write", "primary"),  # no word for a replica, because a replica can't be loaded
        ),
        channel_binding=_one_of(parts, "channel_binding", ("disable", "prefer", "require")),
    )


def _query(text: str, *, quotable: bool) -> dict[str, str]:
    """Return the query's parameters; ``quotable`` is false if ``text`` may hold a part of the password (raw "@")."""
    parameters: dict[str, str] = {}
    for item in filter(None, text.split("&")):
        name, _, value = item.partition("=")
        if name not in PARAMETERS:
            shown = f"the parameter {name!r}" if quotable else "a parameter"
            raise _unreadable(
                f"{shown} after the '?' is none of {', '.join(PARAMETERS)}"
                + ("" if quotable else " (percent-encode '?' and '@' in the password)")
            )
        name = {"ssl": "sslmode"}.get(name, name)  # SQLAlchemy's spelling for asyncpg
        decoded = unquote(value, errors="strict")
        if name == "host" and "host" in parameters:  # SQLAlchemy repeats the parameter for several hosts
            decoded = f"{parameters['host']},{decoded}"
        parameters[name] = decoded
    if "host" in parameters:
        parameters["hosts"] = parameters.pop("host")
    return parameters


def _hosts(parts: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    hosts: list[str] = []
    own_ports: list[str | None] = []
    for item in (parts.get("hosts") or parts.get("host") or "localhost").split(","):
        if item.startswith("/") or (item.count(":") > 1 and not item.startswith("[")):  # a socket, bare IPv6
            hosts.append(item)
            own_ports.append(None)
        elif match := _HOST.fullmatch(item):
            hosts.append(match["six"] or match["name"] or "localhost")
            own_ports.append(match["port"] or None)
        else:
            raise _unreadable(f"the host {item!r} is no name, address or folder of a socket")
    common = str(parts.get("port") or DEFAULT_PORT).split(",")
    if len(common) not in {1, len(hosts)}:
        raise _unreadable(f"there are {len(hosts)} hosts and {len(common)} ports")
    if len(common) == 1:
        common *= len(hosts)
    return tuple(hosts), tuple(_port(own or shared) for own, shared in zip(own_ports, common, strict=True))


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16:
        return int(text)
    raise _unreadable(f"the port {text!r} is no number from 1 to 65535")


def _tls(parts: Mapping[str, str]) -> Tls:
    mode: Any = _one_of(parts, "sslmode", get_args(SslMode)) or "prefer"
    tls = Tls(mode, parts.get("sslrootcert"), parts.get("sslcert"), parts.get("sslkey"))
    if mode.startswith("verify") and tls.root_certificate is None:
        raise ConfigurationError(
            f"sslmode {mode} needs to know whom to trust, and no sslrootcert is set",
            next_step="Set sslrootcert to the file of the authority's certificate, or to 'system' for this machine's.",
        )
    return tls


def _one_of(parts: Mapping[str, str], name: str, accepted: tuple[str, ...]) -> str | None:
    value = parts.get(name)
    if value and value not in accepted:
        raise _unreadable(f"{name} is {value!r}, and must be one of {', '.join(accepted)}")
    return value or None


def _number(parts: Mapping[str, str], name: str, default: float) -> float:
    value = parts.get(name)
    try:
        number = float(value) if value else default
    except ValueError:
        number = 0
    if number <= 0:
        raise _unreadable(f"{name} is {value!r}, and must be a number of seconds above 0")
    return number


def _unreadable(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the target's address can't be used: {reason}",
        next_step="Correct MIGRATOR_TARGET_URL (--target-url), or the POSTGRES_… settings.",
    )
