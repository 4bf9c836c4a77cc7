"""
Runs ``migrator backup``: copies a SQLite file that an application may be writing to, and checks the copy.

SQLite's online backup makes the copy: it has one moment of the database, with what is only in the write-ahead log. A
file copied by other means, while somebody writes, may be of no moment at all (SQLite, "How To Corrupt", 1.2).
"""

import asyncio
import hashlib
from pathlib import Path

from migrator.config.settings import Settings
from migrator.errors import ConfigurationError
from migrator.monitoring.tracker import Tracker
from migrator.reports.backup_report import BackupReport
from migrator.rollback.new_file import check, unfinished
from migrator.runtime.private_file import check_writable, whole_file
from migrator.source.file import check_file


async def backup(settings: Settings, tracker: Tracker) -> BackupReport:
    """
    Copy the source to ``settings.to``, check the copy, and write its SHA-256 beside it; return a report.

    Raises ConfigurationError if the copy can't be written or exists already, and SourceUnreadable if the source can't
    be read, or the copy is damaged as the source is; then there is no copy.
    """
    if settings.to is None:
        raise ConfigurationError(
            "backup needs --to",
            next_step="Name the file to write, as in `migrator backup --source app.db --to backup.db`.",
        )
    source, copy = settings.source_path, settings.to.absolute()
    check_file(source)
    with tracker.stage("backup"):
        return await asyncio.to_thread(_backed_up, source, copy)


def _backed_up(source: Path, copy: Path) -> BackupReport:
    beside = copy.with_name(copy.name + ".sha256")
    check_writable(beside)
    with unfinished(source, copy) as path:
        check(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
    with whole_file(beside) as written:
        written.write(f"{digest}  {copy.name}\n")
    return BackupReport(str(copy), size, digest)
