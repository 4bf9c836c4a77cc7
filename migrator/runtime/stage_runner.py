"""Runs stages: logs the start and the end, retries transient failures, and maps other failures to one clear error."""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import structlog
from msgspec import Struct
from tenacity import AsyncRetrying

from migrator.events import Event
from migrator.monitoring.tracker import Tracker
from migrator.runtime.error_mapping import to_migrator_error

T = TypeVar("T")

log = structlog.get_logger()


class StageTiming(Struct, frozen=True):
    """The time that a stage took, with its pauses, and the number of its tries."""

    stage: str
    began: float
    """The start of the stage, in seconds after the start of the run's first stage. Stages may overlap."""
    seconds: float
    attempts: int


class Around(Protocol):
    """Wraps every try of a stage, for example to watch that the server answers."""

    def __call__(self, work: Callable[[], Awaitable[T]], /) -> Awaitable[T]:
        """Do the work and return its result. If this raises a transient error, the work is tried again."""


def _nothing(work: Callable[[], Awaitable[T]]) -> Awaitable[T]:
    return work()


class StageRunner:
    """
    Runs a stage when it is called with the stage's name and the stage's work.

    While the stage runs, every log line gets its name as the field ``stage``. ``timings`` lists the stages that
    succeeded, in the order of their ends.
    """

    def __init__(
        self,
        retry_policy: Callable[[str], AsyncRetrying],
        clock: Callable[[], float] = time.monotonic,
        around: Around = _nothing,
        tracker: Tracker | None = None,
    ) -> None:
        """
        ``retry_policy`` makes the policy for a named stage, ``clock`` counts seconds, ``around`` wraps every try.

        ``tracker`` is told which stages are under way.
        """
        self.tracker = tracker or Tracker()
        self.timings: list[StageTiming] = []
        self._first_began: float | None = None
        self._retry_policy = retry_policy
        self._clock = clock
        self._around = around

    async def __call__(self, stage: str, action: Callable[[], Awaitable[T]]) -> T:
        """
        Run a stage and return its result. ``action`` is called once for each try, so it must be repeatable.

        Raises a MigratorError that has the stage among its facts. An error that no rule maps is raised unchanged.
        """
        began = self._clock()
        if self._first_began is None:
            self._first_began = began
        start_seconds = began - self._first_began
        attempts = 0

        async def attempt() -> T:
            nonlocal attempts
            attempts += 1
            return await action()

        with structlog.contextvars.bound_contextvars(stage=stage), self.tracker.stage(stage):
            log.info(Event.STAGE_STARTED)
            try:
                result: T = await self._retry(stage, attempt)
            except Exception as error:
                known = to_migrator_error(error)
                if known is None:
                    raise
                known.facts.setdefault("stage", stage)
                if known is error:
                    raise
                raise known from error
            timing = StageTiming(stage, start_seconds, self._clock() - began, attempts)
            self.timings.append(timing)
            tries = {"attempts": attempts} if attempts > 1 else {}
            log.info(Event.STAGE_FINISHED, seconds=round(timing.seconds, 3), **tries)
        return result

    async def retry(self, what: str, action: Callable[[], Awaitable[T]]) -> T:
        """Do work that belongs to no stage, with the same retries. It has no timing, and its start isn't logged."""
        with self.tracker.stage(what, is_step=True):
            return await self._retry(what, action)

    async def _retry(self, what: str, action: Callable[[], Awaitable[T]]) -> T:
        async def attempt() -> T:
            self.tracker.attempt(what)
            return await self._around(action)

        result: T = await self._retry_policy(what)(attempt)
        return result
