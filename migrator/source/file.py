"""
Looks at the source as a file: whether it can be read, what tells it from another, what SQLite's errors mean.

This is done before any library opens the file, because opening a file that doesn't exist would create it.
"""

import os
import sqlite3
import stat
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from struct import Struct
from urllib.parse import quote

from migrator.errors import SourceUnreadable

HEADER = b"SQLite format 3\x00"
"""The first 16 bytes of every database file (SQLite, "Database File Format", 1.3.1)."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The parts of a fingerprint that are read off the file, without SQLite."""

    size_bytes: int
    change_counter: int
    wal_bytes: int
    wal_commit: str | None = None
    """The last commit that the write-ahead log holds; empty if it holds none."""
    file: str | None = None
    """Which file it is, and when it was last written to: another one may be moved to its place."""
    touched: str | None = None
    """When anything about the file was last changed, also its rights or its links; nobody can set that back."""


@dataclass(frozen=True, slots=True)
class Fingerprint(Stamp):
    """
    Enough of a file to notice that it is another one, without reading it whole.

    The change counter grows with every transaction that reaches a file with a rollback journal. In WAL mode it need not
    (SQLite, "Database File Format", 1.3.7), and so the log's last commit counts, and the time of the file. That two
    fingerprints are equal proves that the content is; that they differ doesn't prove that it does: a reader that ends a
    log, or a copy of the file, has changed no row.
    """

    schema_digest: str = ""

    def differences(self, other: "Fingerprint", *, but: Collection[str] = ()) -> list[str]:
        """Return in words what ``other`` has different, ``but`` for these fields; what isn't known is no difference."""
        pairs = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        return [
            f"{name.replace('_', ' ')} was {before}, is {after}"
            for name, (before, after) in pairs.items()
            if name not in but and None not in {before, after} and before != after
        ]

    def stamp_differences(self, now: Stamp) -> list[str]:
        """Return, in words, what is different ``now`` of what is read off the file."""
        return self.differences(Fingerprint(**asdict(now), schema_digest=self.schema_digest))


TOUCHED = ("touched",)
"""What may differ although nobody has written: somebody changed a file's rights, or made a link to it."""


def stamp(path: Path) -> Stamp:
    """Return a file's stamp, without SQLite: also where SQLite can't open it."""
    log = beside(path, "-wal")
    with path.open("rb") as file:
        header = file.read(100)
        found = os.fstat(file.fileno())
    return Stamp(
        found.st_size,
        int.from_bytes(header[24:28], "big"),
        log.stat().st_size if log.exists() else 0,
        last_commit(log),
        f"inode {found.st_ino} of {found.st_mtime_ns}",
        str(found.st_ctime_ns),
    )


def uri_of(path: Path) -> str:
    """
    Return the URI by which SQLite opens a file for reading only, and never makes one.

    Every byte that means something in a URI is escaped; a path need not be UTF-8. The empty authority keeps a path with
    two slashes in front from being read as one (SQLite, "Uniform Resource Identifiers", 3.1).
    """
    return f"file://{quote(os.fsencode(path.absolute()))}?mode=ro"


def open_file(path: Path) -> sqlite3.Connection:
    """Open a file with Python's own SQLite, for reading only; raises ``sqlite3.Error``."""
    return sqlite3.connect(uri_of(path), uri=True)


def beside(path: Path, suffix: str) -> Path:
    """Return the helper that SQLite keeps beside a file: ``-wal`` or ``-journal``. It follows links, as SQLite does."""
    return Path(os.path.realpath(path) + suffix)


JOURNAL_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
"""The first bytes of a rollback journal in use; zeroed, it is none any more (SQLite, "Database File Format", 3)."""


def has_journal(path: Path) -> bool:
    """
    Return whether a rollback journal lies beside the file that SQLite would roll back, if nobody is writing just now.

    One that is empty or has its header zeroed is left over from a transaction that has ended (SQLite, "Atomic Commit In
    SQLite", 4.2).
    """
    try:
        with beside(path, "-journal").open("rb") as file:
            return file.read(len(JOURNAL_MAGIC)) == JOURNAL_MAGIC
    except OSError:
        return False


def check_file(path: Path) -> None:
    """
    Check that ``path`` is a SQLite database that can be read, before any library opens (and so might create) it.

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
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, for ever
            return "is no regular file", "Name the database file; a copy of it, if it comes out of a pipe."
        with path.open("rb") as file:
            header = file.read(100)
    except PermissionError:
        return "may not be read", "Give this user read permission on the file and its directory."
    except OSError as error:
        return f"can't be read ({error.strerror})", "Check the path and the volume."
    problem = _header_problem(header, path.stat().st_size)
    # What an interrupted transaction has done to the file's size, its journal undoes.
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
    """Return the error for what SQLite reported about the file, with the next step."""
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


_HEADER = Struct(">8I")
"""Magic, version, page size, number of the checkpoint, two salts, two checksums ("Database File Format", 4.1)."""

_FRAME = Struct(">6I")
"""Page, size of the database after a commit or 0, the two salts, two checksums of the log up to here."""


def last_commit(log: Path) -> str:
    """
    Return which commit is the log's last: the salts, its frame, and the checksums of all that the log holds up to it.

    Two logs that give the same text hold the same. Empty if there is no log, or none with a commit; blocks while one
    header a page is read.
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
                _, commits, *its_salts, one, two = _FRAME.unpack(frame)
                if its_salts != salts:  # left over from before the log was begun anew
                    break
                if commits:
                    last = f"{salts[0]:08x}{salts[1]:08x}.{number}.{one:08x}{two:08x}"
                file.seek(page_bytes, 1)
            return last
    except FileNotFoundError:
        return ""
