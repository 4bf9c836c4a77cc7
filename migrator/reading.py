"""Sessions of the target that can only read, and in which every value has one spelling: verification's way in."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import adbc_driver_postgresql.dbapi as adbc

R = TypeVar("R")

# What PostgreSQL reads and writes depends on these. The copier's sessions have the same.
_SESSION = """
SET default_transaction_read_only = on;
SET default_transaction_isolation = 'repeatable read';
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET extra_float_digits = 1;
SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0
"""


@contextmanager
def reading_session(uri: str) -> Iterator[Any]:
    """Open a cursor on a session of its own that can only read, and in which values have one spelling."""
    with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in _SESSION.split(";"):
            cursor.execute(statement)
        yield cursor


class Reader:
    """
    A reading session for one table after another, opened when it is first needed.

    Whoever closes it need not know whether a thread that nobody waits for any more is still reading: then it is that
    thread which closes the session, when it is through.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._opened = ExitStack()
        self._cursor: Any = None
        self._in_use = threading.Lock()
        self._closing = False

    def read(self, work: Callable[[Any], R]) -> R:
        """Call ``work`` with the session's cursor, and return what it returns. Blocks; one thread at a time."""
        with self._in_use:
            try:
                if self._cursor is None:
                    self._cursor = self._opened.enter_context(reading_session(self._uri))
                return work(self._cursor)
            finally:
                if self._closing:
                    self._opened.close()

    def close(self) -> None:
        """Close the session, or have it closed as soon as it is not in use."""
        self._closing = True
        if self._in_use.acquire(blocking=False):
            try:
                self._opened.close()
            finally:
                self._in_use.release()
