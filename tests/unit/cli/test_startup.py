"""``cli.startup``: how the process begins and ends. What a command does is ``cli``'s."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
from fix_job import clean_environment

from migrator import __version__

BEGUN = """
import atexit, gc, sys, threading, time
from migrator.cli import commands, main as cli, startup
"""


def ended(code: str, *arguments: str, out: int = subprocess.PIPE) -> "subprocess.CompletedProcess[str]":
    """Run a program that begins with what it needs here."""
    command = [sys.executable, "-c", BEGUN + code, *arguments]
    environment = clean_environment()
    return subprocess.run(command, env=environment, stdout=out, stderr=subprocess.PIPE, text=True, check=False)


def test_what_atexit_knows_is_done() -> None:
    """An application's migrations may have registered something, and what was printed reaches its reader."""
    done = ended("atexit.register(print, 'the last word'); startup.main()", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"migrator {__version__}\nthe last word\n", "")


def test_the_exit_code_is_the_commands() -> None:
    """Also where the process ends at once."""
    done = ended("cli.main = lambda: 5; startup.main()")
    assert (done.returncode, done.stdout, done.stderr) == (5, "", "")


def test_a_thread_at_work_is_waited_for() -> None:
    """Then the process ends as any Python does, and DuckDB's module has nothing to complain of."""
    code = "import migrator.cli.commands; release = threading.Event(); gc.freeze(); cli.main = lambda: 4\n"
    code += "threading.Thread(target=lambda: (release.wait(), print('done'))).start()\n"
    code += "threading.Timer(0.2, release.set).start(); startup.main()"
    done = ended(code)
    assert (done.returncode, done.stdout, done.stderr) == (4, "done\n", "")


def test_garbage_is_looked_for_again(tmp_path: Path) -> None:
    """It was not while modules were imported; while a command works it is."""
    source = tmp_path / "none.db"
    code = "kept = commands.COMMANDS['check'].call\n"
    code += "commands.COMMANDS['check'] = commands.Command('', commands.COMMANDS['check'].groups,\n"
    code += "    lambda *a: (kept(*a), print(gc.isenabled(), gc.get_freeze_count() > 10_000))[0]); startup.main()"
    done = ended(code, "check", "--source-only", "--source", str(source))
    assert (done.returncode, done.stdout) == (3, "True True\n")


@pytest.mark.parametrize("module", ["rich", "pygments"])
def test_neither_log_nor_version_needs_rich(module: str) -> None:
    """It is loaded for reports and on terminals; structlog does without, and others can still have it."""
    program = "import sys; sys.argv[1:] = ['--version']; from migrator.cli import startup as m; m._leave = print\n"
    program += f"m.main(); print({module!r} in sys.modules); import {module}"
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"migrator {__version__}\n0\nFalse\n", "")


ARENAS = """
import ctypes, threading
from pathlib import Path
from migrator.cli.startup import keep_small
keep_small()
import pyarrow as pa
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
barrier = threading.Barrier(8)
def take():
    barrier.wait()
    libc.malloc(1000)
    barrier.wait()
threads = [threading.Thread(target=take) for _ in range(8)]
[one.start() for one in threads], [one.join() for one in threads]
libc.fopen.restype = ctypes.c_void_p
path = sys.argv[1]
out = libc.fopen(path.encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(out)), libc.fclose(ctypes.c_void_p(out))
print(pa.default_memory_pool().backend_name, Path(path).read_text().count("<heap nr="))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="this C library has no arenas")
def test_threads_share_what_is_free(tmp_path: Path) -> None:
    """Eight threads that allocate at once get no arenas of their own, and Arrow allocates as everybody does."""
    program = [sys.executable, "-c", f"import sys{ARENAS}", str(tmp_path / "arenas.xml")]
    said = subprocess.run(program, env=clean_environment(), capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == "system"
    assert 1 <= int(said[1]) <= 2
