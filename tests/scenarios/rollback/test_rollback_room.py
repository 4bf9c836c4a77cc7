"""``migrator rollback`` without room or rights: said in plain words, and with room the same command ends with 0."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import Cli
from fix_postgres import Database

pytestmark = pytest.mark.one_server

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def small_disk(open_folder: Path) -> Iterator[Path]:
    """Give a folder on a disk of its own, of 100 kB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = open_folder / "disk"
    disk.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=100k,mode=0777", "tmpfs", disk)
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _enlarged(mounted: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", mounted], check=True)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_room_and_rights(small_disk: Path, open_folder: Path, database: Database, cli: Cli) -> None:
    """Each lack is told with where it is, and leaves no file: of the lists, of the changed rows, of the new file."""
    old, new = open_folder / "old.db", open_folder / "new.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, 'text')", [(row,) for row in range(5_000)])
        connection.commit()
    ended = cli("run", "--source", old, "--schema", "create", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    await database.execute("UPDATE t SET a = repeat(id::text, 300) WHERE id >= 1000")

    def back(to: Path, folder: Path = open_folder) -> tuple[int, str]:
        given = {"MIGRATOR_TARGET_URL": database.url, "TMPDIR": str(folder)}
        ended = cli("rollback", "--like", old, "--to", to, variables=given)
        return ended.code, "" if not ended.code else ended.message + ended.failure["next_step"]

    for size, words in (
        ("100k", "at least 240000 bytes are needed"),
        ("700k", "no room for the changed rows any more"),
    ):
        _enlarged(small_disk, size)
        code, said = back(new, small_disk)
        assert (code, new.exists()) == (2, False)
        assert words in said
        assert str(small_disk) in said
        assert "TMPDIR" in said
    # Of the new file: before anything is copied, and while rows are brought.
    for size, filler, words in (
        ("100k", 40_000, f"{old.stat().st_size} bytes are needed"),
        ("700k", 0, "were written"),
    ):
        _enlarged(small_disk, size)
        (small_disk / "filler").write_bytes(bytes(filler))
        code, said = back(small_disk / "new.db")
        assert code == 2, said
        for part in (
            words,
            f"room for '{small_disk / 'new.db'}'",
            f"in '{small_disk}'",
            "Make room there",
            "--to",
        ):
            assert part in said, said
        assert _names(small_disk) == ["filler"]
    (small_disk / "filler").unlink()
    _enlarged(small_disk, "64m")
    assert back(small_disk / "new.db", small_disk) == (0, "")

    # Somebody who may read the old file, and not write in the folder of the new one.
    old.chmod(0o644)
    ended = cli(
        *("rollback", "--like", old, "--to", new),
        prefix=NOBODY,
        MIGRATOR_TARGET_URL=database.url,
        TMPDIR=str(small_disk),
        HOME=str(small_disk),
    )
    assert ended.code == 2
    assert "can't be written: Permission denied" in ended.message
