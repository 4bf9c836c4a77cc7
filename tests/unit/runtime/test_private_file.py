"""Files for the operator: whole or not at all, readable by nobody else, never through a link."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import pytest
from fix_job import Cli

from migrator.errors import ConfigurationError
from migrator.runtime.private_file import check_writable, whole_file, write_in_place


def mode(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _generous() -> object:
    """Let new files be readable by all, as far as that is up to the process's mask."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_new_file_is_private_and_there_when_it_is_whole(tmp_path: Path) -> None:
    """Nobody sees half of it; nothing else stays in the folder."""
    path = tmp_path / "report.json"
    with whole_file(path) as file:
        file.write("half")
        file.flush()
        assert not path.exists()
        assert all(mode(other) == 0o600 for other in tmp_path.iterdir())
        file.write(" whole")
    assert path.read_text() == "half whole"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_the_old_file_stays(tmp_path: Path) -> None:
    """Half of a report is none."""
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(TypeError), whole_file(path) as file:
        print("half", None, end=1, file=file)  # type: ignore[call-overload]  # raises
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_old_file_that_all_may_read_becomes_private(tmp_path: Path) -> None:
    """The new one takes its place, whoever has the old one open."""
    path = tmp_path / "report.json"
    path.write_text("old")
    path.chmod(0o666)
    with path.open() as follower:
        with whole_file(path) as file:
            file.write("new")
        assert follower.read() == "old"
    assert mode(path) == 0o600


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_not_followed(tmp_path: Path, there: bool) -> None:  # noqa: FBT001
    """Whoever may write to the folder could have anything overwritten."""
    other, path = tmp_path / "other", tmp_path / "report.json"
    if there:
        other.write_text("precious")
    path.symlink_to(other)
    with pytest.raises(ConfigurationError, match="symbolic link"):
        check_writable(path)
    with pytest.raises(OSError, match="symbolic link"), whole_file(path) as file:
        file.write("x")
    with pytest.raises(OSError, match="symbolic links"):
        write_in_place(path, "x")
    assert other.read_text() == "precious" if there else not other.exists()


def test_what_is_mounted_is_written_in_place(tmp_path: Path) -> None:
    """The file keeps its identity and mode; what it held before is gone."""
    path = tmp_path / "termination-log"
    path.write_text("a long line of another time")
    path.chmod(0o644)
    before = path.stat().st_ino
    write_in_place(path, "short")
    assert path.read_text() == "short"
    assert (path.stat().st_ino, mode(path)) == (before, 0o644)


def test_a_new_termination_message_is_private(tmp_path: Path) -> None:
    """It may quote rows."""
    write_in_place(tmp_path / "log", "x")
    assert mode(tmp_path / "log") == 0o600


@pytest.mark.parametrize("flag", ["--report", "--differences"])
@pytest.mark.parametrize("name", ["missing/file.json", "folder", "link", "file/below.json"])
def test_a_wrong_path_is_found_at_the_start(tmp_path: Path, cli: Cli, flag: str, name: str) -> None:
    """And not when the work of a night is done; nothing is made meanwhile."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.iterdir())
    ended = cli("run", "--source", tmp_path / "x.db", flag, tmp_path / name, MIGRATOR_TARGET_URL="postgresql://h/d")
    assert ended.code == 2
    assert name in ended.message
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/stderr", "/dev/null"])
def test_what_is_no_file_is_written_to_as_it_is(name: str, cli: Cli, tmp_path: Path) -> None:
    """A pipe can't be renamed over, and /dev/stdout is a link everywhere."""
    ended = cli(
        "run",
        "--report",
        name,
        "--source",
        tmp_path / "x.db",
        MIGRATOR_TARGET_URL="postgresql://h/d",
        MIGRATOR_WAIT_TIMEOUT_SECONDS="0.1",
    )
    assert ended.code == 2
    said = {"-": ended.stdout, "/dev/stdout": ended.stdout, "/dev/stderr": ended.stderr}.get(name, '"exit_code": 2')
    assert '"exit_code": 2' in said
    assert not Path("-").exists()


@pytest.mark.timeout(60)
def test_a_pipe_that_nobody_reads_holds_nobody_up(tmp_path: Path) -> None:
    """Opening it would wait for a reader for ever: it is an error, and one that is read takes all that is written."""
    path = tmp_path / "report.json"
    os.mkfifo(path)
    with pytest.raises(OSError, match="nobody reads"), whole_file(path):
        pass
    text = "a line\n" * 100_000  # far more than a pipe holds
    with ThreadPoolExecutor() as pool, os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK)) as reader:
        os.set_blocking(reader.fileno(), True)
        read = pool.submit(_last_of, reader)
        with whole_file(path) as file:
            file.write(text)
        assert read.result() == text


def _last_of(reader: TextIO) -> str:
    """Read to the end; while nobody has opened the other side yet, there is an end already."""
    read = ""
    while not read:
        read = reader.read()
    return read
