"""Observes the application's ``env.py`` and revisions while they run: their exceptions, output and connections."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOBase
from pathlib import Path
from typing import Any, Final

import structlog
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import ConfigurationError, MigratorError
from migrator.events import Event
from migrator.runtime.error_mapping import to_migrator_error

log = structlog.get_logger()

IDENTITY: Final = """
SELECT current_database()::text, (SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = current_database()),
       pg_catalog.pg_postmaster_start_time()::text
"""
"""A query that identifies a database, so that databases of all servers can be distinguished."""


@contextmanager
def of_application(folder: Path) -> Iterator[None]:
    """
    Translate exceptions of the application's code that runs inside the ``with`` block.

    ``folder`` contains the application's migrations. Raises ConfigurationError for an exception of this code; its
    message names what is missing and the line of code that needs it. Errors of Alembic, of a server or the operating
    system, and the job's own errors are raised unchanged.
    """
    try:
        yield
    except (MigratorError, CommandError):
        raise
    except SystemExit as error:
        raise ConfigurationError(
            f"the application's migrations end the process: sys.exit({error.code!r}){_where(error, folder)}",
            next_step="Remove sys.exit() from env.py, and raise an exception instead.",
        ) from error
    except Exception as error:
        if to_migrator_error(error) is not None:
            raise
        raise _refusal(error, folder) from error


def _refusal(error: Exception, folder: Path) -> ConfigurationError:
    where = _where(error, folder)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    if isinstance(error, KeyError) and last and last[0].filename in {os.__file__, "<frozen os>"}:
        name = str(error.args[0])
        return ConfigurationError(
            f"the application's migrations need the environment variable {name}{where}",
            next_step=f"Set {name} for the job, as it is set for the application.",
            variable=name,
        )
    if isinstance(error, ModuleNotFoundError):
        return ConfigurationError(
            f"the application's migrations need the module {error.name!r}{where}",
            next_step="Run the job from the application's image, or install the module beside it; "
            "name the folder of the application's own modules in prepend_sys_path of alembic.ini, or in PYTHONPATH.",
            module=error.name,
        )
    lines = str(error).strip().splitlines()
    return ConfigurationError(
        f"the application's migrations raise {type(error).__name__}{f': {lines[0]}' if lines else ''}{where}",
        next_step="Correct the migrations, or give the job what the application has (variables, files, modules); "
        "`alembic upgrade head` with the target in DATABASE_URL shows the same error.",
    )


def _where(error: BaseException, folder: Path) -> str:
    """Return the file and line in the application's migrations that led to the error, in brackets."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({_short(error.filename, folder)}, line {error.lineno})"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(folder):
            return f" ({_short(frame.filename, folder)}, line {frame.lineno})"
    return ""


def _short(file: str, folder: Path) -> str:
    path = Path(file)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else file


class LoggedOutput(TextIOBase):
    """A replacement for standard output that logs each line; the process's own standard output is for the report."""

    def __init__(self) -> None:
        self._begun = ""

    def writable(self) -> bool:
        """Return True, since text can be written."""
        return True

    def write(self, written: str) -> int:
        """Log every complete line of ``written``, keep the rest, and return the number of characters."""
        *lines, self._begun = (self._begun + written).split("\n")
        for line in filter(None, lines):
            log.info(Event.LIBRARY_MESSAGE, logger="stdout", message=line)
        return len(written)


class MigrationObserver:
    """Checks to which database the application's migrations connect, and whether their work was committed."""

    def __init__(self, identity: tuple[object, ...], address: str) -> None:
        """``identity`` is the target's answer to ``IDENTITY``; ``address`` is the target's address for messages."""
        self._identity = identity
        self._address = address
        self._ran = False
        self._version_table: str | None = None

    def run(self, script: ScriptDirectory, revision: str, current: Any, context: MigrationContext) -> Any:  # noqa: ANN401 - Alembic's
        """
        Return the migration steps from ``current`` to ``revision``.

        Alembic calls this function when ``context`` has a connection and before anything is done. Raises
        ConfigurationError if the connection leads to another database than the target.
        """
        self._ran = True
        connection = context.connection
        if connection is not None:
            if connection.dialect.name != "postgresql":
                raise self._elsewhere(f"a database of {connection.dialect.name}")
            identity = tuple(connection.execute(text(IDENTITY)).one())
            if identity != self._identity:
                raise self._elsewhere(f"the database {identity[0]!r} of {_server_of(connection)}")
            name_parts = context.version_table_schema, context.version_table
            name = ".".join(connection.dialect.identifier_preparer.quote(part) for part in name_parts if part)
            row = connection.execute(text(_WHERE), {"name": name}).first()
            self._version_table = str(row.name) if row else None
        return script._upgrade_revs(revision, current)  # noqa: SLF001 - as in Alembic's manual, "EnvironmentContext"

    async def check(self, connection: AsyncConnection) -> None:
        """Raise ConfigurationError if ``env.py`` has run no migrations, or has committed nothing to the target."""
        if not self._ran:
            raise ConfigurationError(
                "the application's env.py has run no migrations: it didn't call context.run_migrations()",
                next_step="Let env.py run them also when it is given DATABASE_URL and sqlalchemy.url of PostgreSQL.",
            )
        if self._version_table is None:
            return
        exists = await connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": self._version_table})
        if not exists or not await connection.scalar(text(f"SELECT EXISTS (SELECT FROM {self._version_table})")):
            raise ConfigurationError(
                f"the application's env.py has run its migrations and committed nothing: {self._version_table} "
                "has no revision",
                next_step="Have env.py run them inside `with context.begin_transaction():`, "
                "and begin a transaction of the connection that it opens.",
            )

    def _elsewhere(self, where: str) -> ConfigurationError:
        return ConfigurationError(
            f"the application's env.py goes to {where}, and not to the target {self._address}",
            next_step="Let env.py take its URL from the variable DATABASE_URL or from the option sqlalchemy.url, "
            "which the job sets; or choose --schema command, or --schema existing.",
        )


def _server_of(connection: Any) -> str:  # noqa: ANN401 - SQLAlchemy's Connection, whose URL may be of any make
    url = connection.engine.url
    return f"{url.host or 'a local server'}:{url.port or 5432}"


_WHERE = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(:name)
"""
