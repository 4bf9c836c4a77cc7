"""Errors as drivers, servers and systems raise them: those that time heals, and those that it doesn't."""

import errno
import socket
import ssl

import adbc_driver_manager
import asyncpg

from migrator.errors import ConfigurationError


def os_error(number: int, filename: str | None = None) -> OSError:
    """Make an error as the system raises it; its class follows from the number."""
    return OSError(number, "as the system says", filename) if filename else OSError(number, "as the system says")


def adbc(words: str, sqlstate: str | None = None) -> adbc_driver_manager.Error:
    """Make an error as the ADBC drivers raise it."""
    code = adbc_driver_manager.AdbcStatusCode.IO
    return adbc_driver_manager.OperationalError(words, status_code=code, sqlstate=sqlstate)


TRANSIENT = {
    "admin shutdown": asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    "crash shutdown": asyncpg.CrashShutdownError("terminating connection because of crash"),
    "starting up": asyncpg.CannotConnectNowError("the database system is starting up"),
    "too many connections": asyncpg.TooManyConnectionsError("sorry, too many clients already"),
    "deadlock": asyncpg.DeadlockDetectedError("deadlock detected"),
    "serialization": asyncpg.SerializationError("could not serialize access"),
    "lock not available": asyncpg.LockNotAvailableError("canceling statement due to lock timeout"),
    "connection lost": asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    "idle in transaction": asyncpg.IdleInTransactionSessionTimeoutError("terminating connection"),
    "closed before": asyncpg.InterfaceError("cannot perform operation: connection is closed"),
    "ended while idle": asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
    "no host takes writes": asyncpg.exceptions.TargetServerAttributeNotMatched("none of the hosts match"),
    "pgbouncer waits for its server": asyncpg.ProtocolViolationError(
        "server login has been failing (server_login_retry)"
    ),
    "refused": ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"),
    "reset": ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    "unreachable": os_error(errno.EHOSTUNREACH),
    "no network": os_error(errno.ENETUNREACH),
    "broken pipe": BrokenPipeError(errno.EPIPE, "Broken pipe"),
    "timeout": TimeoutError(),
    "refused on all addresses": OSError(
        "Multiple exceptions: [Errno 111] Connect call failed ('::1', 5432, 0, 0), ..."
    ),
    "name does not resolve": socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "name is unknown": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    "socket not there yet": os_error(errno.ENOENT),
    "tls cut": ssl.SSLError(1, "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol"),
    "libpq refused": adbc("IO: [libpq] Failed to connect: connection to server at ... failed: Connection refused"),
    "libpq cut": adbc("IO: [libpq] server closed the connection unexpectedly"),
    "libpq code": adbc("IO: [libpq] FATAL: terminating connection", "57P01"),
    "sqlite busy by adbc": adbc("IO: [SQLite] database is locked"),
    "all of a group": ExceptionGroup("", [TimeoutError(), ConnectionResetError()]),
}
FINAL = {
    "wrong password": asyncpg.InvalidPasswordError("password authentication failed"),
    "no login": asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry"),
    "unknown database": asyncpg.InvalidCatalogNameError('database "d" does not exist'),
    "disk full": asyncpg.DiskFullError("could not extend file"),
    "out of memory": asyncpg.OutOfMemoryError("out of memory"),
    "read-only": asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
    "privilege": asyncpg.InsufficientPrivilegeError("permission denied for table t"),
    "statement timeout": asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
    "no tls": ConnectionError('PostgreSQL server at "h:1" rejected SSL upgrade'),
    "untrusted": ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate"),
    "tls mismatch": ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"),
    "busy connection": asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
    "missing file": os_error(errno.ENOENT, "/data/dryad.db"),
    "no permission": os_error(errno.EACCES, "/data/dryad.db"),
    "local disk full": os_error(errno.ENOSPC),
    "libpq password": adbc("IO: [libpq] Failed to connect: FATAL:  password authentication failed for user"),
    "libpq code": adbc("[libpq] ERROR: permission denied", "42501"),
    "our own": ConfigurationError("no target is set"),
    "bug": TypeError("unsupported operand"),
    "one of a group": ExceptionGroup("", [TimeoutError(), asyncpg.DiskFullError("no space left")]),
}
