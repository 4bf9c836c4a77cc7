"""
The project's own compose files on a real container engine: ``stack`` and ``images``, for tests/e2e.

Each stack is an installation of its own: another project name, other secrets, ports and source, set by the variables of
.env.example and nothing else. Skipped where no engine answers; scripts/container/engine.sh provides one.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, TypeVar
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_before_delay, wait_fixed

from migrator.dryad import sample

T = TypeVar("T")

ROOT: Final = Path(__file__).parents[1]
FILES: Final = (ROOT / "docker-compose.prod.yml", ROOT / "docker-compose.migrate.yml")
API: Final = ROOT / "tests" / "e2e" / "api"
MIGRATOR_IMAGE: Final = "migrator-e2e"
API_IMAGE: Final = "migrator-e2e-api"
NEWEST: Final = ("docker", "compose")
OLDEST: Final = ("docker-compose",)

# Seconds until something has to have happened; a bound for machines that are busy, and no measure of anything.
PATIENCE: Final = 300

# A password with characters that mean something in URLs, shells, compose files and INI files.
PASSWORD: Final = "p@ss:w/rd %2B $x'\"#"

# The engine's address and the client's plugins; nothing else of the caller's environment reaches Compose, which would
# take every variable of it for one of .env.
ENVIRONMENT: Final = {
    name: value
    for name, value in os.environ.items()
    if name in {"PATH", "HOME", "TMPDIR"} or name.startswith("DOCKER_")
}


def docker(*arguments: str | Path, timeout: float = PATIENCE) -> str:
    """Run a command of the engine's client and return what it prints; CalledProcessError if it fails."""
    return command("docker", *arguments, timeout=timeout).stdout.strip()


def command(
    *arguments: str | Path, timeout: float = 2 * PATIENCE, check: bool = True, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; with ``check``, what it said is in the error if it fails."""
    done = subprocess.run(
        [str(argument) for argument in arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        input=text,
    )
    assert not check or done.returncode == 0, f"{arguments} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def until(look: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Look again and again until there is something to see, and return it; fail with ``what`` if there never is."""
    looks = Retrying(
        retry=retry_if_result(lambda seen: not seen) | retry_if_exception_type((OSError, AssertionError)),
        wait=wait_fixed(0.1),
        stop=stop_before_delay(seconds),
        retry_error_callback=lambda state: pytest.fail(f"{what}: not within {seconds} s; last look: {state.outcome}"),
    )
    return looks(look)


def ask(url: str, body: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON is anything
    """
    GET a URL, or POST a body to it, and return the JSON of the answer; URLError if nobody answers.

    Numbers are what JSON says they are, decimal ones: PostgreSQL's jsonb spells 6.02e+23 with all its digits, and
    Python's float of the one is not its int of the other.
    """
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data=data), timeout=30) as answer:  # noqa: S310 - our own http://
        return json.load(answer, parse_float=Decimal, parse_int=Decimal)


def answers(url: str) -> dict[tuple[str, ...], Any]:
    """Read everything that the application shows over HTTP: the value of each field, by the way that leads to it."""
    listed = ask(f"{url}/conversations")
    shown = {"conversations": listed} | {found["id"]: ask(f"{url}/conversations/{found['id']}") for found in listed}
    return dict(_fields(shown))


def _fields(answer: Any, *way: str) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401 - JSON is anything
    parts = answer.items() if isinstance(answer, dict) else enumerate(answer) if isinstance(answer, list) else ()
    yield way, type(answer).__name__ if isinstance(answer, dict | list) else answer
    for name, part in parts:
        yield from _fields(part, *way, str(name))


@contextmanager
def application_on_sqlite(folder: Path) -> Iterator[str]:
    """Run the application on the SQLite file in a folder, as before the migration, and give its URL."""
    name = f"e2e-sqlite-{token_hex(4)}"
    docker(
        *("run", "--detach", "--name", name, "--user", f"{os.getuid()}:{os.getgid()}"),
        *("--publish", "127.0.0.1::8000", "--volume", f"{folder}:/data"),
        *("--env", "DATABASE_URL=sqlite+aiosqlite:////data/dryad.db", API_IMAGE),
    )
    try:
        url = f"http://{docker('port', name, '8000')}"
        until(lambda: ask(f"{url}/health"), "the application on SQLite")
        yield url
    finally:
        docker("rm", "--force", "--volumes", name)


@dataclass(slots=True)
class Stack:
    """
    One installation: the compose files with variables, secrets and a source of their own under ``folder``.

    ``program`` is the Compose that runs it. ``overrides`` are further compose files, for what a test breaks on purpose.
    """

    folder: Path
    program: tuple[str, ...] = NEWEST
    overrides: list[Path] = field(default_factory=list)
    project: str = field(default_factory=lambda: f"e2e{token_hex(4)}")
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write the secrets and the variables; the source folder is empty."""
        for name in ("source", "secrets"):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(0o755)
        self.secret("postgres_password", PASSWORD)
        self.secret("database_url", f"postgresql://dryad:{quote(PASSWORD, safe='')}@postgres:5432/dryad")
        self.set(
            POSTGRES_CONTAINER=f"{self.project}-postgres",
            POSTGRES_PUBLISHED_PORT="0",
            GREMLINS_API_PUBLISHED_PORT="0",
            GREMLINS_API_IMAGE=API_IMAGE,
            MIGRATOR_IMAGE=MIGRATOR_IMAGE,
            SECRETS_DIR=str(self.folder / "secrets"),
            SOURCE_DIR=str(self.source.parent),
        )

    @property
    def source(self) -> Path:
        """Where the SQLite file belongs."""
        return self.folder / "source" / "dryad.db"

    def secret(self, name: str, value: str) -> None:
        """Write a secret as the guide says: readable by all, because the containers run as others."""
        path = self.folder / "secrets" / name
        path.unlink(missing_ok=True)
        path.write_text(f"{value}\n", encoding="utf-8")
        path.chmod(0o444)

    def set(self, **variables: str) -> None:
        """Set variables of .env.example."""
        self.variables |= variables
        lines = "".join(f"{name}={value}\n" for name, value in self.variables.items())
        (self.folder / "env").write_text(lines, encoding="utf-8")

    def override(self, **services: Mapping[str, Any]) -> None:
        """Add to services what a test needs; JSON is YAML."""
        path = self.folder / f"override{len(self.overrides)}.json"
        path.write_text(json.dumps({"services": services}), encoding="utf-8")
        self.overrides.append(path)

    # --- Compose ------------------------------------------------------------------------------------------------------

    def line(self, *arguments: str) -> list[str]:
        """Return the command line of Compose for this installation."""
        files = [word for path in (*FILES, *self.overrides) for word in ("--file", str(path))]
        places = ["--project-name", self.project, "--env-file", str(self.folder / "env")]
        return [*self.program, *places, *files, *arguments]

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of Compose's to its end."""
        return command(*self.line(*arguments), check=check)

    def up(self) -> subprocess.CompletedProcess[str]:
        """Start everything, as the guide says; returns when the application has been started, or isn't going to be."""
        return self.compose("up", "--detach", check=False)

    @contextmanager
    def going_up(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start everything in the background; at the end it is over."""
        with (self.folder / "up.log").open("ab") as log:
            going = subprocess.Popen(self.line("up", "--detach"), env=ENVIRONMENT, stdout=log, stderr=log)
        try:
            yield going
        finally:
            going.kill()
            going.wait()

    def migrator(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the migrator's in a container of its own."""
        return self.compose("run", "--rm", "-T", "migrator", *arguments, check=False)

    def remove(self) -> None:
        """Remove containers, volumes and networks, however far the test got."""
        ours = ("--filter", f"label=com.docker.compose.project={self.project}")
        for identifier in docker("ps", "--all", "--quiet", *ours).split():
            command("docker", "rm", "--force", "--volumes", identifier, check=False)
        for kind in ("volume", "network"):
            for identifier in docker(kind, "ls", "--quiet", *ours).split():
                command("docker", kind, "rm", identifier, check=False)

    # --- Containers ---------------------------------------------------------------------------------------------------

    def container(self, service: str) -> str:
        """Return the id of a service's container, which has to be there."""
        labels = {"project": self.project, "service": service, "oneoff": "False"}
        filters = [
            word for name, value in labels.items() for word in ("--filter", f"label=com.docker.compose.{name}={value}")
        ]
        found = docker("ps", "--all", "--quiet", "--no-trunc", *filters)
        assert found, f"{service} has no container"
        return found

    def inspect(self, service: str) -> dict[str, Any]:
        """Return everything the engine says about a service's container."""
        (shown,) = json.loads(docker("inspect", self.container(service)))
        return dict(shown)

    def exit_code(self) -> int | None:
        """Return the migrator's exit code, or None as long as it runs."""
        state = self.inspect("migrator")["State"]
        return int(state["ExitCode"]) if state["Status"] == "exited" else None

    def api_was_started(self) -> bool:
        """Say whether the application has ever been started."""
        try:
            started: str = self.inspect("gremlins-api")["State"]["StartedAt"]
        except AssertionError:
            return False  # Compose 1 doesn't even make its container
        return not started.startswith("0001-")

    def said_by(self, service: str) -> str:
        """Return all that a service's container has written."""
        done = command("docker", "logs", self.container(service))
        return done.stdout + done.stderr

    def log(self) -> list[dict[str, Any]]:
        """Return the migrator's log lines, of all times its container was started."""
        written = command("docker", "logs", self.container("migrator"))
        return [json.loads(line) for line in written.stderr.splitlines() if line.startswith("{")]

    def events(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Return the log lines with a given event and given fields."""
        wanted = {"event": event, **fields}
        return [line for line in self.log() if wanted.items() <= line.items()]

    def sql(self, statement: str) -> str:
        """Run SQL in the target, inside the server's container, and return what psql prints."""
        inside = ("exec", self.container("postgres"), "psql", "-U", "dryad", "-d", "dryad")
        return docker(*inside, "--no-align", "--tuples-only", "--quiet", "--command", statement)

    def url(self) -> str:
        """Return the address of the application on PostgreSQL, once it answers."""
        url = f"http://{docker('port', self.container('gremlins-api'), '8000')}"
        until(lambda: ask(f"{url}/health"), "the application on PostgreSQL")
        return url

    # --- The network --------------------------------------------------------------------------------------------------

    def in_network_of(self, service: str, *words: str) -> None:
        """Run one of this machine's programs in the network of a service's container."""
        command("nsenter", "--target", str(self.inspect(service)["State"]["Pid"]), "--net", *words)

    def slow_down(self, rate: str = "8mbit") -> None:
        """Let no more than that reach the server, so that there is a middle of the copy to do something in."""
        # The container's end of the cable limits what the server sends; what it is sent is limited at the other end.
        other = int(docker("exec", self.container("postgres"), "cat", "/sys/class/net/eth0/iflink"))
        indexes = {int(path.read_text()): path.parent.name for path in Path("/sys/class/net").glob("*/ifindex")}
        limit = f"tbf rate {rate} burst 64kb latency 200ms"
        command("tc", *f"qdisc replace dev {indexes[other]} root {limit}".split())

    def begin_slowly(self) -> None:
        """Bring up the server behind a slow cable, so that what comes next meets a copy under way."""
        self.compose("up", "--detach", "--wait", "postgres")
        self.slow_down()

    def assert_all_is_well(self) -> None:
        """Hold that every value is in the target, and that the application answers from there."""
        assert self.exit_code() == 0
        assert self.migrator("verify").returncode == 0
        assert ask(f"{self.url()}/health")["database"] == "postgresql"

    def until_copying(self) -> None:
        """Wait until some tables have been copied and others have not."""
        until(lambda: self.events("table.copied"), "the first table")
        assert not self.events("stage.finished", stage="copy"), "too late, everything has been copied"


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock that other workers respect."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def images(shared: Path) -> None:
    """Build the migrator's image and the application's; skip without an engine."""
    try:
        command("docker", "info", timeout=30)
        command("docker", "compose", "version", timeout=30)
    except (AssertionError, OSError, subprocess.TimeoutExpired):
        pytest.skip("no container engine with Compose answers here; scripts/container/engine.sh provides one")
    with _one_at_a_time(shared / "images.lock"):
        docker("build", "--quiet", "--file", ROOT / "Dockerfile.migrate", "--tag", MIGRATOR_IMAGE, ROOT, timeout=900)
        naming = ("--build-arg", f"MIGRATOR_IMAGE={MIGRATOR_IMAGE}", "--tag", API_IMAGE)
        docker("build", "--quiet", *naming, API, timeout=300)


@pytest.fixture(scope="session")
def sample_of(shared: Path) -> Callable[[float], Path]:
    """Give a function that returns a sample database of some scale, made once."""

    def sample_of(scale: float) -> Path:
        path = shared / f"sample-{scale}.db"
        with _one_at_a_time(path.with_suffix(".lock")):
            if not path.exists():
                sample.generate(path, scale)
        return path

    return sample_of


@pytest.fixture
def stack(images: None, tmp_path: Path, sample_of: Callable[[float], Path]) -> Iterator[Stack]:
    """Give an installation with a small source; it is gone after the test."""
    del images
    with installed(tmp_path, sample_of(0.1)) as stack:
        yield stack


@pytest.fixture
def large_stack(images: None, tmp_path: Path, sample_of: Callable[[float], Path]) -> Iterator[Stack]:
    """Give an installation whose copy can be made to last; skip where this machine's networks can't be reached."""
    del images
    if os.geteuid() != 0 or not all(shutil.which(program) for program in ("nsenter", "tc", "iptables")):
        pytest.skip("faults between containers need root, and nsenter, tc and iptables")
    with installed(tmp_path, sample_of(1)) as stack:
        yield stack


@contextmanager
def installed(folder: Path, source: Path) -> Iterator[Stack]:
    """Make an installation with a copy of the source, and remove it at the end; show its log if the test failed."""
    stack = Stack(folder)
    shutil.copyfile(source, stack.source)
    stack.source.chmod(0o644)
    try:
        yield stack
    finally:
        for identifier in docker("ps", "--all", "--quiet", "--filter", f"name={stack.project}").split():
            said = command("docker", "logs", "--tail", "60", identifier, check=False)
            sys.stderr.write(f"--- {identifier}\n{said.stdout}{said.stderr}")
        stack.remove()
