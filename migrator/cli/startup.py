"""
Starts and ends the process quickly, and keeps it small.

A job that has nothing to do is over in a moment, but for what Python does before and after it.
"""

import atexit
import ctypes
import gc
import os
import sys
import threading
from typing import NoReturn


def main() -> NoReturn:
    """Run the command that the process was started with, and leave with its exit code."""
    # The objects of modules stay, so garbage collection finds nothing while they are imported. Without it the imports
    # of `--help` take 0.27 s of CPU in place of 0.29, those of a run 1.05 in place of 1.07 (least of 8). `cli` switches
    # it on again when the imports are done. Plainly: leave these lines out.
    gc.disable()
    keep_small()
    _import_structlog()
    from migrator.cli.main import main as run  # noqa: PLC0415 - after structlog

    _leave(run())


def _import_structlog() -> None:
    """
    Import structlog as if rich weren't installed: structlog would import rich's tracebacks, which nothing here uses.

    That is 0.06 s of CPU in place of 0.12 (least of 8), in each command. Plainly: ``import structlog``.
    """
    sys.modules["rich"] = None  # type: ignore[assignment] # "not to be had", in the import system's words
    try:
        import structlog  # noqa: F401, PLC0415 - for its effect, and not before
    finally:
        del sys.modules["rich"]


def _leave(code: int) -> NoReturn:
    """
    End the process without taking every module apart, which takes as long as a fifth of their import.

    All that Python promises at the end is done before: what ``atexit`` knows, and what stdout and stderr still hold.
    With a thread that is still at work it ends in Python's own way, which waits for that.
    """
    if threading.active_count() == 1:
        atexit._run_exitfuncs()  # noqa: SLF001 - public under no name
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            pass  # Python has its own words for a stdout that can't be written to
        else:
            os._exit(code)
    gc.unfreeze()  # or DuckDB's module takes what it finds for leaks, and says so on stderr
    sys.exit(code)


_M_ARENA_MAX = -8
"""In glibc's ``malloc.h``."""

_ARENAS = 2


def keep_small() -> None:
    """Let all threads share what is free; to be called before there are threads, and before pyarrow is imported."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if "MALLOC_ARENA_MAX" in os.environ:  # somebody knows better
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, and no arenas either
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
