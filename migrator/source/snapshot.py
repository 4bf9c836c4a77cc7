"""
Copies the source into scratch space, if the application goes on writing, or SQLite can't open the file on its mount.

SQLite's online backup makes the copy. It has the database of one moment, with the rows that are only in the write-ahead
log. If a transaction was interrupted, its rollback journal is copied too, and SQLite rolls it back in the copy.
"""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from migrator.errors import SourceChanged, SourceUnreadable
from migrator.source.database import Source
from migrator.source.file import JOURNAL_MAGIC, beside, has_journal, open_file, stamp, unreadable


@asynccontextmanager
async def snapshot_of(path: Path) -> AsyncIterator[Source]:
    """
    Yield a source that is a copy of the file at ``path``. The copy is deleted when the block ends.

    The copy takes as much space under TMPDIR as the file. Its stamp is the original's stamp from just before the copy.
    Raises SourceUnreadable; SourceChanged if somebody writes while files are copied; OSError if there is no space.
    """
    with TemporaryDirectory(prefix="migrator-") as folder:
        copy = Path(folder) / path.name
        before = stamp(path)
        if not await asyncio.to_thread(_back_up, path, copy):
            seen = _seen(path)
            await asyncio.to_thread(_copy_files, path, copy)
            if stamp(path) != before or _seen(path) != seen:
                raise SourceChanged(
                    f"somebody writes to the source {str(path)!r}, and its folder allows no snapshot",
                    next_step="Give this user write permission on the folder, or stop the application.",
                    source=str(path),
                )
            await asyncio.to_thread(_roll_back, path, copy)
        source = Source(copy, stamp=before)
        try:
            yield source
        finally:
            await source.close()


def _back_up(path: Path, copy: Path) -> bool:
    """
    Copy the file with SQLite's backup, and return whether SQLite could open it.

    For a file in WAL mode SQLite needs a folder that it may write to, or the helper files in that folder. A file whose
    last transaction was interrupted must be written to before it can be read (SQLite, "Result Codes":
    SQLITE_READONLY_ROLLBACK).
    """
    try:
        with closing(open_file(path)) as original, closing(sqlite3.connect(copy)) as target:
            original.backup(target)
    except sqlite3.Error as error:
        code = error.sqlite_errorcode & 0xFF
        if code == sqlite3.SQLITE_CANTOPEN or (code == sqlite3.SQLITE_READONLY and has_journal(path)):
            return False
        raise unreadable(path, error) from error
    return True


def _seen(path: Path) -> list[tuple[int, int] | None]:
    """Return each file's size and time, which change when somebody writes to it; None for a file that doesn't exist."""
    files = (path, beside(path, "-wal"), beside(path, "-journal"))
    facts = [file.stat() if file.exists() else None for file in files]
    return [(fact.st_size, fact.st_mtime_ns) if fact else None for fact in facts]


def _copy_files(path: Path, copy: Path) -> None:
    copy.unlink(missing_ok=True)
    shutil.copyfile(path, copy)
    for suffix in ("-wal", "-journal"):
        helper = beside(path, suffix)
        if helper.exists():
            shutil.copyfile(helper, beside(copy, suffix))


def _roll_back(path: Path, copy: Path) -> None:
    """
    Let SQLite roll back, in the copy, the transaction that was interrupted in the original.

    The journal of a transaction over several files is valid only while their super-journal exists (SQLite, "Atomic
    Commit In SQLite", 5.5). Without the super-journal nobody can know whether the transaction was committed.
    """
    if not has_journal(copy):
        return
    super_journal = _super_journal(copy)
    if super_journal is not None and not super_journal.exists():
        raise SourceUnreadable(
            f"the rollback journal of source {str(path)!r} belongs to a transaction over several files, and "
            f"{str(super_journal)!r}, which says whether it was committed, is not there",
            next_step="Bring that file back to its place. If the application has removed it, start the application "
            "once, so that it recovers its file.",
            source=str(path),
        )
    if super_journal is not None:
        _forget_super_journal(copy)
    try:
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error as error:
        raise unreadable(path, error) from error


def _super_journal(copy: Path) -> Path | None:
    """
    Return the super-journal that is named at the end of a journal; None if the journal names none.

    The end consists of name, length, checksum, and the magic number again (SQLite, pager.c, ``readSuperJournal``).
    """
    with beside(copy, "-journal").open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < _SUPER_JOURNAL_TAIL:
            return None
        file.seek(size - _SUPER_JOURNAL_TAIL)
        tail = file.read(_SUPER_JOURNAL_TAIL)
        length = int.from_bytes(tail[:4], "big")
        if tail[8:] != JOURNAL_MAGIC or not 0 < length <= size - _SUPER_JOURNAL_TAIL:
            return None
        file.seek(size - _SUPER_JOURNAL_TAIL - length)
        return Path(os.fsdecode(file.read(length)))


def _forget_super_journal(copy: Path) -> None:
    """Remove the super-journal's name from the copy's journal; else SQLite would delete the application's file."""
    with beside(copy, "-journal").open("r+b") as file:
        file.seek(-len(JOURNAL_MAGIC), os.SEEK_END)
        file.write(bytes(len(JOURNAL_MAGIC)))


_SUPER_JOURNAL_TAIL = 16
