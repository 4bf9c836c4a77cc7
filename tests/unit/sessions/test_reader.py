"""A reading session can't write, serves one table after another, and is cut when nobody waits for it any more."""

import threading

import adbc_driver_postgresql.dbapi as adbc
import pytest
from fix_postgres import Database

from migrator.runtime.retry import is_transient
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession, read_only_connection
from migrator.sessions.url import from_url

pytestmark = pytest.mark.one_server


@pytest.fixture
def address(database: Database) -> TargetAddress:
    """Give the address of the database."""
    return from_url(database.url, {})


def one(session: ReadOnlySession, statement: str) -> object:
    """Return the one value of a statement."""
    [[value]] = session.rows(statement)
    return value


def test_it_can_not_write(address: TargetAddress) -> None:
    """Not even by mistake."""
    with ReadOnlySession(address) as session, pytest.raises(adbc.Error, match="read-only"):
        session.execute("CREATE TABLE t ()")


def test_one_session_serves_many(address: TargetAddress) -> None:
    """It is opened when first needed, kept, and closed."""
    reading = read_only_connection(address)
    backends = {reading.call(lambda session: one(session, "SELECT pg_backend_pid()")) for _ in range(3)}
    assert len(backends) == 1
    reading.close()
    with pytest.raises(adbc.Error):
        reading.call(lambda session: one(session, "SELECT 1"))


def test_a_stream_that_is_lost_midway_may_be_tried_again(address: TargetAddress) -> None:
    """The driver names the loss of a session, whether it answers at once or a stream has been read for a while."""
    with ReadOnlySession(address) as session, ReadOnlySession(address) as other:
        backend = one(session, "SELECT pg_backend_pid()")
        rows = "SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 100000) i"
        with session.batches(rows, 10_000) as (_schema, batches):
            next(batches)
            other.rows(f"SELECT pg_terminate_backend({backend})")
            with pytest.raises(adbc.Error) as caught:
                list(batches)
    assert is_transient(caught.value)


def test_it_is_cut_under_a_thread_that_nobody_waits_for(address: TargetAddress) -> None:
    """Closing doesn't wait for what is under way, for that may take hours; the thread ends, and with it the session."""
    reading = read_only_connection(address)
    begun = threading.Event()
    raised: list[Exception] = []

    def work(session: ReadOnlySession) -> None:
        begun.set()
        session.rows("SELECT pg_sleep(600)")

    def read() -> None:
        try:
            reading.call(work)
        except TimeoutError as error:
            raised.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(30)
    reading.close()
    thread.join(60)
    assert [is_transient(error) for error in raised] == [True]
    with pytest.raises(TimeoutError):
        reading.call(lambda session: one(session, "SELECT 1"))
