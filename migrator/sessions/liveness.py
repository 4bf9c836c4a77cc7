"""
Tracks the sessions that wait for the server's answer, and finds out whether the answer can still come.

A statement may take hours. So no time limit can distinguish a long statement from a lost answer: a middlebox may have
forgotten the connection, or a proxy may be stuck. TCP notices a peer that is gone (``address.py``), but not a stuck
host in between. So the job asks the server, through a new connection, whether it still works on the statement.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class PendingStatements:
    """Tracks the statements of an engine for which the server has not answered yet."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._waiting: dict[Any, tuple[int, float]] = {}
        """For each waiting session, the number of its server process and the start of the wait (loop's clock)."""
        sync = engine.sync_engine
        event.listen(sync, "before_cursor_execute", lambda connection, *_: self._begin(_driver_of(connection)))
        event.listen(sync, "after_cursor_execute", lambda connection, *_: self._end(_driver_of(connection)))
        event.listen(sync, "handle_error", lambda context: self._end(_driver_of(context.connection)))
        event.listen(sync.pool, "connect", lambda _, record: record.info.update({_PENDING: self}))
        event.listen(sync.pool, "close", lambda session, _: self._end(session.driver_connection))
        # SQLAlchemy has events for the start of COMMIT and ROLLBACK, but none for their end.
        for name in ("do_commit", "do_rollback"):
            setattr(sync.dialect, name, self._watched(getattr(sync.dialect, name)))

    def _watched(self, act: Callable[[Any], None]) -> Callable[[Any], None]:
        def watched(session: Any) -> None:  # noqa: ANN401 - SQLAlchemy's adapter of asyncpg's connection
            driver = session.driver_connection
            self._begin(driver)
            try:
                act(session)
            finally:
                self._end(driver)

        return watched

    @contextmanager
    def waiting(self, driver: Any) -> Iterator[None]:  # noqa: ANN401 - asyncpg's connection, which has no types
        """Track a session that is used without SQLAlchemy. The block must do nothing else than wait for the server."""
        self._begin(driver)
        try:
            yield
        finally:
            self._end(driver)

    def _begin(self, driver: Any) -> None:  # noqa: ANN401 - asyncpg's connection, which has no types
        if driver is not None and not driver.is_closed():
            self._waiting[driver] = driver.get_server_pid(), asyncio.get_running_loop().time()

    def _end(self, driver: Any) -> None:  # noqa: ANN401 - as above
        self._waiting.pop(driver, None)

    async def check(self, arguments: Mapping[str, Any], stall_seconds: float) -> None:
        """
        Cut sessions whose answer can't come any more, and raise TimeoutError if there are any.

        An answer can't come if the server has finished the statement, or doesn't respond at all. Only sessions that
        have waited for ``stall_seconds`` are checked; without any, nothing is done. ``arguments`` are the arguments of
        ``asyncpg.connect``. If the server refuses the query, nothing is proved and nothing is raised.
        """
        now = asyncio.get_running_loop().time()
        overdue = {driver: entry for driver, entry in self._waiting.items() if now - entry[1] >= stall_seconds}
        if not overdue:
            return
        try:
            async with asyncio.timeout(stall_seconds), _connection(arguments, stall_seconds) as connection:
                numbers = [number for number, _ in overdue.values()]
                name = arguments["server_settings"]["application_name"]
                done = {row["pid"] for row in await connection.fetch(_IDLE, numbers, name, stall_seconds)}
                done |= {row["pid"] for row in await connection.fetch(_GONE, numbers, connection.get_server_pid())}
                stuck = [
                    driver
                    for driver, entry in overdue.items()
                    if entry[0] in done and self._waiting.get(driver) == entry
                ]
                self._cut(stuck)
                await connection.fetch(_TERMINATE, [overdue[driver][0] for driver in stuck], name)
        except TimeoutError:
            self._cut(overdue)
            raise TimeoutError(f"the server has said nothing for {stall_seconds:g} s") from None
        except _REFUSALS:
            return
        if stuck:
            raise TimeoutError(f"the server has finished, and its answer did not come within {stall_seconds:g} s")

    def _cut(self, sessions: Iterable[Any]) -> None:
        """End sessions at once. An orderly close would wait for the server's answer too."""
        for driver in sessions:
            driver.terminate()
            self._end(driver)


_PENDING: Final = "pending statements"


def pending_of(connection: AsyncConnection) -> PendingStatements:
    """Return what tracks the statements of the connection's engine."""
    pending: PendingStatements = connection.info[_PENDING]
    return pending


def _driver_of(connection: Connection | None) -> Any:  # noqa: ANN401 - asyncpg's connection, which has no types
    return None if connection is None or connection.invalidated else connection.connection.driver_connection


async def terminate_sessions(arguments: Mapping[str, Any], numbers: Iterable[int], seconds: float) -> bool:
    """
    Let the server end sessions whose connections were given up, and return whether it was reached within ``seconds``.

    ``numbers`` are the numbers of the server processes, ``arguments`` the arguments of ``asyncpg.connect``. The server
    may not know that the client is gone, and would keep the locks of these sessions for hours. If a number belongs to
    no session any more, or to another client's session, nothing is done for this number.
    """
    with suppress(TimeoutError, *_REFUSALS):
        async with asyncio.timeout(seconds), _connection(arguments, seconds) as connection:
            await connection.fetch(_TERMINATE, list(numbers), arguments["server_settings"]["application_name"])
            return True
    return False


async def diagnose_session(
    arguments: Mapping[str, Any], backend: int, stall_seconds: float, *, unreachable_is_lost: bool
) -> str | None:
    """
    Return the reason why the answer to a session is lost; None if the answer may still come.

    The session has waited for ``stall_seconds``. ``backend`` is the result of ``pg_backend_pid()`` in the session.
    ``arguments`` are the arguments of ``asyncpg.connect``. At first an unreachable server proves nothing, because the
    waiting session may soon get an error itself. With ``unreachable_is_lost`` the answer of an unreachable server
    counts as lost.
    """
    try:
        async with asyncio.timeout(stall_seconds), _connection(arguments, stall_seconds) as connection:
            at_work = await connection.fetchval(_AT_WORK, backend, stall_seconds)
    except TimeoutError:
        return f"the server has said nothing for {stall_seconds:g} s"
    except asyncpg.PostgresError:
        return None  # the server is reachable, but can't answer the query at the moment
    except _REFUSALS as error:
        return f"the server can't be reached: {error}" if unreachable_is_lost else None
    return None if at_work else f"the server has finished, and its answer did not come within {stall_seconds:g} s"


@asynccontextmanager
async def _connection(arguments: Mapping[str, Any], seconds: float) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(**{**arguments, "timeout": seconds})
    try:
        # A setting may switch the login role to another role, which isn't allowed to see the login role's sessions.
        await connection.execute("SET ROLE NONE")
        yield connection
    finally:
        connection.terminate()


_REFUSALS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

_TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = ANY ($1::int[]) AND usename = session_user AND application_name = $2
"""

_IDLE = """
SELECT pid FROM pg_stat_activity
WHERE pid = ANY ($1::int[]) AND usename = session_user AND application_name = $2
  AND (state LIKE 'idle%' OR wait_event_type = 'Client') -- half a statement may have come, or half an answer gone
  AND state_change < clock_timestamp() - make_interval(secs => $3::float8 / 2)
"""

# Behind a pooler, the numbers of processes may be invented. If this session's number is the real number of its process,
# the other numbers are real too. Then a missing process is a session that the server has ended, although a host in
# between doesn't report the end.
_GONE = """
SELECT asked.pid FROM unnest($1::int[]) AS asked (pid)
WHERE pg_backend_pid() = $2 AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = asked.pid)
"""

# This number comes from the server itself, so a missing process means a session that has ended.
_AT_WORK = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE pid = $1 AND usename = session_user
      AND (NOT (coalesce(state, '') LIKE 'idle%' OR coalesce(wait_event_type, '') = 'Client')
           OR state_change >= clock_timestamp() - make_interval(secs => $2::float8 / 2))
)
"""
