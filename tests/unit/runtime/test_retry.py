"""Retry: what time can heal is tried again within exact bounds, everything else isn't."""

import socket
import sqlite3
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path

import asyncpg
import pytest
from errors_seen import FINAL, TRANSIENT
from fix_postgres import Database
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs
from tenacity import AsyncRetrying, RetryCallState

from migrator.errors import ConfigurationError, GaveUp
from migrator.runtime.retry import (
    SHORTEST_PAUSE_SECONDS,
    RetryLimits,
    is_transient,
    retry_policy,
    short_message,
    sqlstate_of,
)
from migrator.sessions.address import TargetAddress
from migrator.sessions.url import from_url


@pytest.mark.parametrize("error", TRANSIENT.values(), ids=list(TRANSIENT))
def test_what_time_heals(error: BaseException) -> None:
    """The server or the network is away for a moment."""
    assert is_transient(error)


@pytest.mark.parametrize("error", FINAL.values(), ids=list(FINAL))
def test_what_would_only_be_refused_again(error: BaseException) -> None:
    """A second try would cost time and bring the same answer."""
    assert not is_transient(error)


def test_the_cause_decides_unless_the_error_is_ours() -> None:
    """Wrapping hides nothing; an error of our tree was decided on already, whatever it came from."""
    wrapped = RuntimeError("while copying")
    wrapped.__cause__ = ConnectionResetError()
    ours = ConfigurationError("no")
    ours.__cause__ = ConnectionResetError()
    assert is_transient(wrapped)
    assert not is_transient(ours)


def test_causes_in_a_circle_end() -> None:
    """Python allows them."""
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert not is_transient(one)
    assert short_message(one) == "one"


async def test_a_killed_session_through_sqlalchemy(database: Database) -> None:
    """The code of the server is found behind SQLAlchemy's wrapping, on the statement that finds out."""
    engine = create_async_engine(from_url(database.url, {}).sqlalchemy_url())
    try:
        async with engine.connect() as connection:
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar()
            await database.fetch("SELECT pg_terminate_backend($1)", pid, as_admin=True)
            with pytest.raises(DBAPIError) as caught:
                await connection.execute(text("SELECT 1"))
    finally:
        await engine.dispose()
    assert is_transient(caught.value)


async def test_a_refusal_through_sqlalchemy(database: Database) -> None:
    """A refusal stays one behind the wrapping, and its line holds neither SQL nor the row."""
    await database.execute("CREATE TABLE t (k text PRIMARY KEY); INSERT INTO t VALUES ('row data')")
    engine = create_async_engine(from_url(database.url, {}).sqlalchemy_url())
    try:
        async with engine.connect() as connection:
            with pytest.raises(DBAPIError) as caught:
                await connection.execute(text("INSERT INTO t VALUES ('row data')"))
    finally:
        await engine.dispose()
    assert not is_transient(caught.value)
    assert sqlstate_of(caught.value) == "23505"
    assert "row data" not in short_message(caught.value)
    assert "INSERT" not in short_message(caught.value)


def test_a_busy_source(tmp_path: Path) -> None:
    """SQLite says busy while another process writes; a damaged file is no matter of time."""
    holder = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, timeout=0)
    try:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError) as busy:
            other.execute("CREATE TABLE t (a)")
        with pytest.raises(sqlite3.OperationalError) as wrong:
            other.execute("no SQL")
    finally:
        holder.close()
        other.close()
    assert is_transient(busy.value)
    assert not is_transient(wrong.value)


class Clock:
    """Sleeping without waiting: remembers the pauses."""

    def __init__(self) -> None:
        """Begin with no pause."""
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Remember the pause and return at once."""
        self.pauses.append(seconds)


def failing(*errors: BaseException) -> Callable[[], Awaitable[int]]:
    """Make an action that raises these, one a call, and then returns 7."""
    left = list(errors)

    async def action() -> int:
        if left:
            raise left.pop(0)
        return 7

    return action


async def test_it_goes_on_until_it_succeeds_and_says_so() -> None:
    """Each pause is an event with attempt, pause and error; the result is the action's."""
    clock = Clock()
    with capture_logs() as events:
        policy = retry_policy("copy", RetryLimits(seconds=3600, attempts=5), sleep=clock.sleep)
        assert await policy(failing(ConnectionResetError("reset by peer"), TimeoutError())) == 7
    assert [(e["event"], e["attempt"], e["error"]) for e in events] == [
        ("retry.scheduled", 1, "reset by peer"),
        ("retry.scheduled", 2, "no answer in time"),
    ]
    assert len(clock.pauses) == 2
    assert all(pause >= SHORTEST_PAUSE_SECONDS for pause in clock.pauses)


async def test_a_refusal_passes_through_at_once_and_unchanged() -> None:
    """Nobody sleeps over a wrong password."""
    clock, error = Clock(), asyncpg.InvalidPasswordError("password authentication failed")
    with pytest.raises(asyncpg.InvalidPasswordError) as caught:
        await retry_policy("wait", RetryLimits(seconds=3600), sleep=clock.sleep)(failing(error, error))
    assert caught.value is error
    assert clock.pauses == []


async def test_it_gives_up_after_the_attempts() -> None:
    """GaveUp names the stage, the tries and the last error, and is worth another run by its exit code."""
    clock = Clock()
    with pytest.raises(GaveUp, match=r"copy: gave up after 3 tries in .* s: no answer in time") as caught:
        await retry_policy("copy", RetryLimits(seconds=3600, attempts=3), sleep=clock.sleep)(
            failing(*[TimeoutError()] * 9)
        )
    assert len(clock.pauses) == 2
    assert caught.value.facts["attempts"] == 3
    assert isinstance(caught.value.__cause__, TimeoutError)


@pytest.mark.parametrize(
    ("elapsed", "pause", "over"),
    [
        (Fraction(0), Fraction(1, 10), False),
        (Fraction(119), Fraction(999, 1000), False),
        (Fraction(119), Fraction(1), True),
        (Fraction(120), Fraction(0), True),
        (Fraction(100), Fraction(30), True),
    ],
)
def test_the_bound_in_time_includes_the_next_pause(elapsed: Fraction, pause: Fraction, *, over: bool) -> None:
    """Whoever set the deadline counts on it: no pause goes beyond."""
    policy = retry_policy("wait", RetryLimits(seconds=120))
    state = RetryCallState(policy, None, (), {})
    state.start_time = 0
    state.outcome_timestamp = elapsed  # type: ignore[assignment]
    state.upcoming_sleep = pause  # type: ignore[assignment]
    assert policy.stop(state) is over


def pauses(policy: AsyncRetrying, attempt: int) -> list[float]:
    """Draw many pauses after an attempt."""
    state = RetryCallState(policy, None, (), {})
    state.attempt_number = attempt
    return [policy.wait(state) for _ in range(500)]


def test_pauses_grow_and_are_random_within_bounds() -> None:
    """Jitter keeps a hundred pods from knocking at the same moment; the longest pause is the setting's."""
    policy = retry_policy("wait", RetryLimits(seconds=3600, longest_pause=8))
    for attempt, longest in [(1, 0.5), (2, 1), (3, 2), (5, 8), (50, 8)]:
        drawn = pauses(policy, attempt)
        assert SHORTEST_PAUSE_SECONDS <= min(drawn) < max(drawn) <= longest
        assert max(drawn) > longest / 2


async def test_a_real_refused_connection_is_transient() -> None:
    """The name localhost has two addresses, and asyncio folds their errors into one without a number."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = TargetAddress(("localhost",), (held.getsockname()[1],), "d", "u")
        with pytest.raises(OSError) as caught:  # noqa: PT011 - which subclass depends on the addresses of localhost
            await asyncpg.connect(**address.asyncpg_arguments())
    assert is_transient(caught.value)
