"""
Files that the job writes for its operator: readable by nobody else, never through a link, and whole or not at all.

They hold rows' values and what a server said. The content goes into a new file beside the one that is named, and takes
its name when it is complete: a reader never sees half of it, and a link or a file of somebody else is never written to.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import IO, Final

from migrator.errors import ConfigurationError

_MODE: Final = 0o600

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_STANDARD: Final = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}
"""Names of what the process has open already, with the descriptor."""


def check_writable(path: Path) -> None:
    """
    Make sure that a private file of that name can be written; nothing stays behind.

    Raises ConfigurationError if the name is taken by a link or by a folder, or if its folder takes no new file.
    """
    if str(path) in _STANDARD:
        return
    try:
        if not _is_regular_or_new(path):
            return
        with _beside(path) as beside:
            os.close(os.open(beside, _NEW, _MODE))
    except OSError as error:
        raise ConfigurationError(
            f"{str(path)!r} can't be written: {error.strerror or error}",
            next_step="Name a file in a folder that exists and that the user of the job may write to; "
            "an existing file of that name may be no link and no folder.",
        ) from error


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """
    Give a text file to write to, which takes the place of ``path`` at the block's end; after an error nothing changes.

    What is no file of a file system (a pipe, a terminal) is written to as it is. Raises OSError.
    """
    if (number := _STANDARD.get(str(path))) is not None:
        with os.fdopen(os.dup(number), "w", encoding="utf-8") as stream:
            yield stream
        return
    if not _is_regular_or_new(path):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "w", encoding="utf-8") as stream:
            yield stream
        return
    with _beside(path) as beside:
        with os.fdopen(os.open(beside, _NEW, _MODE), "w", encoding="utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _replace(beside, path)


def is_file(path: Path) -> bool:
    """Return whether the name is that of a file in a file system, or of none yet: neither a link nor a pipe."""
    try:
        return str(path) not in _STANDARD and _is_regular_or_new(path)
    except OSError:
        return False


def write_in_place(path: Path, text: str) -> None:
    """
    Replace what a file holds, without a new file: Kubernetes mounts a termination message, which can't be renamed over.

    A file that isn't there is made, for its owner alone. No link is followed. Raises OSError.
    """
    if (number := _STANDARD.get(str(path))) is not None:
        descriptor = os.dup(number)
    else:
        # Opened without waiting for a reader, should it be a pipe.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags, _MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and number is None:
            os.ftruncate(descriptor, 0)
        stream.write(text)


def _is_regular_or_new(path: Path) -> bool:
    """Say whether it is a file of a file system, or none yet. Raises OSError if it is a link or a folder."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return True
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, "it is a symbolic link, and those are not followed")
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    return stat.S_ISREG(mode)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a name of our own in the same folder; what has it is gone afterwards."""
    beside = path.with_name(f".{path.name[:100]}.{token_hex(8)}")
    try:
        yield beside
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()


def _replace(beside: Path, path: Path) -> None:
    try:
        beside.replace(path)
    except OSError as error:
        if error.errno != errno.EBUSY:  # a file that is mounted by itself
            raise
        write_in_place(path, beside.read_text(encoding="utf-8"))
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some file systems can't
            os.fsync(folder)
    finally:
        os.close(folder)
