"""A reading session can't write, serves one table after another, and is closed by whoever is last in it."""

import threading
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import pytest
from fix_job import settings_of
from fix_postgres import Database

from migrator.reading import Reader, reading_session

pytestmark = pytest.mark.one_server


@pytest.fixture
def uri(environment: pytest.MonkeyPatch, database: Database) -> str:
    """Give libpq's address of the database."""
    del environment
    return settings_of("unused.db", database).target.libpq_uri()  # type: ignore[arg-type]


def one(cursor: Any, statement: str) -> object:  # noqa: ANN401 - the driver ships no types
    """Return the one value of a statement."""
    cursor.execute(statement)
    [[value]] = cursor.fetchall()
    return value


def test_it_can_not_write(uri: str) -> None:
    """Not even by mistake."""
    with reading_session(uri) as cursor, pytest.raises(adbc.Error, match="read-only"):
        cursor.execute("CREATE TABLE t ()")


def test_one_session_serves_many(uri: str) -> None:
    """It is opened when first needed, kept, and closed."""
    reader = Reader(uri)
    backends = {reader.read(lambda cursor: one(cursor, "SELECT pg_backend_pid()")) for _ in range(3)}
    assert len(backends) == 1
    reader.close()
    with pytest.raises(adbc.Error):
        reader.read(lambda cursor: one(cursor, "SELECT 1"))


def test_it_is_not_closed_under_a_reader(uri: str) -> None:
    """Whoever is still reading reads on, and closes the session at the end."""
    reader = Reader(uri)
    reading, closed = threading.Event(), threading.Event()
    seen: list[object] = []

    def work(cursor: Any) -> None:  # noqa: ANN401 - the driver ships no types
        reading.set()
        closed.wait(30)
        seen.append(one(cursor, "SELECT 7"))

    thread = threading.Thread(target=reader.read, args=[work])
    thread.start()
    assert reading.wait(30)
    reader.close()
    closed.set()
    thread.join(30)
    assert seen == [7]
    with pytest.raises(adbc.Error):
        reader.read(lambda cursor: one(cursor, "SELECT 1"))
