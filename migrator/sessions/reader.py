"""Opens read-only sessions of the target, in which every value has one spelling. Verify reads through them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
from adbc_driver_manager import AdbcStatusCode

from migrator.concurrency.blocking import BlockingConnection
from migrator.errors import ConfigurationError
from migrator.names import quote_literal
from migrator.sessions.address import TargetAddress
from migrator.sessions.login import refuses_startup_parameter
from migrator.sessions.settings import GIVEN, READING, as_json, settle
from migrator.sessions.watchdog import Watchdog

_BEGIN_WITH = "-c quote_all_identifiers=off -c statement_timeout=0 -c jit=off"
"""Options for the driver's first queries: they look for types by unquoted names, and exceed some time limits."""

_POOLED: set[tuple[tuple[str, int], ...]] = set()
"""Hosts and ports where a pooler has refused these options."""


class ReadOnlySession:
    """
    A session of the target that is open while a ``with`` block runs. Only one thread at a time may use it.

    All methods that wait for the server raise what the ADBC driver raises. They raise TimeoutError if an answer is
    overdue by ``address.stall_timeout_seconds`` and the server doesn't work on it, or if ``disconnect`` was called.
    """

    def __init__(self, address: TargetAddress) -> None:
        self._watchdog = Watchdog(address)
        self._given = address.settings()
        self._snapshot = address.snapshot
        self._places = tuple(address.places())
        self._opened = ExitStack()
        self._cursor: Any = None

    def __enter__(self) -> Self:
        """Connect, and settle the session's settings."""
        try:
            self._opened.enter_context(self._watchdog)
            with self._watchdog.waiting():
                connection = self._opened.enter_context(self._connect())
            self._cursor = self._opened.enter_context(connection.cursor())
            if self._given:
                self.rows(GIVEN, [as_json(self._given)])
            [(backend, _, quoted)] = self.rows(settle(READING))
            self._watchdog.set_backend_pid(backend)
            _refuse_quoted(quoted=quoted)
            if self._snapshot:
                self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                self.execute(f"SET TRANSACTION SNAPSHOT {quote_literal(self._snapshot)}")
        except BaseException:
            self._opened.close()
            raise
        return self

    def _connect(self) -> adbc.Connection:
        """Log in. The driver queries types at once, so the settings that its queries need are start-up options."""
        if self._places not in _POOLED:
            try:
                return adbc.connect(self._watchdog.uri(_BEGIN_WITH), autocommit=True)
            except adbc.Error as error:
                if not refuses_startup_parameter(error):
                    raise
                _POOLED.add(self._places)
        return adbc.connect(self._watchdog.uri(), autocommit=True)

    def __exit__(self, *_details: object) -> None:
        """Close the session."""
        self._opened.close()

    def execute(self, statement: str) -> None:
        """Run a statement that has no answer."""
        with self._watchdog.waiting():
            self._cursor.execute(statement)

    def rows(self, statement: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """Return all rows of a statement as Python values."""
        with self._watchdog.waiting():
            self._cursor.execute(statement, parameters)
            rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        return rows

    def table(self, statement: str, parameters: Sequence[object] | None = None) -> pa.Table:
        """Return all rows of a statement as an Arrow table."""
        with self._watchdog.waiting():
            self._cursor.execute(statement, parameters)
            return self._cursor.fetch_arrow_table()

    @contextmanager
    def batches(self, statement: str, batch_bytes: int) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        """Yield a statement's schema, and an iterator over record batches of about ``batch_bytes`` bytes."""
        with self._watchdog.waiting():
            self._cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(batch_bytes)})
            self._cursor.execute(statement)
            reader = self._cursor.fetch_record_batch()
        with reader:
            yield reader.schema, self._each(reader)

    def _each(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        while True:
            with self._watchdog.waiting(), _driver_errors():
                batch = next(reader, None)
            if batch is None:
                return
            yield batch

    def disconnect(self) -> None:
        """End the session from another thread. A thread that waits in the session gets an error."""
        self._watchdog.disconnect("nobody waits for it any more")


def _refuse_quoted(*, quoted: bool) -> None:
    """Raise ConfigurationError if the server quoted all names while the driver logged in and queried types."""
    if quoted:
        raise ConfigurationError(
            "quote_all_identifiers is on for the role or the database, and the pooler in between does not reset it",
            next_step="Run ALTER ROLE … SET quote_all_identifiers = off, or point the job at the server itself.",
        )


@contextmanager
def _driver_errors() -> Iterator[None]:
    """Raise the driver's own error instead of Arrow's OSError, which has neither an errno nor an SQLSTATE."""
    try:
        yield
    except OSError as error:
        raise adbc.OperationalError(str(error), status_code=AdbcStatusCode.IO) from error


def read_only_connection(address: TargetAddress) -> BlockingConnection[ReadOnlySession]:
    """Return a read-only session for one table after another. To close it also ends a running statement."""
    session = ReadOnlySession(address)
    return BlockingConnection(lambda: session, interrupt=session.disconnect)
