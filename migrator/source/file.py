"""
Checks the source as a file: whether it can be read, whether it has changed, and what SQLite's errors mean.

The check comes before any library opens the file, because a library would create a file that doesn't exist.
"""

import os
import sqlite3
import stat
import struct
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import asdict

from migrator.errors import SourceUnreadable

HEADER = b"SQLite format 3\x00"
"""The first 16 bytes of every database file (SQLite, "Database File Format", 1.3.1)."""


class Stamp(Struct, frozen=True):
    """The parts of a fingerprint that are read from the file without SQLite."""

    size_bytes: int
    change_counter: int
    wal_bytes: int
    wal_commit: str | None = None
    """The last commit that the write-ahead log holds; empty if it holds none."""
    file: str | None = None
    """The file's inode and the time of its last write: another file may have been moved to this path."""
    touched: str | None = None
    """The time when anything about the file last changed, also its permissions or links. Nobody can set it back."""


class Fingerprint(Stamp, frozen=True):
    """
    Facts about a file that tell it from another file or an earlier state, without reading the whole file.

    With a rollback journal, the change counter grows with every transaction that reaches the file. In WAL mode it may
    stay the same (SQLite, "Database File Format", 1.3.7), so the log's last commit and the file's time count too. Equal
    fingerprints prove that the content is equal. Different fingerprints don't prove that the content differs: a reader
    that ends a log, or somebody who copies the file, changes no row.
    """

    schema_digest: str = ""

    def differences(self, other: "Fingerprint", *, but: Collection[str] = ()) -> list[str]:
        """Return, in words, the fields that differ in ``other``, without the fields ``but``; None equals any value."""
        others = asdict(other)
        pairs = {name: (value, others[name]) for name, value in asdict(self).items()}
        return [
            f"{name.replace('_', ' ')} was {before}, is {after}"
            for name, (before, after) in pairs.items()
            if name not in but and None not in {before, after} and before != after
        ]

    def stamp_differences(self, now: Stamp) -> list[str]:
        """Return, in words, the fields of the stamp that differ ``now``."""
        return self.differences(Fingerprint(**asdict(now), schema_digest=self.schema_digest))


TOUCHED = ("touched",)
"""Fields that may differ although nobody has written: somebody changed the file's permissions, or linked to it."""


def stamp(path: Path) -> Stamp:
    """Return a file's stamp. SQLite isn't used, so this also works if SQLite can't open the file; raises OSError."""
    log = beside(path, "-wal")
    with path.open("rb") as file:
        header = file.read(100)
        status = os.fstat(file.fileno())
    return Stamp(
        status.st_size,
        int.from_bytes(header[24:28], "big"),
        log.stat().st_size if log.exists() else 0,
        last_commit(log),
        f"inode {status.st_ino} of {status.st_mtime_ns}",
        str(status.st_ctime_ns),
    )


def uri_of(path: Path) -> str:
    """
    Return the URI by which SQLite opens a file for reading only, and never creates a file.

    Every byte that has a meaning in a URI is escaped; a path need not be UTF-8. Without the empty authority, SQLite
    would read the start of a path with two leading slashes as an authority (SQLite, "Uniform Resource Identifiers",
    3.1).
    """
    return f"file://{quote(os.fsencode(path.absolute()))}?mode=ro"


def open_file(path: Path) -> sqlite3.Connection:
    """Open a file with Python's own SQLite, for reading only; raises ``sqlite3.Error``."""
    return sqlite3.connect(uri_of(path), uri=True)


def beside(path: Path, suffix: str) -> Path:
    """Return the path of SQLite's helper file, ``-wal`` or ``-journal``. Links are followed, as SQLite follows them."""
    return Path(os.path.realpath(path) + suffix)


JOURNAL_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
"""The first bytes of a rollback journal in use. Zeroed bytes end its use (SQLite, "Database File Format", 3)."""


def has_journal(path: Path) -> bool:
    """
    Return whether a rollback journal lies beside the file that SQLite would roll back, unless somebody writes just now.

    An empty journal, or a journal with a zeroed header, remains from a transaction that has ended (SQLite, "Atomic
    Commit In SQLite", 4.2).
    """
    try:
        with beside(path, "-journal").open("rb") as file:
            return file.read(len(JOURNAL_MAGIC)) == JOURNAL_MAGIC
    except OSError:
        return False


def check_file(path: Path) -> None:
    """
    Check that ``path`` is a SQLite database that can be read.

    Call this before any library opens the file, because a library might create it.

    Raises SourceUnreadable with the reason and the operator's next step.
    """
    problem, step = _file_problem(path)
    if problem:
        raise SourceUnreadable(f"source {str(path)!r} {problem}", next_step=step, source=str(path))


def _file_problem(path: Path) -> tuple[str, str]:
    try:
        if not path.exists():
            return "does not exist", "Check the path, and that the volume is mounted; the job never creates a source."
        if path.is_dir():
            return "is a directory", "Name the database file inside it."
        if not stat.S_ISREG(path.stat().st_mode):  # to read from a pipe might never end
            return "is no regular file", "Name the database file; a copy of it, if it comes out of a pipe."
        with path.open("rb") as file:
            header = file.read(100)
    except PermissionError:
        return "may not be read", "Give this user read permission on the file and its directory."
    except OSError as error:
        return f"can't be read ({error.strerror})", "Check the path and the volume."
    problem = _header_problem(header, path.stat().st_size)
    # If an interrupted transaction has changed the file's size, its journal restores the size.
    return ("", "") if "truncated" in problem[0] and has_journal(path) else problem


def _header_problem(header: bytes, size: int) -> tuple[str, str]:
    if not header:
        return "is empty", "Name the database that the application wrote; an empty file is a database without tables."
    if not header.startswith(HEADER):
        return "is no SQLite database", "Name a database file; decrypt an encrypted one first."
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    pages = int.from_bytes(header[28:32], "big")
    counters_agree = header[24:28] == header[92:96]  # else the page count is stale ("Database File Format", 1.3.8)
    if counters_agree and pages * page_size > size:
        return (
            f"is truncated: its header counts {pages * page_size} bytes, the file has {size}",
            "Copy the file again, with its -wal file, or restore it from a backup.",
        )
    return "", ""


def unreadable(path: Path, error: BaseException, **facts: object) -> SourceUnreadable:
    """Return the SourceUnreadable for an error that SQLite reported about the file, with the operator's next step."""
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    driver_message = reason.rpartition("query: ")[2]
    step = "Check the file with `sqlite3 FILE 'PRAGMA integrity_check'`, or restore it from a backup."
    if ("unable to open" in reason or "readonly" in reason) and has_journal(path):
        reason = (
            f"the rollback journal {beside(path, '-journal').name!r} lies beside it: the application was interrupted "
            "in a transaction, which has to be rolled back first"
        )
        step = (
            "Run with --snapshot, which rolls the transaction back in a copy and leaves the source as it is. "
            "Or start the application once, so that it recovers its file."
        )
    elif "unable to open" in reason or "readonly" in reason:
        step = (
            "Run with --snapshot, which reads a copy. Or put the -wal and -shm files of a database in WAL mode "
            "beside it, in a directory that this user may write to. Or have the application make a checkpoint before "
            "the file is mounted read-only."
        )
    message = f"source {str(path)!r} can't be read: {reason}"
    return SourceUnreadable(message, driver_message=driver_message, next_step=step, source=str(path), **facts)


_HEADER = struct.Struct(">8I")
"""Magic, version, page size, number of the checkpoint, two salts, two checksums ("Database File Format", 4.1)."""

_FRAME = struct.Struct(">6I")
"""Page, size of the database after a commit or 0, the two salts, two checksums of the log up to this frame."""


def last_commit(log: Path) -> str:
    """
    Return a text that identifies the log's last commit: its salts, its frame's number, and the checksums up to it.

    Two logs with the same text have the same content. The text is empty if there is no log, or a log without commits.
    Blocks while it reads one header for each page.
    """
    try:
        with log.open("rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return ""
            _, _, page_bytes, _, *salts, _, _ = _HEADER.unpack(header)
            last = ""
            number = 0
            while len(frame := file.read(_FRAME.size)) == _FRAME.size:
                number += 1
                _, commits, *frame_salts, first_checksum, second_checksum = _FRAME.unpack(frame)
                if frame_salts != salts:  # the frame remains from before the log was restarted
                    break
                if commits:
                    last = f"{salts[0]:08x}{salts[1]:08x}.{number}.{first_checksum:08x}{second_checksum:08x}"
                file.seek(page_bytes, 1)
            return last
    except FileNotFoundError:
        return ""
