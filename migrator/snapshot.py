"""
A copy of the source in scratch space, for an application that goes on writing, or a mount that SQLite can't open.

The copy is made by SQLite's online backup: one moment of the database, with what only its write-ahead log holds.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from migrator.errors import SourceChanged
from migrator.source import Source
from migrator.source_file import stamp, unreadable, uri_of


@asynccontextmanager
async def snapshot_of(path: Path) -> AsyncIterator[Source]:
    """
    Give a source that is a copy of the file at ``path``; it takes as much room under TMPDIR, and is gone at the end.

    It is known by the original's stamp from just before the copy. Raises SourceUnreadable; OSError if there is no room.
    """
    with TemporaryDirectory(prefix="migrator-") as folder:
        copy = Path(folder) / path.name
        before = stamp(path)
        if not await asyncio.to_thread(_back_up, path, copy):
            await asyncio.to_thread(_copy_files, path, copy)
            if stamp(path) != before:
                raise SourceChanged(
                    f"somebody writes to the source {str(path)!r}, and its folder allows no snapshot",
                    next_step="give this user write permission on the folder, or stop the application",
                    source=str(path),
                )
        source = Source(copy, stamp=before)
        try:
            yield source
        finally:
            await source.close()


def _back_up(path: Path, copy: Path) -> bool:
    """Return whether SQLite could open the file: one in WAL mode needs a folder to write to, or its helpers in it."""
    try:
        with closing(sqlite3.connect(uri_of(path), uri=True)) as original, closing(sqlite3.connect(copy)) as target:
            original.backup(target)
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CANTOPEN:
            return False
        raise unreadable(path, error) from error
    return True


def _copy_files(path: Path, copy: Path) -> None:
    copy.unlink(missing_ok=True)
    shutil.copyfile(path, copy)
    log = path.with_name(f"{path.name}-wal")
    if log.exists():
        shutil.copyfile(log, copy.with_name(f"{copy.name}-wal"))
