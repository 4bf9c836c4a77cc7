"""--snapshot: one moment of the source, while the application goes on writing, and where SQLite can't open the file."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fix_job import Cli, contents, quick_flags, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.errors import SourceChanged
from migrator.job import migrate, run
from migrator.monitoring.tracker import Tracker
from migrator.stages.park import park

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.mark.one_server
async def test_the_application_goes_on_writing(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it writes during the job is left out, nobody is told that the file is locked, and the copy is gone after."""
    source = make_sqlite("CREATE TABLE t (id INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (id int)")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    async def write(*arguments: Any) -> int:  # noqa: ANN401 - passed on
        with closing(sqlite3.connect(source, timeout=0)) as connection:
            connection.execute("INSERT INTO t VALUES (2)")
            connection.commit()
        return await park(*arguments)

    monkeypatch.setattr(migrate, "park", write)
    await run.run(settings_of(source, database, snapshot=True), Tracker())
    assert await contents(database, "t") == ["(1)"]
    assert list(scratch.iterdir()) == []
    with pytest.raises(SourceChanged, match="t: 1 rows then, 2 now"):
        await run.run(settings_of(source, database), Tracker())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.one_server
async def test_a_log_that_was_not_checkpointed_on_a_read_only_mount(
    make_sqlite: MakeSqlite, database: Database, cli: Cli, open_folder: Path
) -> None:
    """SQLite can't open it there, and the job says so; a snapshot reads it, with the rows that only the log holds."""
    original = make_sqlite("PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER)")
    mount = open_folder / "mount"
    mount.mkdir()
    with closing(sqlite3.connect(original)) as connection:
        connection.execute("INSERT INTO t VALUES (7)")
        connection.commit()
        for suffix in ("", "-wal"):
            shutil.copy(f"{original}{suffix}", mount / f"source.db{suffix}")
    mount.chmod(0o555)
    await database.execute("CREATE TABLE t (id int)")
    flags = ("--source", mount / "source.db", "--schema", "existing", *quick_flags())
    environment = {"MIGRATOR_TARGET_URL": database.url, "HOME": str(mount)}
    refused = cli("run", *flags, prefix=NOBODY, variables=environment)
    assert refused.code == 3
    assert "--snapshot" in str(refused.failure["next_step"])
    assert await contents(database, "t") == []
    ended = cli("run", *flags, "--snapshot", prefix=NOBODY, variables=environment)
    assert ended.code == 0, ended.stderr
    assert await contents(database, "t") == ["(7)"]
