"""
Goes on refreshing while the application writes to the source: ``run --refresh --watch``.

Each refresh reads a snapshot of the moment, which is deleted before the next one is made. Nothing is upgraded, and the
application may not start: the last ``run --refresh`` does both, after the application has stopped. So the only ways out
of a watch are a signal and an error.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Final, Never

import structlog
from msgspec import Struct
from msgspec.structs import asdict, replace
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from migrator.config.settings import Settings
from migrator.errors import GaveUp, SourceChanged
from migrator.events import Event
from migrator.job.context import open_source, runner_of
from migrator.job.cut_over.passes import Moment, note
from migrator.job.migrate import move
from migrator.job.plan import begun_tables, reading_of
from migrator.job.recorder import Guard, RunRecorder
from migrator.ledger.history import identity_of
from migrator.ledger.state import LastRefresh
from migrator.monitoring.snapshot import Held, Pause
from migrator.runtime.error_mapping import to_migrator_error
from migrator.runtime.retry import in_words, is_transient, short_message
from migrator.source.file import TOUCHED, Fingerprint, check_file, stamp

log = structlog.get_logger()

_STEP: Final = "watch"
"""The name of the step between two refreshes, in which the watch waits for the source to change."""


class Pass(Struct, frozen=True):
    """A refresh that has ended well."""

    source: Fingerprint
    """The source as it was read."""
    moment: Moment
    last: LastRefresh


async def keep_refreshing(settings: Settings, recorder: RunRecorder, done: Pass) -> Never:
    """
    Refresh again whenever the source has changed, after the first refresh is ``done``.

    Raises what ends a refresh, unless another try may help: then that is tried as often as a stage is.
    """
    tracker = recorder.runner.tracker
    while True:
        last = done.last
        behind = done.moment.seconds
        tracker.hold(Held(last.passes, last.inserted, last.updated, last.deleted, last.seconds, behind))
        log.info(Event.WATCH_REFRESHED, **last.to_json())
        changes = await _until_changed(settings, recorder, done.source)
        log.info(Event.WATCH_CHANGED, changes=changes)
        passes = last.passes + 1

        async def refresh_again(passes: int = passes) -> Pass:
            return await _refresh(settings, recorder, passes)

        done = await _patient(settings, recorder)(refresh_again)


async def _until_changed(settings: Settings, recorder: RunRecorder, held: Fingerprint) -> list[str]:
    """Return how the source's file differs from the state that the target holds, as soon as it does."""
    path, tracker = settings.source_path, recorder.runner.tracker
    with tracker.stage(_STEP, is_step=True):
        while True:
            await asyncio.sleep(settings.watch_interval)
            check_file(path)
            now = Fingerprint(**asdict(stamp(path)), schema_digest=held.schema_digest)
            changes = held.differences(now, but=TOUCHED)
            tracker.look(changed=bool(changes))
            if changes:
                return changes


async def _refresh(settings: Settings, recorder: RunRecorder, passes: int) -> Pass:
    """Refresh from a snapshot of this moment, as the watch's refresh number ``passes``."""
    target = recorder.run.target
    runner = runner_of(settings, target, recorder.runner.tracker)
    await runner.retry("ready", recorder.guard.ready)
    moment = await Moment.now(target)
    async with AsyncExitStack() as held:
        try:
            source = await held.enter_async_context(open_source(settings))
        except SourceChanged as error:  # somebody wrote while it was copied, and may not do so the next time
            raise GaveUp(str(error), next_step=error.next_step) from error
        watch = await held.enter_async_context(source.pinned())
        begun = await runner.retry("begun", lambda: begun_tables(target, recorder.run.migration))
        reading = await reading_of(settings, source, begun)
        origin = await identity_of(settings.source_path.absolute(), source)
        of_pass = replace(recorder, runner=runner, guard=Guard(recorder.guard.ready, watch))
        report = await move(settings, reading, of_pass, origin)
        return Pass(origin.fingerprint, moment, await note(of_pass, moment, report, passes))


def _patient(settings: Settings, recorder: RunRecorder) -> AsyncRetrying:
    """Return a policy that refreshes again after errors that may pass; at the limit the last error is raised."""

    def announce(attempt: RetryCallState) -> None:
        error = (attempt.outcome.exception() if attempt.outcome else None) or RuntimeError("nothing was tried")
        reason = in_words(error)
        pause = Pause(_STEP, reason, attempt.attempt_number, attempt.upcoming_sleep, settings.retry_attempts)
        recorder.runner.tracker.pause(pause)
        log.warning(
            Event.RETRY_SCHEDULED,
            attempt=attempt.attempt_number,
            pause_seconds=round(attempt.upcoming_sleep, 2),
            error=short_message(error),
            reason=reason,
        )

    return AsyncRetrying(
        retry=retry_if_exception(_may_pass),
        wait=wait_random_exponential(max=settings.retry_max_pause_seconds),
        stop=stop_after_attempt(settings.retry_attempts),
        before_sleep=announce,
        after=lambda _: recorder.runner.tracker.resume(_STEP),
        reraise=True,
    )


def _may_pass(error: BaseException) -> bool:
    """Return whether a refresh that ended with this error may end well the next time."""
    known = to_migrator_error(error) if isinstance(error, Exception) else None
    return isinstance(known, GaveUp) or is_transient(error)
