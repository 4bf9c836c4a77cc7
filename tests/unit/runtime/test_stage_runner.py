"""The runner: one stage at a time, its name on every line, its failures in our words, its time taken."""

import asyncio
from collections.abc import Callable, Iterator

import asyncpg
import pytest
import structlog
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from tenacity import AsyncRetrying

from migrator.errors import GaveUp, RowsInTheWay, TargetRefused
from migrator.runtime.retry import RetryLimits, retry_policy
from migrator.runtime.stage_runner import StageRunner, StageTiming

log = structlog.get_logger()


async def no_sleep(_seconds: float) -> None:
    """Return at once."""


def policy(stage: str) -> AsyncRetrying:
    """Three tries, without waiting."""
    return retry_policy(stage, RetryLimits(seconds=3600, attempts=3), sleep=no_sleep)


def ticking(*times: float) -> Callable[[], float]:
    """Make a clock that shows these times, one a look."""
    hands: Iterator[float] = iter(times)
    return lambda: next(hands)


async def test_a_stage_returns_what_it_does_and_is_timed() -> None:
    """The name is bound to whatever is logged meanwhile, and to nothing afterwards."""
    run = StageRunner(policy, ticking(10.0, 12.5))

    async def action() -> str:
        log.info("table.copied")
        return "rows"

    with capture_logs(processors=[merge_contextvars]) as events:
        assert await run("copy", action) == "rows"
        log.info("job.finished")
    assert [(e["event"], e.get("stage")) for e in events] == [
        ("stage.started", "copy"),
        ("table.copied", "copy"),
        ("stage.finished", "copy"),
        ("job.finished", None),
    ]
    assert events[2]["seconds"] == 2.5
    assert run.timings == [StageTiming("copy", 0.0, 2.5, 1)]


async def test_what_is_transient_is_tried_again() -> None:
    """The action is called anew; tries and their time are part of the timing."""
    run, calls = StageRunner(policy, ticking(0.0, 1.0)), 0

    async def action() -> int:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ConnectionResetError
        return calls

    with capture_logs() as events:
        assert await run("verify", action) == 3
    assert run.timings == [StageTiming("verify", 0.0, 1.0, 3)]
    assert [e["event"] for e in events].count("retry.scheduled") == 2
    assert events[-1]["attempts"] == 3


async def test_a_refusal_is_put_in_our_words_and_names_the_stage() -> None:
    """The driver's error is the cause; the one who reads the log needs stage and next step."""
    run = StageRunner(policy)

    async def action() -> None:
        raise asyncpg.DiskFullError("could not extend file")

    with pytest.raises(TargetRefused, match="disk is full") as caught:
        await run("copy", action)
    assert caught.value.facts["stage"] == "copy"
    assert isinstance(caught.value.__cause__, asyncpg.DiskFullError)
    assert run.timings == []


async def test_our_own_error_passes_with_its_facts() -> None:
    """It is the same object, and a stage that it names already stays."""
    error = RowsInTheWay("table t holds 3 rows", table="t", stage="preflight")

    async def action() -> None:
        raise error

    with pytest.raises(RowsInTheWay) as caught:
        await StageRunner(policy)("copy", action)
    assert caught.value is error
    assert error.facts == {"table": "t", "stage": "preflight"}


async def test_patience_ends() -> None:
    """What stays away for all tries ends the job with the code that says: try again later."""

    async def action() -> None:
        raise ConnectionRefusedError

    with pytest.raises(GaveUp, match="wait: gave up after 3 tries"):
        await StageRunner(policy)("wait", action)


async def test_a_bug_stays_what_it_is() -> None:
    """It is neither retried nor dressed up."""
    calls = []

    async def action() -> None:
        calls.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await StageRunner(policy)("copy", action)
    assert len(calls) == 1


async def test_being_cancelled_is_no_failure() -> None:
    """A signal cancels the task; the runner neither retries nor explains that."""
    begun = asyncio.Event()

    async def action() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(StageRunner(policy)("copy", action))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_belongs_to_no_stage_is_tried_again_too() -> None:
    """It is no stage to anybody: neither in the log, nor among the durations."""
    run = StageRunner(policy)
    tries = iter([ConnectionResetError(), None])

    async def action() -> str:
        if (error := next(tries)) is not None:
            raise error
        return "done"

    with capture_logs() as lines:
        assert await run.retry("plan", action) == "done"
    assert [line["event"] for line in lines] == ["retry.scheduled"]
    assert run.timings == []
