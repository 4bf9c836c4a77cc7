"""
Stage ``init_sql`` runs the script that prepares the target for the application.

The script (``scripts/database/init-postgres.sql``, or the operator's own) reads the names it works with from settings
of the session, so the same text runs under psql and here. It has to allow being run on every start.
"""

from collections.abc import Callable

import asyncpg
from msgspec import Struct

from migrator.errors import ConfigurationError, MigratorError, MissingPrivilege, TargetRefused

_GIVE_NAMES = """
    SELECT set_config('migrator.schema', $1, true),
           set_config('migrator.role', $2, true),
           set_config('migrator.require_extensions', $3, true)
"""

# A server that lacks an extension answers 0A000 (since version 16) or 58P01; class P0 is raised by the script itself.
# Another try would get the same answer, unlike after a lost connection or a full disk, which the retry policy handles.
_REFUSALS = (
    asyncpg.FeatureNotSupportedError,
    asyncpg.UndefinedFileError,
    asyncpg.PLPGSQLError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.exceptions.DataError,
)


class InitNames(Struct, frozen=True):
    """The names for the script: the application's schema and its role. None leaves the script's default."""

    schema: str | None = None
    role: str | None = None


async def init_sql(
    connection: asyncpg.Connection,
    script: str,
    names: InitNames,
    *,
    require_extensions: bool,
    on_warning: Callable[[str], None],
) -> None:
    """
    Run ``script`` in one transaction of ``connection``, so that either all of it is done or nothing.

    ``names`` are passed to the script as settings. Every WARNING of the server is passed to ``on_warning`` as one line,
    with its hint in brackets.

    Raises MissingPrivilege if the connection's role may not do what the script asks, TargetRefused if the server can't
    (an extension is missing and ``require_extensions`` is true), ConfigurationError if the script itself is wrong.
    Temporary errors pass through as asyncpg raised them.
    """

    def hear(_connection: object, message: asyncpg.PostgresLogMessage) -> None:
        # `severity` is in the server's language, `severity_en` in English.
        if message.severity_en == "WARNING":
            on_warning(f"{message.message} ({message.hint})" if message.hint else message.message)

    connection.add_log_listener(hear)
    try:
        # Settings that are local to the transaction leave nothing behind, and a pooler that assigns a connection to
        # each transaction can't separate them from the script.
        async with connection.transaction():
            required = "on" if require_extensions else "off"
            await connection.execute(_GIVE_NAMES, names.schema or "", names.role or "", required)
            await connection.execute(script)
    except (asyncpg.SyntaxOrAccessError, *_REFUSALS) as error:
        raise _refused(error, script) from error
    finally:
        connection.remove_log_listener(hear)


def _refused(error: asyncpg.PostgresError, script: str) -> MigratorError:
    """Return this job's error for the server's error about the script."""
    message = f"init SQL: {error.args[0]}"
    facts = {"sqlstate": error.sqlstate}
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        next_step = error.hint or (
            "Grant the target's role CREATE on the database, or have the owner of the database run the script once; "
            "where everything is in place already, it asks for no privilege."
        )
        return MissingPrivilege(message, next_step=next_step, **facts)
    if isinstance(error, _REFUSALS):
        return TargetRefused(message, next_step=error.hint or "", **facts)
    if error.position:
        # The server counts characters from 1.
        line = script.count("\n", 0, int(error.position) - 1) + 1
        return ConfigurationError(f"{message} (line {line})", next_step=error.hint or "Correct the script.", **facts)
    return ConfigurationError(message, next_step=error.hint or "Correct the script or the name.", **facts)
