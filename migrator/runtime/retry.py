"""
Decides which errors are transient, and how often and how long the job tries again.

A refusal is never retried, since the server would refuse again: wrong password, unknown database, no privilege, full
disk, read-only server. ``error_mapping`` explains these errors. The codes come from the PostgreSQL manual, appendix
"PostgreSQL Error Codes". Retries are limited in time and in number, and each pause is logged.
"""

import asyncio
import errno
import socket
import sqlite3
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import adbc_driver_manager
import asyncpg
import sqlalchemy.exc
import structlog
from msgspec import Struct
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    stop_never,
    wait_random_exponential,
)

from migrator.errors import GaveUp, MigratorError
from migrator.events import Event
from migrator.monitoring.snapshot import Pause

log = structlog.get_logger()

TRANSIENT_STATES: Final = frozenset(
    {
        "08000",  # connection_exception
        "08001",  # sqlclient_unable_to_establish_sqlconnection
        "08003",  # connection_does_not_exist
        "08006",  # connection_failure
        "25P03",  # idle_in_transaction_session_timeout: the connection is gone, nothing else is wrong
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "53300",  # too_many_connections
        "55P03",  # lock_not_available
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now: starting up, recovering or shutting down
        "57P05",  # idle_session_timeout
    }
)

TRANSIENT_ERRNOS: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.EPIPE,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.EADDRNOTAVAIL,
        errno.EAGAIN,  # a Unix socket whose server's queue is full
    }
)

# These errors have no SQLSTATE of their own, so their text decides: libpq's messages (always English in the ADBC
# wheel), and PgBouncer's messages under 08P01.
TRANSIENT_WORDS: Final = (
    "connection refused",
    "connection reset",
    "connection timed out",
    "timeout expired",
    "could not translate host name",
    "network is unreachable",
    "no route to host",
    "broken pipe",
    "server closed the connection",
    "connection to server was lost",
    "connection to server has been lost",
    "no connection to the server",
    "could not receive data from server",
    "could not send data to server",
    "ssl connection has been closed",
    "ssl syscall error",
    "the database system is ",
    "terminating connection",
    "too many clients",
    "remaining connection slots",
    "database is locked",
    "database table is locked",
    "server_login_retry",
    "query_wait_timeout",
    "server conn crashed",
    "pgbouncer cannot connect to server",
)

CLOSED_WORDS: Final = ("connection is closed", "connection was closed", "connection has been released")

# asyncpg's message for a statement on a session that the server has just ended: it is still reading the reason.
CUT_WORDS: Final = ("another operation (2) is in progress",)

# A TLS peer that closes the connection without notice. Every other TLS failure is an error of the configuration.
TLS_CUT_WORDS: Final = ("eof occurred", "unexpected eof", "close_notify")

FIRST_PAUSE_SECONDS: Final = 0.5

SHORTEST_PAUSE_SECONDS: Final = 0.1  # full jitter alone may give a pause near 0, too many tries for a starting server


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, then the errors that caused it: SQLAlchemy's ``orig`` and explicit causes."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        orig = getattr(link, "orig", None)
        waiting += [orig if isinstance(orig, BaseException) else None, link.__cause__]


def first_of(error: BaseException) -> BaseException:
    """Return the first error of a task group. Return any other error as it is."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE that the server sent, from the first error in the chain that holds one, or None."""
    for link in chain(error):
        state = getattr(link, "sqlstate", None)
        if isinstance(state, str) and state:
            return state
    return None


def short_message(error: BaseException) -> str:
    """
    Return one line for people: the first line of the driver's message, without SQLAlchemy's wrapping, SQL, or DETAIL.

    DETAIL is omitted because it quotes rows.
    """
    error = first_of(error)
    cause = next((link for link in chain(error) if not type(link).__module__.startswith("sqlalchemy.")), error)
    lines = str(cause).strip().splitlines()
    if lines:
        return lines[0]
    return "no answer in time" if isinstance(cause, TimeoutError) else type(cause).__name__


def in_words(error: BaseException) -> str:
    """Return what a server did, to follow its name: "refused the connection"; else the short message."""
    for link in chain(first_of(error)):
        for kind, words in _WORDS:
            if isinstance(link, kind):
                return words
    return short_message(error)


_WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ConnectionRefusedError, "refused the connection"),
    (ConnectionResetError, "closed the connection"),
    (BrokenPipeError, "closed the connection"),
    (socket.gaierror, "has a name that can't be resolved"),
    (TimeoutError, "does not answer"),
    (asyncpg.CannotConnectNowError, "is starting up or shutting down"),
    (asyncpg.TooManyConnectionsError, "has no free connection"),
)


def is_transient(error: BaseException) -> bool:
    """
    Return whether the same attempt may succeed a little later.

    A group of errors is transient if each of its errors is transient. A MigratorError is never transient.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(is_transient(member) for member in error.exceptions)
    for link in chain(error):
        transient = _is_transient_link(link)
        if transient is not None:
            return transient
    return False


def _is_transient_link(error: BaseException) -> bool | None:  # noqa: PLR0911 - the first match decides
    """Return whether one error of the chain is transient, or None if that can't be decided from it."""
    state = getattr(error, "sqlstate", None)
    text = str(error).lower()
    if isinstance(error, MigratorError):
        return False
    if isinstance(state, str) and state:
        return state in TRANSIENT_STATES or (state == "08P01" and _has(text, TRANSIENT_WORDS))
    if isinstance(error, asyncpg.exceptions.TargetServerAttributeNotMatched):
        return True  # during a failover no host accepts writes for a moment
    if isinstance(error, asyncpg.InterfaceError):
        return _has(text, CLOSED_WORDS)
    if isinstance(error, asyncpg.InternalClientError):
        return _has(text, CUT_WORDS)
    if isinstance(error, adbc_driver_manager.Error):
        return _has(text, TRANSIENT_WORDS)
    if isinstance(error, sqlite3.OperationalError):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, OSError):
        return _is_transient_network_error(error, text)
    return None


def _is_transient_network_error(error: OSError, text: str) -> bool:
    if isinstance(error, ssl.SSLError):
        return not isinstance(error, ssl.SSLCertVerificationError) and _has(text, TLS_CUT_WORDS)
    if isinstance(error, TimeoutError | socket.gaierror):
        return True
    if isinstance(error, ConnectionError):
        return "rejected ssl upgrade" not in text
    if error.errno == errno.ENOENT:
        return error.filename is None  # a Unix socket that the server hasn't made yet; a missing file has a name
    # If a host name has several addresses, asyncio joins their errors into one error without an errno.
    return error.errno in TRANSIENT_ERRNOS or (error.errno is None and "connect call failed" in text)


def _has(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


Sleep = Callable[[float], Awaitable[None]]


class RetryLimits(Struct, frozen=True):
    """The limits for the tries of one piece of work."""

    attempts: int | None = None
    """The largest number of tries, or None for no limit."""
    seconds: float = float("inf")
    """The time for all tries and the pauses between them, in seconds."""
    longest_pause: float = 30
    """The longest pause between two tries, in seconds."""


OnPause = Callable[[Pause], None]
"""Is told of each pause before it begins."""


def _ignore(_pause: Pause) -> None:
    return


def retry_policy(
    what: str, limits: RetryLimits, *, sleep: Sleep = asyncio.sleep, on_pause: OnPause = _ignore
) -> AsyncRetrying:
    """
    Make a retry policy: random exponential pauses, until the next try would exceed one of the ``limits``.

    Use a new policy for each piece of work. ``what`` names the work in the error, and ``sleep`` makes the pauses, of
    which ``on_pause`` is told. An error that isn't transient passes through at once and unchanged. At the limit, the
    policy raises GaveUp from the last error. It doesn't interrupt a try that is under way.
    """
    pauses = wait_random_exponential(
        multiplier=FIRST_PAUSE_SECONDS, min=SHORTEST_PAUSE_SECONDS, max=limits.longest_pause
    )
    return AsyncRetrying(
        retry=retry_if_exception(is_transient),
        wait=pauses,
        # stop_after_delay could exceed the deadline of the Kubernetes job by one pause.
        stop=stop_before_delay(limits.seconds)
        | (stop_after_attempt(limits.attempts) if limits.attempts else stop_never),
        before_sleep=lambda state: _announce(what, limits, on_pause, state),
        retry_error_callback=lambda state: _give_up(what, state),
        sleep=sleep,
    )


def _announce(what: str, limits: RetryLimits, on_pause: OnPause, state: RetryCallState) -> None:
    error = _error_of(state)
    on_pause(
        Pause(
            what,
            in_words(error),
            state.attempt_number,
            state.upcoming_sleep,
            limits.attempts,
            state.seconds_since_start or 0.0,
            limits.seconds if limits.seconds < float("inf") else None,
        )
    )
    log.warning(
        Event.RETRY_SCHEDULED,
        attempt=state.attempt_number,
        pause_seconds=round(state.upcoming_sleep, 2),
        error=short_message(error),
        reason=in_words(error),
    )


def _give_up(what: str, state: RetryCallState) -> None:
    error = _error_of(state)
    seconds = round(state.seconds_since_start or 0, 1)
    tries = f"{state.attempt_number} tries" if state.attempt_number > 1 else "1 try"
    raise GaveUp(
        f"{what}: gave up after {tries} in {seconds} s: {short_message(error)}",
        next_step="Run the job again when the cause is gone; it goes on where it stopped.",
        attempts=state.attempt_number,
        seconds=seconds,
    ) from error


def _error_of(state: RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    return error or RuntimeError("nothing was tried")
