"""``migrator check --refresh``: what a refresh would do, without doing it; and what the report of the refresh says."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite, Rows
from fix_warm import Zygote

from migrator.errors import SourceChanged, ValuesRefused
from migrator.job import run
from migrator.job.cut_over import check_refresh
from migrator.job.cut_over.refresh import Refreshing, look
from migrator.monitoring.tracker import Tracker
from migrator.reports.refresh_report import TableRefresh

pytestmark = pytest.mark.one_server

SCRIPT = """
CREATE TABLE a (id INTEGER PRIMARY KEY, t TEXT); CREATE TABLE calm (id INTEGER PRIMARY KEY);
CREATE TABLE widened (id INTEGER PRIMARY KEY);
"""
CHANGES = """
UPDATE a SET t = 'new' WHERE id IN (1, 2); DELETE FROM a WHERE id = 7;
INSERT INTO a VALUES (50, 'x'), (51, 'y'), (52, 'z');
CREATE TABLE later (id INTEGER PRIMARY KEY); INSERT INTO later VALUES (1), (2);
"""


def change(path: Path, script: str) -> None:
    """Run a script on the source."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


async def test_it_says_what_a_refresh_does(
    make_sqlite: MakeSqlite, database: Database, warm: Zygote, tmp_path: Path
) -> None:
    """The same numbers by table before and after, in every form of the report; the check leaves both ends alone."""
    rows: Rows = {"a": [(n, "old") for n in range(20)], "calm": [(1,)], "widened": [(1,)]}
    source = make_sqlite(SCRIPT, rows)
    target = {"MIGRATOR_TARGET_URL": database.url}
    flags = ("--source", source, "--schema", "create")
    before = warm("check", *flags, "--refresh", variables=target)
    assert (before.code, "migrator run --rehearsal" in before.stderr) == (2, True)
    assert warm("run", *flags, "--rehearsal", variables=target).code == 0
    equal = warm("check", *flags, "--refresh", variables=target)
    assert (equal.code, "nothing has changed in 3 tables" in equal.stdout) == (0, True), equal.stderr
    assert "the window: about" in equal.stdout
    change(source, CHANGES)
    state = await database.fetch("SELECT * FROM migrator.state ORDER BY name")
    told = warm("check", *flags, "--refresh", "--format", "json", variables=target)
    assert told.code == 0, told.stderr
    report = json.loads(told.stdout)
    expected = {
        "public.a": ("changed", 22, 3, 2, 1),
        "public.calm": ("unchanged", 1, 0, 0, 0),
        "public.widened": ("unchanged", 1, 0, 0, 0),
        "public.later": ("new", 2, 0, 0, 0),
    }
    keys = ("way", "rows", "inserted", "updated", "deleted")
    assert {table["table"]: tuple(table[key] for key in keys) for table in report["refreshed"]} == expected
    assert report["window"]["seconds"] > 0
    assert report["headline"] == ("migration public: 3 rows to insert, 2 to update, 1 to delete, 1 table to load whole")
    assert await database.fetch("SELECT * FROM migrator.state ORDER BY name") == state
    assert await database.fetch("SELECT count(*) FROM a WHERE t = 'old'") == [(20,)]

    files = [tmp_path / name for name in ("r.json", "r.html", "r.xml")]
    reports = [word for file in files for word in ("--report", file)]
    done = warm("run", *flags, "--refresh", *reports, variables=target)
    assert done.code == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["public.a", "20", "22", "3", "2", "1", "changed", "yes"] in lines
    assert "2 tables unchanged" in done.stdout
    document = json.loads(files[0].read_text(encoding="utf-8"))
    assert {entry["table"]: tuple(entry[key] for key in keys) for entry in document["refreshed"]} == expected
    assert "What the refresh did" in files[1].read_text(encoding="utf-8")
    assert "<system-out>changed: 3 inserted, 2 updated, 1 deleted</system-out>" in files[2].read_text(encoding="utf-8")
    assert json.loads(warm("status", "--format", "json", variables=target).stdout)["refreshed"]["inserted"] == 3

    await database.execute("UPDATE a SET t = 'theirs' WHERE id = 4")
    refused = warm("check", *flags, "--refresh", variables=target)
    assert (refused.code, "public.a" in refused.stderr) == (4, True)
    await database.execute("UPDATE a SET t = 'old' WHERE id = 4")
    change(source, "INSERT INTO later VALUES (3); UPDATE calm SET id = 99999999999999 WHERE id = 1")
    await database.execute("ALTER TABLE calm ADD CHECK (id < 100)")
    assert warm("check", *flags, "--refresh", variables=target).code == 3


async def test_a_writer_meanwhile(make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a snapshot it says that the numbers are of several moments, and that values may only seem not to fit."""
    source = make_sqlite(SCRIPT, {"a": [(1, "old")], "calm": [(1,)], "widened": [(1,)]})
    settings = settings_of(source, database, schema_mode="create", refresh=True)
    await run.run(settings, Tracker())

    async def written_to(refreshing: Refreshing) -> tuple[TableRefresh, ...]:
        change(source, "INSERT INTO a (t) VALUES ('meanwhile')")
        return await look(refreshing)

    monkeypatch.setattr(check_refresh, "look", written_to)
    note = "somebody has written to the source meanwhile"
    assert note in "".join((await check_refresh.check(settings, Tracker())).notes)
    await database.execute("ALTER TABLE a ADD CHECK (t = 'old')")
    with pytest.raises(SourceChanged, match="while it is checked") as caught:
        await check_refresh.check(settings, Tracker())
    assert "--snapshot" in caught.value.next_step
    settings = settings.model_copy(update={"snapshot": True})
    with pytest.raises(ValuesRefused):
        await check_refresh.check(settings, Tracker())
    await database.execute("ALTER TABLE a DROP CONSTRAINT a_t_check")
    assert (await check_refresh.check(settings, Tracker())).notes == ()
