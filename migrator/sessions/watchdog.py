"""
Ends a session of libpq that waits for an answer which can no longer come.

libpq waits without a limit and in C, where no exception of ours reaches the thread; and the driver shows neither libpq
nor its socket. So every session has a mark that can be seen on its socket from outside, a TCP_USER_TIMEOUT of its own,
by which the socket is found among the open files of this process. Once that is shut down the driver raises.

Silence alone proves nothing: a statement may take hours. The server is asked, through a new connection, whether it is
still at work on it (``liveness.py``). Each session has its own thread for that, since readers have no event loop.
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
"""More than there are sessions at once."""

_MARK_MILLISECONDS = 10  # some kernels round the option to their ticks

_LONGEST_BEAT_SECONDS = 5.0

_OPEN_FILES = Path("/proc/self/fd")

_counted = count(1)

_watching: set["Watchdog"] = set()


def give_up_all() -> None:
    """End every session: a thread that nobody waits for, and that waits in one, would keep the process alive."""
    for watchdog in tuple(_watching):
        watchdog.disconnect("nobody waits for it any more")


class Watchdog:
    """
    Watches one session of libpq while the block lasts. The block begins before the session connects.

    Calls that may wait for the server go into ``waiting``. Time outside of it is the job's own and doesn't count.
    """

    def __init__(self, address: TargetAddress) -> None:
        self._address = address
        self._mark = UNACKNOWLEDGED_MILLISECONDS + next(_counted) % _MARKS * _MARK_MILLISECONDS
        self._backend: int | None = None
        self._since: float | None = None
        """Since when somebody waits, by the monotonic clock; None if nobody does."""
        self._reason: str | None = None
        """Why the session was cut."""
        self._turn = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Begin to watch."""
        _watching.add(self)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_details: object) -> None:
        """Stop."""
        _watching.discard(self)
        self._over.set()

    def uri(self, options: str | None = None) -> str:
        """Give the address for libpq, with the mark. It holds the password: never log it."""
        return self._address.libpq_uri(unacknowledged_milliseconds=self._mark, options=options)

    def set_backend_pid(self, backend: int) -> None:
        """Note the number of the session's server process; until then the server can't be asked about it."""
        self._backend = backend

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for the server in this block. Raises TimeoutError, whatever the driver says, if the session was cut."""
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
        """End the session now; a thread that waits in it wakes. Does no harm if none does."""
        self._reason = reason
        self._shut_down()

    def _watch(self) -> None:
        stall_seconds = self._address.stall_timeout_seconds
        while not self._over.wait(min(stall_seconds / 4, _LONGEST_BEAT_SECONDS)):
            since = self._since
            if since is None:
                continue
            if self._reason is not None:
                self._shut_down()  # again: while it connects, libpq goes on to the next host
            elif time.monotonic() - since >= self._silence_limit() and (reason := self._why_lost(since)) is not None:
                with self._turn:
                    if self._since != since:  # the answer came after all
                        continue
                    self.disconnect(reason)
        if self._reason is not None and self._backend is not None:
            asyncio.run(terminate_sessions(self._address.asyncpg_arguments(), [self._backend], stall_seconds))

    def _silence_limit(self) -> float:
        """Return the seconds after which waiting counts as silence; libpq has its own limit for each host it tries."""
        connecting = self._address.connect_timeout_seconds * len(self._address.hosts) if self._backend is None else 0
        return self._address.stall_timeout_seconds + connecting

    def _why_lost(self, since: float) -> str | None:
        seconds = self._address.stall_timeout_seconds
        if self._backend is None:  # it takes no statement of ours to connect, so there is nothing to ask about
            return f"the server has not let us in, and said nothing for {seconds:g} s"
        hopeless = time.monotonic() - since >= 2 * seconds
        return asyncio.run(
            diagnose_session(self._address.asyncpg_arguments(), self._backend, seconds, unreachable_is_lost=hopeless)
        )

    def _shut_down(self) -> None:
        for opened in _OPEN_FILES.iterdir():
            try:
                plug = socket.socket(fileno=int(opened.name))
            except OSError:  # most aren't sockets, and some are gone by now
                continue
            try:
                with suppress(OSError):
                    if self._is_marked(plug):
                        plug.shutdown(socket.SHUT_RDWR)
            finally:
                plug.detach()  # it isn't ours to close; and closing a duplicate of a file's would drop SQLite's locks

    def _is_marked(self, plug: socket.socket) -> bool:
        if plug.family == socket.AF_UNIX:
            # They have no mark. All connections that take the same way are cut, and a stage that loses one is retried.
            return plug.getpeername() in {f"{host}/.s.PGSQL.{port}" for host, port in self._address.places()}
        return plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == self._mark
