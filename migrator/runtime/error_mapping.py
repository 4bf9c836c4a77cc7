"""Maps errors of drivers, the server and the system to the job's own errors, with a message for the operator."""

import asyncio
import errno
import sqlite3
import ssl
from typing import Final

import adbc_driver_manager
import asyncpg
from msgspec import Struct

from migrator.errors import ConfigurationError, GaveUp, MigratorError, MissingPrivilege, SourceUnreadable, TargetRefused
from migrator.runtime.retry import chain, is_transient, short_message, sqlstate_of


class _Explanation(Struct, frozen=True):
    kind: type[MigratorError]
    opening: str
    next_step: str


_PASSWORD = _Explanation(
    ConfigurationError,
    "the server refused the login",
    "Check user and password (POSTGRES_USER, POSTGRES_PASSWORD or the target's URL); the server's pg_hba.conf decides "
    "who may log in, from where, and whether TLS is required.",
)

_TLS = _Explanation(
    ConfigurationError,
    "no agreement on TLS",
    "Check sslmode and sslrootcert; 'sslmode=disable' suits a server without TLS on a network that is trusted.",
)

_LOCAL_DISK_FULL = _Explanation(
    ConfigurationError, "this machine has no room left", "Make room, or point TMPDIR to where there is some."
)

_RESOURCES = _Explanation(
    TargetRefused,
    "the server has reached a limit",
    "Raise the limit or free what holds it, then run the job again; it goes on where it stopped.",
)

# Keys are SQLSTATEs, or their first two characters: the class, for codes without their own explanation.
_BY_STATE: Final[dict[str, _Explanation]] = {
    "28": _PASSWORD,
    "3D": _Explanation(
        ConfigurationError,
        "the database is not there",
        "Create it (CREATE DATABASE …), or correct its name in POSTGRES_DB or the target's URL.",
    ),
    "3F": _Explanation(TargetRefused, "the schema is not there", "Create it, or correct MIGRATOR_TARGET_SCHEMA."),
    "42501": _Explanation(
        MissingPrivilege,
        "the role lacks a privilege",
        "Grant it to the role, or run the job as the owner of the tables.",
    ),
    "25006": _Explanation(
        TargetRefused,
        "the server is read-only",
        "Point the job at the primary and run it again: this is a replica, or a failover is under way.",
    ),
    "53100": _Explanation(
        TargetRefused,
        "the server's disk is full",
        "Make room there and run the job again; it goes on where it stopped.",
    ),
    "53200": _Explanation(
        TargetRefused,
        "the server is out of memory",
        "Give it more, or lower maintenance_work_mem or MIGRATOR_JOBS, and run the job again.",
    ),
    "53": _RESOURCES,
    "54": _RESOURCES,
    "57014": _Explanation(
        TargetRefused,
        "the server cancelled a statement",
        "Raise the statement_timeout of the role or the database for the migration, then run the job again.",
    ),
    "57P04": _Explanation(
        TargetRefused,
        "the database was dropped while the job worked",
        "Find out who dropped it, then run the job again.",
    ),
    "23": _Explanation(
        TargetRefused,
        "a constraint of the target refuses the rows",
        "Correct the rows at the source, or the constraint.",
    ),
}

_OUT_OF_MEMORY = "53200"

_LOCKS = _Explanation(
    TargetRefused,
    "the server has no room for so many locks",
    "Raise max_locks_per_transaction in the server's configuration (one transaction, of the application's migrations "
    "say, locks every table and index that it makes or touches: about twice their number, divided by max_connections), "
    "restart the server, and run the job again.",
)

_ANY_STATE = _Explanation(
    TargetRefused,
    "the server refused",
    "Look into the server's log for the statement; --log-level debug shows the traceback.",
)


def to_migrator_error(error: BaseException) -> MigratorError | None:
    """
    Return the job's own error (a MigratorError) for an error that a driver, the server or the system has raised.

    A MigratorError is returned as it is. A transient error becomes GaveUp, because the caller has stopped retrying. For
    a task group, the first error that isn't transient decides. None means that no rule knows the error: it is a bug,
    and should reach ``cli/main.py`` unchanged. Messages hold no DETAIL, because DETAIL quotes rows.
    """
    if isinstance(error, MigratorError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return _gravest(error)
    if is_transient(error):
        return GaveUp(
            f"what was tried did not succeed: {short_message(error)}",
            next_step="Run the job again when the cause is gone.",
        )
    explanation = _about_locks(error) or _from_server(error) or _from_system(error)
    if explanation is None:
        return None
    state = sqlstate_of(error)
    return explanation.kind(
        f"{explanation.opening}: {short_message(error)}",
        next_step=explanation.next_step,
        **({"sqlstate": state} if state else {}),
    )


def _gravest(group: BaseExceptionGroup[BaseException]) -> MigratorError | None:
    errors = [error for error in group.exceptions if not isinstance(error, asyncio.CancelledError)]
    for error in sorted(errors, key=_is_worth_another_try):
        return to_migrator_error(error)
    return None


def _is_worth_another_try(error: BaseException) -> bool:
    return isinstance(error, GaveUp) or is_transient(error)


def _about_locks(error: BaseException) -> _Explanation | None:
    """Explain a full lock table, for which the server sends the SQLSTATE of a lack of memory."""
    if sqlstate_of(error) == _OUT_OF_MEMORY and "shared memory" in short_message(error):
        return _LOCKS
    return None


def _from_server(error: BaseException) -> _Explanation | None:
    state = sqlstate_of(error)
    if state is None:
        return None
    return _BY_STATE.get(state) or _BY_STATE.get(state[:2]) or _ANY_STATE


def _from_system(error: BaseException) -> _Explanation | None:  # noqa: PLR0911 - the first match decides
    """Explain an error on the client's side: of TLS, a file, the SQLite library, or a driver."""
    for link in chain(error):
        text = str(link).lower()
        if isinstance(link, ssl.SSLError) or "rejected ssl upgrade" in text or "server does not support ssl" in text:
            return _TLS
        if isinstance(link, asyncpg.exceptions.ClientConfigurationError):
            return _Explanation(
                ConfigurationError, "the target's address can't be used", "Correct the target's settings."
            )
        if isinstance(link, sqlite3.DatabaseError):
            return _source_unreadable(text)
        if isinstance(link, adbc_driver_manager.Error):
            return (
                _source_unreadable(text)
                if "[sqlite]" in text
                else _PASSWORD
                if "authentication" in text
                else _ANY_STATE
            )
        if isinstance(link, asyncpg.InterfaceError | asyncpg.InternalClientError):
            return _ANY_STATE
        if isinstance(link, OSError):
            return _LOCAL_DISK_FULL if link.errno in {errno.ENOSPC, errno.EDQUOT} else _file(link)
    return None


def _source_unreadable(text: str) -> _Explanation:
    if "full" in text:
        return _LOCAL_DISK_FULL
    return _Explanation(
        SourceUnreadable,
        "the source can't be read",
        "Check the file with `sqlite3 FILE 'PRAGMA integrity_check'`, and restore it from a backup if it is damaged.",
    )


def _file(error: OSError) -> _Explanation | None:
    if error.filename is None:
        return None
    return _Explanation(
        ConfigurationError, "a file can't be used", "Check that it exists and that the job's user may use it."
    )
