"""
Ends a session of libpq that waits for an answer which can no longer come.

libpq waits in C without a time limit, so no Python exception reaches the waiting thread. The driver gives no access to
libpq or its socket. So every session marks its socket with a unique value of TCP_USER_TIMEOUT. By this mark the
watchdog finds the socket among the open files of the process, and shuts it down; then the driver raises.

Silence alone proves nothing, because a statement may take hours. So the watchdog asks the server, through a new
connection, whether it still works on the statement (``liveness.py``). Each session has its own thread for that, because
readers have no event loop.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Self

from migrator.sessions.address import UNACKNOWLEDGED_MILLISECONDS, TargetAddress
from migrator.sessions.liveness import diagnose_session, terminate_sessions

_MARKS = 1000
"""The number of different marks, which is more than the number of sessions at one time."""

_MARK_MILLISECONDS = 10  # the distance between two marks, because some kernels round the option to their ticks

_LONGEST_BEAT_SECONDS = 5.0

_OPEN_FILES = Path("/proc/self/fd")

_counted = count(1)

_watching: set["Watchdog"] = set()


def give_up_all() -> None:
    """End every session. A thread that still waits in a session would keep the process alive."""
    for watchdog in tuple(_watching):
        watchdog.disconnect("nobody waits for it any more")


class Watchdog:
    """
    Watches one session of libpq while a ``with`` block runs. The block begins before the session connects.

    Calls that may wait for the server must be inside ``waiting``. Time outside of ``waiting`` doesn't count.
    """

    def __init__(self, address: TargetAddress) -> None:
        self._address = address
        self._mark = UNACKNOWLEDGED_MILLISECONDS + next(_counted) % _MARKS * _MARK_MILLISECONDS
        self._backend: int | None = None
        self._since: float | None = None
        """The start of the current wait, by the monotonic clock; None if no thread waits."""
        self._reason: str | None = None
        """The reason why the session was cut; None if it wasn't."""
        self._turn = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Start the thread that watches."""
        _watching.add(self)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_details: object) -> None:
        """Stop the thread that watches."""
        _watching.discard(self)
        self._over.set()

    def uri(self, options: str | None = None) -> str:
        """Return the address for libpq, with the mark. The URI holds the password: never log it."""
        return self._address.libpq_uri(unacknowledged_milliseconds=self._mark, options=options)

    def set_backend_pid(self, backend: int) -> None:
        """Set the number of the session's server process. Before that, the server can't be asked about the session."""
        self._backend = backend

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the block as waiting for the server. Raises TimeoutError, not the driver's error, after a cut."""
        if self._reason is not None:
            raise TimeoutError(self._reason)
        with self._turn:
            self._since = time.monotonic()
        try:
            yield
        except Exception as error:
            if self._reason is not None:
                raise TimeoutError(self._reason) from error
            raise
        finally:
            with self._turn:
                self._since = None

    def disconnect(self, reason: str) -> None:
        """End the session now. A thread that waits in the session gets an error."""
        self._reason = reason
        self._shut_down()

    def _watch(self) -> None:
        stall_seconds = self._address.stall_timeout_seconds
        while not self._over.wait(min(stall_seconds / 4, _LONGEST_BEAT_SECONDS)):
            since = self._since
            if since is None:
                continue
            if self._reason is not None:
                self._shut_down()  # repeated, because during a login libpq goes on to the next host
            elif time.monotonic() - since >= self._silence_limit() and (reason := self._why_lost(since)) is not None:
                with self._turn:
                    if self._since != since:  # the answer has come in the meantime
                        continue
                    self.disconnect(reason)
        if self._reason is not None and self._backend is not None:
            asyncio.run(terminate_sessions(self._address.asyncpg_arguments(), [self._backend], stall_seconds))

    def _silence_limit(self) -> float:
        """Return the seconds after which a wait counts as silence. During a login, libpq has a limit for each host."""
        connecting = self._address.connect_timeout_seconds * len(self._address.hosts) if self._backend is None else 0
        return self._address.stall_timeout_seconds + connecting

    def _why_lost(self, since: float) -> str | None:
        seconds = self._address.stall_timeout_seconds
        if self._backend is None:  # during the login no statement runs, so the server can't be asked about one
            return f"the server has not let us in, and said nothing for {seconds:g} s"
        hopeless = time.monotonic() - since >= 2 * seconds
        return asyncio.run(
            diagnose_session(self._address.asyncpg_arguments(), self._backend, seconds, unreachable_is_lost=hopeless)
        )

    def _shut_down(self) -> None:
        for file in _OPEN_FILES.iterdir():
            try:
                plug = socket.socket(fileno=int(file.name))
            except OSError:  # most files aren't sockets, and some have been closed in the meantime
                continue
            try:
                with suppress(OSError):
                    if self._is_marked(plug):
                        plug.shutdown(socket.SHUT_RDWR)
            finally:
                plug.detach()  # libpq owns the socket; to close a duplicate of a file would drop SQLite's locks

    def _is_marked(self, plug: socket.socket) -> bool:
        if plug.family == socket.AF_UNIX:
            # Unix sockets have no mark. So all connections to this Unix socket are cut, and a stage that loses one of
            # them is retried.
            return plug.getpeername() in {f"{host}/.s.PGSQL.{port}" for host, port in self._address.places()}
        return plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == self._mark
