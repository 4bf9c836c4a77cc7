"""Says that there is no room for a file that SQLite writes: its folder, the bytes it needs and those that are free."""

import errno
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from migrator.errors import ConfigurationError

_NO_ROOM: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
"""SQLite's codes for a full disk, and for a write that the system refuses otherwise, as by a quota or a limit."""

_NO_ROOM_IN_FOLDER: Final = (errno.ENOSPC, errno.EDQUOT)

_ENOUGH: Final = 1 << 20
"""A folder with so many bytes free isn't the one that is full."""


def refuse_without_room(new: Path, needed: int) -> None:
    """Raise ConfigurationError if there is no room for ``needed`` bytes in the folder of the ``new`` file; OSError."""
    free = shutil.disk_usage(new.parent).free
    if free < needed:
        raise ConfigurationError(
            f"there is no room for {str(new)!r}: {needed} bytes are needed in {str(new.parent)!r}, {free} are free",
            next_step="Make room there, or name a file on another disk with --to.",
        )


def is_without_room(error: OSError) -> bool:
    """Return whether an error of a folder says that its disk is full."""
    return error.errno in _NO_ROOM_IN_FOLDER


def lacks_room(error: sqlite3.Error) -> bool:
    """Return whether an error of SQLite's says that something couldn't be written for lack of room."""
    return getattr(error, "sqlite_errorcode", None) in _NO_ROOM


@contextmanager
def telling_no_room(unfinished: Path, new: Path, needed: int) -> Iterator[None]:
    """
    Raise ConfigurationError instead of SQLite's error that there is no room for the file ``unfinished``.

    The message names the ``new`` file, and about how many bytes it needs. SQLite sorts in files in TMPDIR, which may be
    what is full.
    """
    try:
        yield
    except sqlite3.Error as error:
        if lacks_room(error):
            raise no_room(unfinished, new, needed) from error
        raise


def no_room(unfinished: Path, new: Path, needed: int) -> ConfigurationError:
    """Return the error for a file that couldn't be written to its end; ``needed`` is its size in bytes, about."""
    free, scratch = shutil.disk_usage(new.parent).free, Path(tempfile.gettempdir())
    written = unfinished.stat().st_size if unfinished.exists() else 0
    full = f"{written} of about {max(needed, written)} bytes were written, and {free} are free in {str(new.parent)!r}"
    if free < _ENOUGH:
        return ConfigurationError(
            f"there was no room for {str(new)!r} any more: {full}",
            next_step="Make room there, or name a file on another disk with --to, and run it again.",
        )
    return ConfigurationError(
        f"there was no room for {str(new)!r}, or for SQLite's files beside it, any more: {full}, "
        f"{shutil.disk_usage(scratch).free} in {str(scratch)!r}",
        next_step="Make room where it lacks: name a file on another disk with --to, set TMPDIR to a folder on another "
        "disk, or raise the quota or the limit for a file's size (ulimit -f); then run it again.",
    )
