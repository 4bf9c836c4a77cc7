"""
Starts and ends the process quickly, and keeps its memory small.

If a job has nothing to do, Python's own start and end take most of the time.
"""

import atexit
import ctypes
import gc
import os
import signal
import sys
import threading
from typing import NoReturn

from migrator.cli.lean_imports import import_lean


def main() -> NoReturn:
    """Run the command with the process's arguments, and end the process with the exit code."""
    # The objects of modules stay, so garbage collection finds nothing during imports. Without garbage collection, the
    # imports of `--help` take 0.27 s of CPU instead of 0.29, and the imports of a run 1.05 instead of 1.07 (minimum of
    # 8 measurements). `cli` switches it on again after the imports. The program also works without these lines.
    gc.disable()
    # Until the command handles signals itself, Python's own handler would print a traceback in the middle of an import.
    signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))
    keep_small()
    import_lean()
    from migrator.cli.main import main as run  # noqa: PLC0415 - this comes after it

    _leave(run())


def _leave(code: int) -> NoReturn:
    """
    End the process without Python's cleanup of modules, which takes a fifth of the time of their import.

    The functions of ``atexit`` are called, and stdout and stderr are flushed, as Python promises. If another thread
    still runs, the process ends with ``sys.exit``, which waits for the thread.
    """
    if threading.active_count() == 1:
        atexit._run_exitfuncs()  # noqa: SLF001 - there is no public function
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            pass  # sys.exit below prints Python's own message for a stdout that can't be written to
        else:
            os._exit(code)
    gc.unfreeze()  # otherwise DuckDB's module reports frozen objects as leaks on stderr
    sys.exit(code)


_M_ARENA_MAX = -8
"""The parameter M_ARENA_MAX of glibc's ``malloc.h``."""

_ARENAS = 2


def keep_small() -> None:
    """Let all threads share free memory. Call it before threads are started and before pyarrow is imported."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if "MALLOC_ARENA_MAX" in os.environ:  # the operator has chosen a number
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has neither mallopt nor arenas
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
