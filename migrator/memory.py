"""
Keeps the process small: what one thread has freed, the next that asks gets, whichever of them it is.

glibc gives threads arenas of their own, eight for each processor, and Arrow's allocator one for each thread; what is
free in one of these is no use to the others. The job's threads take turns with buffers of megabytes, and gain nothing.
"""

import ctypes
import os

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
