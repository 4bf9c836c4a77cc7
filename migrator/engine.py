"""
Gives the application its database settings and its SQLAlchemy engine, for SQLite and for PostgreSQL.

To change from SQLite to PostgreSQL, the application only needs another ``DATABASE_URL``. Dryad's code and its Alembic
environment use the engine of this module. The migrator itself doesn't import it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from migrator.errors import ConfigurationError

_DRIVERS: Final = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}

_OWN_OPTIONS: Final = frozenset(
    {
        "host",
        "port",
        "dsn",
        "ssl",
        "passfile",
        "service",
        "servicefile",
        "target_session_attrs",
        "krbsrvname",
        "gsslib",
        "prepared_statement_cache_size",
    }
)
"""Options that SQLAlchemy passes to asyncpg unchanged."""

_NUMERIC_OPTIONS: Final = {"connect_timeout": "timeout", "statement_cache_size": "statement_cache_size"}
"""Options that asyncpg takes as numbers, with asyncpg's names. In a URL they would be strings."""

_TUNING_OPTIONS: Final = frozenset(
    {
        "channel_binding",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)
"""Options of libpq that asyncpg lacks. They can be ignored, unless the value is ``require``."""


class Settings(BaseSettings):
    """
    The address of the application's database, and the limits of its connection pool.

    The settings are read from the environment; arguments take precedence. Raises pydantic's ValidationError, whose
    message never holds a value.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    DATABASE_URL: str = Field(
        default="sqlite+aiosqlite:///./dryad.db", description="The database, as a URL of SQLAlchemy's or of libpq's."
    )
    DATABASE_URL_FILE: Path | None = Field(
        default=None, description="A file that holds DATABASE_URL, such as a secret."
    )
    POSTGRES_POOL_SIZE: int = Field(default=10, ge=1, description="Connections that are kept open.")
    POSTGRES_MAX_OVERFLOW: int = Field(default=20, ge=0, description="Connections beyond those, opened in a rush.")
    POSTGRES_POOL_TIMEOUT: float = Field(
        default=30, gt=0, description="Seconds to wait for a connection to become free."
    )
    POSTGRES_POOL_RECYCLE: int = Field(
        default=3600, ge=-1, description="Seconds until a connection is replaced; -1: never."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_the_file(cls, values: dict[str, Any]) -> dict[str, Any]:
        path = values.get("DATABASE_URL_FILE")
        if not path:
            return values
        if "DATABASE_URL" in values:
            raise ValueError("DATABASE_URL and DATABASE_URL_FILE are both set; one of them has to go")
        try:
            url = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
            raise ValueError(f"DATABASE_URL_FILE {str(path)!r} can't be read: {reason}") from None
        if not url:
            raise ValueError(f"DATABASE_URL_FILE {str(path)!r} is empty")
        return {**values, "DATABASE_URL": url}

    def get_database_url(self) -> str:
        """
        Return the URL for SQLAlchemy with its asynchronous drivers: asyncpg for PostgreSQL, aiosqlite for SQLite.

        libpq's query options become asyncpg's options: ``sslmode`` becomes ``ssl``, and options that asyncpg reads only
        from a DSN (certificates, ``options``, ``application_name``) go into ``dsn``. A URL can't hold numbers, so
        ``connect_timeout`` is missing here; ``create_engine`` passes it to asyncpg.
        Raises ConfigurationError for a URL that can't be read, for another database, or for an option that requires a
        protection which asyncpg doesn't offer.
        """
        return _translate(self.DATABASE_URL)[0].render_as_string(hide_password=False)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Yield the settings without passwords. pydantic uses them for ``repr`` and ``str``."""
        for name, value in super().__repr_args__():
            yield name, _without_secrets(value) if name == "DATABASE_URL" else value


def create_engine(settings: Settings) -> AsyncEngine:
    """
    Return an engine for the settings' database. It connects at its first use.

    On SQLite, foreign keys are enforced, as PostgreSQL always does. On PostgreSQL, the pool has the limits in the
    settings, and tests each connection before the application gets it, so that a restart of the server causes no error.
    Raises ConfigurationError as ``Settings.get_database_url`` does.
    """
    url, arguments = _translate(settings.DATABASE_URL)
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(url)
        event.listen(engine.sync_engine, "connect", _enforce_foreign_keys)
        return engine
    if "dsn" in url.query:
        # The DSN may hold the password of a TLS key, and the engine's repr masks only the user's password in the URL.
        arguments["dsn"] = url.query["dsn"]
        url = url.difference_update_query(["dsn"])
    return create_async_engine(
        url,
        connect_args=arguments,
        pool_pre_ping=True,
        pool_size=settings.POSTGRES_POOL_SIZE,
        max_overflow=settings.POSTGRES_MAX_OVERFLOW,
        pool_timeout=settings.POSTGRES_POOL_TIMEOUT,
        pool_recycle=settings.POSTGRES_POOL_RECYCLE,
    )


def _enforce_foreign_keys(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # SQLite's default is off, and each connection has its own setting: https://sqlite.org/foreignkeys.html#fk_enable
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _translate(text: str) -> tuple[URL, dict[str, Any]]:
    """Return the URL for the asynchronous drivers, and the connect arguments that a URL can't hold."""
    try:
        url = make_url(text)
        drivername = _DRIVERS[url.get_backend_name()]
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "DATABASE_URL can't be read", next_step="Set it in the form postgresql://user@host/db."
        ) from None
    except KeyError:
        raise ConfigurationError(
            f"DATABASE_URL begins with {url.drivername!r}, which this application can't use",
            next_step="Use postgresql:// or sqlite://.",
        ) from None
    url = url.set(drivername=drivername)
    return _translate_options(url) if drivername.startswith("postgresql") else (url, {})


def _translate_options(url: URL) -> tuple[URL, dict[str, Any]]:
    options = dict(url.query)
    # SQLAlchemy doesn't mask a password in the query, so it moves to its own part of the URL.
    url = url.set(
        username=_last(options.pop("user", url.username)),
        password=_last(options.pop("password", url.password)),
        database=_last(options.pop("dbname", url.database)),
    )
    if "sslmode" in options:
        options["ssl"] = options.pop("sslmode")
    for name in _TUNING_OPTIONS & options.keys():
        if _last(options.pop(name)) == "require":
            raise ConfigurationError(
                f"DATABASE_URL asks for {name}=require, which asyncpg can't give",
                next_step=f"Remove {name}; sslmode=verify-full with sslrootcert proves who the server is.",
            )
    numbers = _numbers({name: _last(options.pop(name)) for name in _NUMERIC_OPTIONS.keys() & options.keys()})
    # asyncpg reads the other options from a DSN. It sends unknown options as server settings, and the server refuses
    # settings that it doesn't know.
    remaining = {name: _last(options.pop(name)) for name in sorted(options.keys() - _OWN_OPTIONS)}
    if remaining:
        dsn = _last(options.get("dsn")) or "postgresql://"
        options["dsn"] = f"{dsn}{'&' if '?' in dsn else '?'}{urlencode(remaining)}"
    return url.set(query=options), numbers


def _last(value: str | Sequence[str] | None) -> str | None:
    """Return an option's value. If the option is given several times, the last value counts, as for libpq."""
    return value if isinstance(value, str) or value is None else value[-1]


def _numbers(options: Mapping[str, str | None]) -> dict[str, Any]:
    try:
        numbers = {_NUMERIC_OPTIONS[name]: int(value or 0) for name, value in options.items()}
    except ValueError:
        raise ConfigurationError(
            f"DATABASE_URL has an option that is no whole number: {', '.join(options)}", next_step="Correct the URL."
        ) from None
    if numbers.get("timeout", 1) <= 0:
        del numbers["timeout"]  # for libpq this means no limit; asyncpg's own default stays
    return numbers


def _without_secrets(url: str) -> str:
    try:
        return make_url(url).set(query={}).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "***"
