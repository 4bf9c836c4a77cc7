"""What tells a source from another, or from itself before a change: also where no counter of the file has moved."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fix_sqlite import MakeSqlite

from migrator.source.database import Source
from migrator.source.file import TOUCHED, Fingerprint, stamp

SCRIPT = "CREATE TABLE t (id INTEGER PRIMARY KEY, t TEXT)"
WAL = f"PRAGMA journal_mode = wal; {SCRIPT}"
ROWS = [(n, "old") for n in range(2000)]


async def _fingerprint(path: Path) -> Fingerprint:
    source = Source(path)
    try:
        return await source.fingerprint()
    finally:
        await source.close()


def _write(connection: sqlite3.Connection, word: str) -> None:
    connection.execute("UPDATE t SET t = ? WHERE id = 7", (word,))
    connection.commit()


async def test_a_log_begun_anew_at_the_same_size(make_sqlite: MakeSqlite) -> None:
    """Neither the file nor the size of its log has changed; the salts and checksums of the log have."""
    source = make_sqlite(WAL, {"t": ROWS})
    with closing(sqlite3.connect(source)) as connection:
        _write(connection, "one")
        before = stamp(source)
        connection.execute("PRAGMA wal_checkpoint(FULL)")  # the next commit begins the log anew
        held = source.read_bytes()
        _write(connection, "two")
        after = stamp(source)
        assert source.read_bytes() == held
        assert before.wal_bytes == after.wal_bytes > 0
        assert before.wal_commit != after.wal_commit


async def test_a_log_that_was_written_to_within_its_size(make_sqlite: MakeSqlite) -> None:
    """A long log that was begun anew keeps its size; what counts is the last commit that is its own."""
    source = make_sqlite(WAL, {"t": ROWS})
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("UPDATE t SET t = 'long'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(FULL)")
        seen = []
        for word in ("one", "two"):
            _write(connection, word)
            seen.append(stamp(source))
        assert seen[0].wal_bytes == seen[1].wal_bytes
        assert seen[0].wal_commit != seen[1].wal_commit


async def test_a_checkpoint_that_leaves_every_counter(make_sqlite: MakeSqlite) -> None:
    """In WAL mode a commit need not touch the change counter; the file was written to all the same."""
    source = make_sqlite(WAL, {"t": ROWS})
    before = await _fingerprint(source)
    times = source.stat()
    with closing(sqlite3.connect(source)) as connection:
        _write(connection, "new")
    after = await _fingerprint(source)
    assert (before.size_bytes, before.change_counter, before.wal_commit) == (
        after.size_bytes,
        after.change_counter,
        after.wal_commit,
    )
    assert before.differences(after, but=TOUCHED)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert before.differences(await _fingerprint(source))  # the time of the last change can't be set back


READS: dict[str, Callable[[sqlite3.Connection], object]] = {
    "a query": lambda connection: connection.execute("SELECT count(*) FROM t").fetchone(),
    "a check": lambda connection: connection.execute("PRAGMA quick_check").fetchone(),
}


@pytest.mark.parametrize("script", [SCRIPT, WAL], ids=["rollback journal", "log"])
@pytest.mark.parametrize("read", READS)
async def test_who_only_reads_changes_nothing(script: str, read: str, make_sqlite: MakeSqlite) -> None:
    """A fingerprint that was taken before a reader came is that of afterwards."""
    source = make_sqlite(script, {"t": ROWS})
    before = await _fingerprint(source)
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as connection:
        READS[read](connection)
    assert before.differences(await _fingerprint(source)) == []


async def test_another_file_in_its_place(make_sqlite: MakeSqlite, tmp_path: Path) -> None:
    """Two files of one history may have every counter in common; the one is not the other."""
    source = make_sqlite(SCRIPT, {"t": ROWS})
    other = tmp_path / "other.db"
    other.write_bytes(source.read_bytes())
    for path, word in ((source, "one"), (other, "two")):
        with closing(sqlite3.connect(path)) as connection:
            _write(connection, word)
    before = await _fingerprint(source)
    other.replace(source)
    after = await _fingerprint(source)
    assert (before.size_bytes, before.change_counter) == (after.size_bytes, after.change_counter)
    assert before.differences(after, but=TOUCHED)


def test_a_ledger_that_knew_less() -> None:
    """What an earlier version has not written down is no difference."""
    known = Fingerprint(size_bytes=4096, change_counter=1, wal_bytes=0, schema_digest="0")
    now = Fingerprint(4096, 1, 0, "", "inode 1 of 2", "3", "0")
    assert known.differences(now) == []
    assert known.differences(Fingerprint(4096, 2, 0, "", "inode 1 of 2", "3", "0")) == ["change counter was 1, is 2"]
