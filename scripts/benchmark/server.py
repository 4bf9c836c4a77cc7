"""The PostgreSQL server that everybody is measured on, with a fresh database for each run, and psql to speak to it."""

import os
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from migrator.demo.server import EmbeddedServer

_ROLE = _PASSWORD = "benchmark"  # noqa: S105 - of a server that lives for minutes, on loopback

SETTINGS: Final = {
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "max_locks_per_transaction": "256",
}
"""As an administrator would set up a server for a load; the same for everybody who is measured."""

_AT_ONCE: Final = "-c synchronous_commit=off -c client_min_messages=error"
_DONE: Final = "benchmark: done"


class CommandFailed(Exception):  # noqa: N818 - an event between two modules
    """Psql refused a command; the message is what it said."""


class Server:
    """A server for as long as the ``with`` block lasts, and the databases on it."""

    def __init__(self) -> None:
        self._server = EmbeddedServer(settings=SETTINGS)
        self._databases = 0

    def __enter__(self) -> Self:
        """Start the server."""
        self._server.__enter__()
        self._server.create_role(_ROLE, _PASSWORD)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server and remove what it held."""
        self._server.__exit__(kind, error, trace)

    @property
    def port(self) -> int:
        """Where it listens, on loopback."""
        return self._server.port

    @property
    def psql(self) -> Path:
        """The program, of the server's version."""
        return self._server.programs / "psql"

    @property
    def version(self) -> str:
        """What the server calls itself, such as ``PostgreSQL 18.6``."""
        said = subprocess.run([str(self.psql), "--version"], capture_output=True, text=True, check=True).stdout
        return f"PostgreSQL {said.split()[-1]}"

    def fresh_database(self, schema: str) -> str:
        """Make a database with the tables of ``schema`` and return its URL."""
        self._databases += 1
        name = f"bench_{self._databases}"
        self._server.create_database(name, _ROLE)
        url = self._server.url(name, _ROLE, _PASSWORD)
        with self.session(url) as session:
            session.run(schema + ";")
        return url

    def copy_of(self, url: str) -> str:
        """Make a database that holds what another holds, with nobody connected to it, and return its URL."""
        self._databases += 1
        name = f"bench_{self._databases}"
        with self.session(self._server.url("postgres")) as session:
            session.run(f"CREATE DATABASE {name} TEMPLATE {url.rpartition('/')[2]} OWNER {_ROLE};")
            session.run("CHECKPOINT;")
        return self._server.url(name, _ROLE, _PASSWORD)

    def cpu_seconds(self) -> float:
        """Return the seconds of processors that the server has used since it began; 0 elsewhere than on Linux."""
        first = int((self._server.data_directory / "postmaster.pid").read_text().split()[0])
        while True:  # what a process that ends meanwhile has used would count twice, or not at all
            before = _ticks(first)
            if before.keys() == _ticks(first).keys():
                return sum(before.values()) / os.sysconf("SC_CLK_TCK")

    def drop(self, url: str) -> None:
        """Drop a database, so that the disk doesn't fill, and let the server write out what it owes."""
        with self.session(self._server.url("postgres")) as session:
            session.run(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE);")
            session.run("CHECKPOINT;")

    def session(self, url: str) -> "Session":
        """Open psql on a database."""
        return Session([str(self.psql), url])

    def spread(self, url: str, connections: int, phases: Iterable[Sequence[str]]) -> None:
        """
        Carry out statements on so many connections: those of a phase are handed out in order, to whoever is free.

        What was done is on disk when this returns. Raises CommandFailed with what psql said.
        """
        sessions = [self.session(url) for _ in range(connections)]
        try:
            with ThreadPoolExecutor(connections) as pool:
                for phase in phases:
                    waiting = deque(phase)
                    list(pool.map(lambda session, left=waiting: session.take(left), sessions))
            # Commits are not waited for one by one: this one is, and all that came before lies before it.
            sessions[0].run("SET synchronous_commit = on; BEGIN; SELECT pg_current_xact_id(); COMMIT;")
        finally:
            for session in sessions:
                session.close()


def _ticks(first: int) -> dict[int, int]:
    """Return what each process of the server has used, by number; the first one with its children that have ended."""
    ticks = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the two looks
        if int(entry.name) == first:
            ticks[first] = sum(map(int, fields[11:15]))
        elif int(fields[1]) == first:
            ticks[int(entry.name)] = sum(map(int, fields[11:13]))
    return ticks


class Session:
    """One psql that takes commands, and so one connection."""

    def __init__(self, command: Sequence[str]) -> None:
        options = ("--no-psqlrc", "--quiet", "--tuples-only", "--set=ON_ERROR_STOP=1", f"--output={os.devnull}")
        environment = {**os.environ, "PGCLIENTENCODING": "UTF8", "PGOPTIONS": _AT_ONCE}
        self._psql = subprocess.Popen(
            [*command, *options],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._said: list[str] = []
        self._listener = threading.Thread(target=lambda: self._said.extend(_pipe(self._psql.stderr)))
        self._listener.start()

    def __enter__(self) -> Self:
        """Do nothing: psql has been started."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End psql."""
        self.close()

    def run(self, command: str) -> None:
        """Carry out a command that ends in a semicolon or is psql's own; raises CommandFailed."""
        given = _pipe(self._psql.stdin)
        try:
            given.write(f"{command}\n\\echo {_DONE}\n")
            given.flush()
        except BrokenPipeError:
            pass  # what it said about that is read below
        if _pipe(self._psql.stdout).readline().strip() != _DONE:
            self.close()
            raise CommandFailed("".join(self._said).strip())

    def take(self, waiting: "deque[str]") -> None:
        """Carry out commands from a queue that others take from too, until it is empty."""
        while True:
            try:
                command = waiting.popleft()
            except IndexError:
                return
            self.run(command)

    def close(self) -> None:
        """End psql; without effect if it has ended."""
        if self._psql.returncode is not None:
            return
        _pipe(self._psql.stdin).close()
        self._psql.wait()
        self._listener.join()
        for pipe in (self._psql.stdout, self._psql.stderr):
            _pipe(pipe).close()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise AssertionError("every pipe of psql is ours")
    return pipe
