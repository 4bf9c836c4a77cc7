"""A server whose disk is full: said in plain words, and the next run finishes when there is room."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fix_job import quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_warm import Zygote

from migrator.demo.account import Account


@pytest.fixture
def small_disk(open_folder: Path) -> Iterator[Path]:
    """Give a folder of the server's on a disk of 4 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0755", "tmpfs", open_folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        space = open_folder / "space"
        space.mkdir(mode=0o700)
        Account.without_root().take(space)
        yield space
    finally:
        subprocess.run(["umount", "-l", open_folder], check=True)


def _enlarge(mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", mounted], check=True)


@pytest.mark.one_server
async def test_the_servers_disk_is_full(
    small_disk: Path, make_sqlite: MakeSqlite, database: Database, warm: Zygote
) -> None:
    """Exit 4 with the reason and the next step; some tables are in; with more room the same command ends with 0."""
    source = make_sqlite(
        "CREATE TABLE small (id INTEGER PRIMARY KEY); CREATE TABLE big (id INTEGER PRIMARY KEY, b BLOB);"
        "INSERT INTO small VALUES (1), (2);"
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
        "INSERT INTO big SELECT i, randomblob(1500) FROM n"
    )
    space = f"small_{database.name}"
    await database.execute(f"CREATE TABLESPACE {space} OWNER {database.role} LOCATION '{small_disk}'", as_admin=True)
    try:
        await database.execute(
            f"CREATE TABLE small (id int PRIMARY KEY);CREATE TABLE big (id int PRIMARY KEY, b bytea) TABLESPACE {space}"
        )
        flags = ("run", "--source", source, "--schema", "existing", "--chunk-bytes", 1_000_000, *quick_flags())
        ended = warm(*flags, MIGRATOR_TARGET_URL=database.url)
        assert ended.code == 4, ended.stderr
        assert "the server's disk is full" in ended.message
        assert "Make room" in str(ended.failure["next_step"])
        _enlarge(small_disk.parent)
        again = warm(*flags, MIGRATOR_TARGET_URL=database.url)
        assert again.code == 0, again.stderr
        counted = await database.fetch("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM big")
        assert tuple(counted[0]) == (5000, 5000)
    finally:
        await database.execute("DROP TABLE IF EXISTS big")
        await database.execute(f"DROP TABLESPACE {space}", as_admin=True)
