"""Sessions of the target that can only read, and in which every value has one spelling: verification's way in."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
from adbc_driver_manager import AdbcStatusCode

from migrator.address import TargetAddress
from migrator.blocking import Blocking
from migrator.watchdog import Watchdog

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


class ReadingSession:
    """
    A session of the target, opened with the block, to be used by one thread at a time.

    Whatever waits for the server raises what the ADBC driver raises; and TimeoutError if an answer is overdue by
    ``address.stall_timeout_seconds`` and the server isn't at work on it, or if ``give_up`` was called.
    """

    def __init__(self, address: TargetAddress) -> None:
        self._watchdog = Watchdog(address)
        self._opened = ExitStack()
        self._cursor: Any = None

    def __enter__(self) -> Self:
        """Connect."""
        try:
            self._opened.enter_context(self._watchdog)
            with self._watchdog.waiting():
                connection = self._opened.enter_context(adbc.connect(self._watchdog.uri(), autocommit=True))
            self._cursor = self._opened.enter_context(connection.cursor())
            [(backend,)] = self.rows("SELECT pg_backend_pid()")
            self._watchdog.knows(backend)
            for statement in _SESSION.split(";"):
                self.execute(statement)
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(self, *_details: object) -> None:
        """Disconnect."""
        self._opened.close()

    def execute(self, statement: str) -> None:
        """Run a statement that has no answer."""
        with self._watchdog.waiting():
            self._cursor.execute(statement)

    def rows(self, statement: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """Return all rows of a statement as Python's own values."""
        with self._watchdog.waiting():
            self._cursor.execute(statement, parameters)
            rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        return rows

    def table(self, statement: str, parameters: Sequence[object] | None = None) -> pa.Table:
        """Return all rows of a statement as columns."""
        with self._watchdog.waiting():
            self._cursor.execute(statement, parameters)
            return self._cursor.fetch_arrow_table()

    @contextmanager
    def batches(self, statement: str, batch_bytes: int) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        """Open a stream of a statement's rows: its columns, and batches of about so many bytes."""
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

    def give_up(self) -> None:
        """Cut the session, from another thread: who waits in it gets an error."""
        self._watchdog.give_up("nobody waits for it any more")


@contextmanager
def _driver_errors() -> Iterator[None]:
    """Raise as the driver's own what Arrow's reader makes an OSError of, without a number or an SQLSTATE."""
    try:
        yield
    except OSError as error:
        raise adbc.OperationalError(str(error), status_code=AdbcStatusCode.IO) from error


def reader(address: TargetAddress) -> Blocking[ReadingSession]:
    """Return a reading session for one table after another. Closing it cuts what is under way, which may take hours."""
    session = ReadingSession(address)
    return Blocking(lambda: session, cut=session.give_up)
