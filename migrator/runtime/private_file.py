"""
Writes private files for the operator: only their owner can read them, links are not followed, writes are atomic.

The files hold values of rows and messages of the server. The content goes into a new file in the same folder. When the
content is complete, the new file gets the requested name. So a reader never sees half of the content, and the job never
writes to a link or to another user's file.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from secrets import token_hex
from typing import Final

from migrator.errors import ConfigurationError

_MODE: Final = 0o600

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_STANDARD: Final = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}
"""Names of the standard streams, with their descriptors."""


def check_writable(path: Path) -> None:
    """
    Check that a private file can be written at ``path``. The check leaves no file behind.

    Raises ConfigurationError if ``path`` is a link or a folder, or if no file can be created in its folder.
    """
    if str(path) in _STANDARD:
        return
    try:
        if not _is_regular_or_new(path):
            return
        with _beside(path) as temporary:
            os.close(os.open(temporary, _NEW, _MODE))
    except OSError as error:
        raise ConfigurationError(
            f"{str(path)!r} can't be written: {error.strerror or error}",
            next_step="Name a file in a folder that exists and that the user of the job may write to; "
            "an existing file of that name may be no link and no folder.",
        ) from error


@contextmanager
def whole_file(path: Path) -> Iterator[TextIOWrapper]:
    """
    Open a text file that replaces ``path`` at the end of the block. After an error in the block, ``path`` is unchanged.

    A pipe or a terminal is written to directly. Raises OSError, also if nobody reads the pipe.
    """
    if (number := _STANDARD.get(str(path))) is not None:
        with os.fdopen(os.dup(number), "w", encoding="utf-8") as stream:
            yield stream
        return
    if not _is_regular_or_new(path):
        with os.fdopen(_open_pipe(path), "w", encoding="utf-8") as stream:
            yield stream
        return
    with _beside(path) as temporary:
        with os.fdopen(os.open(temporary, _NEW, _MODE), "w", encoding="utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _replace(temporary, path)


def _open_pipe(path: Path) -> int:
    """Return the descriptor of a pipe or a terminal. Raises OSError if nobody reads the pipe."""
    try:
        # Without O_NONBLOCK, opening a pipe waits for a reader, perhaps forever.
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OSError(errno.ENXIO, "it is a pipe, and nobody reads it") from error
    os.set_blocking(descriptor, True)
    return descriptor


def is_file(path: Path) -> bool:
    """Return whether ``path`` is a regular file, or doesn't exist yet. A link, a pipe or a folder is none."""
    try:
        return str(path) not in _STANDARD and _is_regular_or_new(path)
    except OSError:
        return False


def write_in_place(path: Path, text: str) -> None:
    """
    Replace the content of a file without making a new file.

    Kubernetes mounts the file of the termination message, and a mounted file can't be replaced by renaming. A missing
    file is created with access for its owner only. Links are not followed. Raises OSError.
    """
    if (number := _STANDARD.get(str(path))) is not None:
        descriptor = os.dup(number)
    else:
        # If the path is a pipe, O_NONBLOCK opens it without waiting for a reader.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags, _MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and number is None:
            os.ftruncate(descriptor, 0)
        stream.write(text)


def _is_regular_or_new(path: Path) -> bool:
    """Return whether ``path`` is a regular file or doesn't exist yet. Raises OSError if it is a link or a folder."""
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
    """Yield a new random path in the same folder, and delete a file that is still there at the end of the block."""
    temporary = path.with_name(f".{path.name[:100]}.{token_hex(8)}")
    try:
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _replace(temporary: Path, path: Path) -> None:
    try:
        temporary.replace(path)
    except OSError as error:
        if error.errno != errno.EBUSY:  # EBUSY: the file itself is a mount point
            raise
        write_in_place(path, temporary.read_text(encoding="utf-8"))
        return
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have the disk hold the names in a folder, so that a file that was renamed keeps its name after a crash."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some file systems can't sync a folder
            os.fsync(folder)
    finally:
        os.close(folder)
