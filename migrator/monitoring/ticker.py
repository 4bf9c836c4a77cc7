"""Calls a function at intervals in a thread of its own, so that it never waits for the run, nor the run for it."""

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from types import TracebackType
from typing import Final, Self

LAST_CALL_SECONDS: Final = 5.0
"""The longest time that the end of a run waits for a call that is under way."""


class Ticker:
    """Calls ``action`` every ``seconds`` seconds while the block runs. An error of ``action`` has no consequence."""

    def __init__(self, action: Callable[[], None], seconds: float, *, at_ends: bool = False) -> None:
        """With ``seconds`` of 0, ``action`` is not called; with ``at_ends`` it is called at the start and the end."""
        self._action = action
        self._seconds = seconds
        self._at_ends = at_ends
        self._over = threading.Event()
        # The thread's log lines have the run's id, as those of the thread that begins it.
        self._thread = threading.Thread(target=copy_context().run, args=(self._run,), name="monitoring", daemon=True)

    def __enter__(self) -> Self:
        """Begin; the first call follows after ``seconds``."""
        if self._seconds > 0 or self._at_ends:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End. A call that is under way, and the last one, are waited for, though not for long."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(LAST_CALL_SECONDS)

    def _run(self) -> None:
        if self._at_ends:
            self._call()
        while not self._over.wait(self._seconds or None):
            self._call()
        if self._at_ends:
            self._call()

    def _call(self) -> None:
        with suppress(Exception):
            self._action()
