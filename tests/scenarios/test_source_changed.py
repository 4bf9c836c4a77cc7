"""A complete migration and its source: other content is never "nothing to do", a file that only looks changed is."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import Cli, Ended, contents, quick_flags, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite, Rows
from structlog.testing import capture_logs

from migrator.errors import SourceChanged, TargetRefused
from migrator.job import run as job_run
from migrator.monitoring.tracker import Tracker
from migrator.reports.run_report import Report

pytestmark = pytest.mark.one_server

SCRIPT = """
CREATE TABLE notes (id INTEGER PRIMARY KEY, t TEXT, at DATETIME, price NUMERIC, doc JSON, tags TEXT);
CREATE TABLE plain (n INTEGER);
CREATE TABLE none (id INTEGER PRIMARY KEY);
"""
ROWS: Rows = {
    "notes": [(n, f"note {n}", "2024-01-02 03:04:05", n / 4, f'{{"a": {n}}}', "{a,b}") for n in range(3000)],
    "plain": [(n % 7,) for n in range(50)],
}
TARGET = """
CREATE TABLE notes (id bigint PRIMARY KEY, t text, at timestamp, price numeric(12,2), doc jsonb, tags text[]);
CREATE TABLE plain (n int); CREATE TABLE none (id int);
"""
NOTHING = "already migrated and verified: nothing to do"


def _script(script: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)

    return run


def _copied_anew(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


SAME = {
    "VACUUM": _script("VACUUM"),
    "a new index": _script("CREATE INDEX i ON notes (t)"),
    "statistics": _script("ANALYZE"),
    "a journal mode": _script("PRAGMA journal_mode = wal"),
    "a change that was taken back": _script("UPDATE plain SET n = n + 1; UPDATE plain SET n = n - 1"),
    "rows in another order": _script("INSERT INTO plain SELECT n FROM plain; DELETE FROM plain WHERE rowid <= 50"),
    "a user version": _script("PRAGMA user_version = 9"),
    "a copy in its place": _copied_anew,
}
OTHER = {
    "a new row": ("INSERT INTO notes (id) VALUES (9999)", "notes: 3000 rows then, 3001 now"),
    "a row less": ("DELETE FROM plain WHERE rowid = 1", "plain: 50 rows then, 49 now"),
    "a changed value": ("UPDATE notes SET t = 'late' WHERE id = 7", "notes: 3000 rows then, 3000 now, other values"),
    "a value only the server reads": ("UPDATE notes SET tags = '{b,a}' WHERE id = 7", "notes: 3000 rows then"),
    "a document": ("UPDATE notes SET doc = '{\"a\": null}' WHERE id = 7", "notes: 3000 rows then"),
    "a row in an empty table": ("INSERT INTO none VALUES (1)", "none: 0 rows then, 1 now"),
    "a twin": ("UPDATE plain SET n = 0 WHERE rowid = 2", "plain: 50 rows then, 50 now, other values"),
    "a value of another kind": ("UPDATE plain SET n = 'many' WHERE rowid = 2", "plain: 50 rows then, 50 now"),
    "a new table": (
        "CREATE TABLE more (id); INSERT INTO more VALUES (1), (2)",
        "more: 0 rows then, 2 now, the table is",
    ),
    "a table gone": ("DROP TABLE plain", "plain: 50 rows then, ? now, the table is gone"),
    "a new column": ("ALTER TABLE plain ADD COLUMN m INTEGER", "column m is new"),
    "a column gone": ("ALTER TABLE notes DROP COLUMN t", "column t is gone"),
}


async def _migrated(make_sqlite: MakeSqlite, database: Database, script: str = SCRIPT) -> Path:
    source = make_sqlite(script, ROWS)
    await database.execute(TARGET)
    await job_run.run(settings_of(source, database), Tracker())
    return source


async def _again(source: Path, database: Database, **more: object) -> Report:
    return await job_run.run(settings_of(source, database, **more), Tracker())


@pytest.mark.parametrize("change", SAME)
async def test_a_file_that_only_looks_changed(change: str, make_sqlite: MakeSqlite, database: Database) -> None:
    """Its content is that of the ledger: 0, and the run after that needn't read the rows again."""
    source = await _migrated(make_sqlite, database)
    SAME[change](source)
    report = await _again(source, database)
    assert (report.headline, report.notes) == (NOTHING, ())
    with capture_logs() as events:
        await _again(source, database)
    assert "source.changed" not in {event["event"] for event in events}


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("change", OTHER)
async def test_other_content(change: str, journal: str, make_sqlite: MakeSqlite, database: Database) -> None:
    """3, with tables, rows then and now, and both ways on; as often as it is asked, and nothing is copied."""
    source = await _migrated(make_sqlite, database, f"PRAGMA journal_mode = {journal}; {SCRIPT}")
    script, words = OTHER[change]
    _script(script)(source)
    before = await contents(database, "notes")
    for _ in range(2):
        with pytest.raises(SourceChanged) as caught:
            await _again(source, database)
        assert words in str(caught.value)
        assert all(way in caught.value.next_step for way in ("--if-source-changed ignore", "--refresh", "--restart"))
        assert "--restart" in caught.value.next_step
    report = await _again(source, database, if_source_changed="ignore")
    assert report.headline == NOTHING
    assert "the source has changed since" in report.notes[0]
    assert await contents(database, "notes") == before


async def test_restart_brings_what_has_changed(make_sqlite: MakeSqlite, database: Database) -> None:
    """The way on that the refusal names works, and the run after it finds nothing to do."""
    source = await _migrated(make_sqlite, database)
    _script("INSERT INTO none VALUES (5)")(source)
    with pytest.raises(SourceChanged):
        await _again(source, database)
    await _again(source, database, restart=True)
    assert await contents(database, "none") == ["(5)"]
    assert (await _again(source, database)).headline == NOTHING


async def test_a_target_that_has_gone_on(make_sqlite: MakeSqlite, database: Database) -> None:
    """Tables renamed, types changed, rows written by the application: the source is compared with what it was."""
    source = await _migrated(make_sqlite, database)
    await database.execute(
        "ALTER TABLE notes RENAME TO pages; ALTER TABLE pages ALTER price TYPE text, DROP COLUMN tags, DROP COLUMN doc;"
        "DROP TABLE plain; DELETE FROM pages WHERE id > 5"
    )
    SAME["VACUUM"](source)
    assert (await _again(source, database)).notes == ()
    _script("UPDATE notes SET price = 12345.5 WHERE id = 7")(source)
    with pytest.raises(SourceChanged, match="notes: 3000 rows then, 3000 now, other values"):
        await _again(source, database)


async def test_what_decides_does_not_depend_on_settings(make_sqlite: MakeSqlite, database: Database) -> None:
    """Pieces, batches and hands are other ones than when the digest was made."""
    source = make_sqlite(SCRIPT, ROWS)
    await database.execute(TARGET)
    await job_run.run(settings_of(source, database, chunk_bytes=20_000, jobs=3, batch_bytes=64 << 10), Tracker())
    SAME["VACUUM"](source)
    assert (await _again(source, database, jobs=1)).notes == ()


async def test_a_change_in_the_log_alone(make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """The application holds its file in WAL mode: the row that came is in the log, which has the size that it had."""
    source = make_sqlite(f"PRAGMA journal_mode = wal; {SCRIPT}", ROWS)
    await database.execute(TARGET)

    def again() -> Ended:  # in a process of its own: two SQLites in one would lose each other's locks
        flags = ("--source", source, "--schema", "existing", *quick_flags())
        return cli("run", *flags, MIGRATOR_TARGET_URL=database.url)

    with closing(sqlite3.connect(source)) as connection:
        connection.execute("UPDATE plain SET n = 3 WHERE rowid = 1")
        connection.commit()
        assert again().code == 0
        held = source.read_bytes()
        size = source.with_name(f"{source.name}-wal").stat().st_size
        connection.execute("PRAGMA wal_checkpoint(FULL)")
        connection.execute("UPDATE plain SET n = 4 WHERE rowid = 1")
        connection.commit()
        assert source.with_name(f"{source.name}-wal").stat().st_size == size
        assert len(source.read_bytes()) == len(held)
        ended = again()
        assert ended.code == 3
        assert "plain: 50 rows then, 50 now, other values" in ended.message


async def test_a_table_that_was_left_out(make_sqlite: MakeSqlite, database: Database) -> None:
    """Excluded then and not now: 4, since its rows are not in the target; excluded still, it may hold what it likes."""
    source = make_sqlite(SCRIPT, ROWS)
    await database.execute(TARGET)
    await _again(source, database, exclude="plain")
    with pytest.raises(TargetRefused, match=r"table plain .excluded then, and not now"):
        await _again(source, database)
    _script("DELETE FROM plain; CREATE TABLE plain_2 (id)")(source)
    report = await _again(source, database, exclude="plain*")
    assert (report.headline, report.notes) == (NOTHING, ())


async def test_rules_that_have_changed(make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """A value that was read by one rule isn't there as another would have it: 4, which names column and rules."""
    source = make_sqlite("CREATE TABLE t (at INTEGER)", {"t": [(1_700_000_000,)]})
    await database.execute("CREATE TABLE t (at timestamptz)")
    rules = tmp_path / "migrator.toml"
    rules.write_text('[columns."t.at"]\nepoch = "s"\n')
    await _again(source, database, rules=str(rules))
    rules.write_text('# the same, in other words\n[columns."*.at"]\nepoch = "s"\n')
    assert (await _again(source, database, rules=str(rules))).headline == NOTHING
    rules.write_text('[columns."t.at"]\nepoch = "ms"\n')
    with pytest.raises(TargetRefused, match=r"t\.at .epoch = 's' then, epoch = 'ms' now"):
        await _again(source, database, rules=str(rules))


async def test_a_digest_of_another_version(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be compared is not equal; the refusal says that nobody can tell."""
    source = await _migrated(make_sqlite, database)
    SAME["VACUUM"](source)
    monkeypatch.setattr("migrator.job.source_changes.can_repeat", lambda _: False)
    with pytest.raises(SourceChanged, match="nobody can tell"):
        await _again(source, database)
