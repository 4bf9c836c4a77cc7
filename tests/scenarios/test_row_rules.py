"""Rules for rows, in the whole job: the rows that they carry arrive and are compared, the others are counted."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fix_job import contents, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.config.settings import Settings
from migrator.errors import ConfigurationError, Mismatch, SourceChanged, TargetRefused
from migrator.job import check, run, verify
from migrator.monitoring.tracker import Tracker

pytestmark = pytest.mark.one_server  # test_property_row_rules.py is for the other as well

NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY, owner TEXT, text TEXT, deleted INTEGER)"
NOTES_THERE = "CREATE TABLE notes (id bigint PRIMARY KEY, owner text, text text, deleted int)"


def ruled(source: Path, database: Database, rules: str, **more: Any) -> Settings:  # noqa: ANN401 - any setting
    """Return settings with a rules file."""
    file = source.with_name("migrator.toml")
    file.write_text(rules)
    return settings_of(source, database, rules=file, **more)


def change(source: Path, *statements: str) -> None:
    """Run statements on the source, as the application would."""
    with closing(sqlite3.connect(source)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def notes(count: int) -> list[tuple[int, str, str, int | None]]:
    """Return rows of which each third is deleted, and each seventh has no answer to that."""
    return [(n, f"owner {n % 5}", "x" * (n % 50), None if n % 7 == 0 else n % 3 == 0) for n in range(1, count + 1)]


@pytest.mark.parametrize("schema_mode", ["existing", "create"])
@pytest.mark.parametrize("more", [{}, {"chunk_bytes": 10_000, "jobs": 3}], ids=["whole", "in chunks"])
async def test_only_the_rows_of_the_condition_arrive(
    more: dict[str, int], schema_mode: str, make_sqlite: MakeSqlite, database: Database
) -> None:
    """A NULL of the condition is no yes; check, run and verify count what stays behind, and compare the rest."""
    rows = notes(3000)
    source = make_sqlite(NOTES, {"notes": rows})
    if schema_mode == "existing":
        await database.execute(NOTES_THERE)
    rules = """[tables."notes"]\nwhere = "deleted = 0 -- and not NULL"\n"""
    settings = ruled(source, database, rules, schema_mode=schema_mode, **more)
    kept = [row[0] for row in rows if row[3] == 0 and row[3] is not None]
    looked = await check.check(settings, Tracker())
    assert looked.failure is None
    [table] = looked.to_json()["tables"]
    assert (table["rows"], table["left_behind"]) == (len(kept), 3000 - len(kept))
    report = await run.run(settings, Tracker())
    [line] = report.tables
    assert (line.source_rows, line.target_rows, line.left_behind) == (len(kept), len(kept), 3000 - len(kept))
    assert f"notes: {3000 - len(kept)} rows are left behind" in " ".join(report.notes)
    assert [row["id"] for row in await database.fetch("SELECT id FROM notes ORDER BY id")] == kept
    again = await verify.verify(settings, Tracker())
    assert [(line.source_rows, line.left_behind) for line in again.tables] == [(len(kept), 3000 - len(kept))]
    await database.execute(f"INSERT INTO notes VALUES ({next(n for n in range(1, 3001) if n not in kept)}, 'a', '', 1)")
    with pytest.raises(Mismatch):
        await verify.verify(settings, Tracker())


async def test_another_condition_is_another_migration(make_sqlite: MakeSqlite, database: Database) -> None:
    """The ledger knows by which condition the rows came: before the end and after it, another one is refused."""
    source = make_sqlite(NOTES, {"notes": notes(100)})
    await database.execute(NOTES_THERE)
    settings = ruled(source, database, """[tables."notes"]\nwhere = "deleted = 0"\n""")
    await run.run(settings, Tracker())
    assert (await run.run(settings, Tracker())).headline.startswith("already migrated")
    for other in ("", """[tables."notes"]\nwhere = "deleted"\n"""):
        with pytest.raises(TargetRefused, match=r"notes \(where = 'deleted = 0' then, .* now\)"):
            await run.run(ruled(source, database, other), Tracker())


async def test_a_change_of_the_rows_that_stay_behind_is_no_change(make_sqlite: MakeSqlite, database: Database) -> None:
    """A complete migration is held to the rows that it carried, and to no others."""
    source = make_sqlite(NOTES, {"notes": notes(100)})
    await database.execute(NOTES_THERE)
    settings = ruled(source, database, """[tables."notes"]\nwhere = "deleted = 0"\n""")
    await run.run(settings, Tracker())
    change(source, "UPDATE notes SET text = 'other' WHERE deleted", "DELETE FROM notes WHERE deleted IS NULL")
    assert (await run.run(settings, Tracker())).headline.startswith("already migrated")
    change(source, "UPDATE notes SET deleted = 0 WHERE id = 3")
    with pytest.raises(SourceChanged, match="notes"):
        await run.run(settings, Tracker())


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("deletd = 0", "no such column: deletd"),
        ("deleted = 0; DROP TABLE notes", "semicolon"),
        ("1) OR (1", "closed that was not opened"),
        ("1)) UNION SELECT 1 FROM notes WHERE ((1", "closed that was not opened"),
        ("deleted = (0", "not closed"),
        ("count(*) > 1", "misuse of aggregate"),
        ("id = ?", "nothing begins with '?'"),
        ("abs(random()) > 0", r"random\(\) gives another value"),
        ("text < datetime('NOW')", "reads the clock"),
        ("text < CURRENT_TIMESTAMP", "reads the clock"),
        ("json_extract(text, '$.a') = 1", "malformed JSON"),
    ],
)
async def test_a_condition_that_can_not_be_used_is_named(
    where: str, reason: str, make_sqlite: MakeSqlite, database: Database
) -> None:
    """Exit code 2 with table, text and SQLite's message, before anything is written, the ledger included."""
    source = make_sqlite(NOTES, {"notes": notes(10)})
    await database.execute(NOTES_THERE)
    settings = ruled(source, database, f"""[tables."notes"]\nwhere = "{where}"\n""")
    for command in (check.check, run.run, verify.verify):
        with pytest.raises(ConfigurationError, match=f"of table 'notes' .*{reason}") as raised:
            await command(settings, Tracker())
        assert raised.value.facts == {"table": "notes", "where": where}
    assert await database.fetch("SELECT FROM pg_namespace WHERE nspname = 'migrator'") == []
    assert await contents(database, "notes") == []


KINDS = {
    "without rowid": "CREATE TABLE t (a TEXT, b INTEGER, v BLOB, PRIMARY KEY (a, b)) WITHOUT ROWID",
    "all names of the rowid taken": "CREATE TABLE t (a TEXT, b INTEGER, v BLOB, rowid TEXT, _rowid_ TEXT, oid TEXT)",
    "rowid is a column": "CREATE TABLE t (a TEXT, b INTEGER, v BLOB, rowid TEXT)",
    "generated": "CREATE TABLE t (a TEXT, b INTEGER, v BLOB, c INTEGER AS (b + 1), d TEXT AS (a || b) STORED)",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [{}, {"chunk_bytes": 20_000, "batch_bytes": 2**16}], ids=["whole", "in chunks"])
async def test_every_kind_of_table_and_row(
    more: dict[str, int], kind: str, make_sqlite: MakeSqlite, database: Database
) -> None:
    """Rows of very different widths are read in ranges; a table without a usable rowid is read by its key."""
    source = make_sqlite(KINDS[kind])
    with closing(sqlite3.connect(source)) as connection:
        connection.executemany(
            "INSERT INTO t (a, b, v) VALUES (?, ?, ?)",
            [(f"k{n % 7}", n, b"w" * (300_000 if n % 50 == 0 else n % 9)) for n in range(400)],
        )
        connection.commit()
    rules = """[tables."t"]\nwhere = "b % 4 <> 1"\n"""
    left_out = ["t.*"] if kind == "generated" else []
    settings = ruled(source, database, rules, schema_mode="create", leave_out=left_out, **more)
    report = await run.run(settings, Tracker())
    assert [(line.source_rows, line.left_behind) for line in report.tables] == [(300, 100)]
    rows = await database.fetch("SELECT b, octet_length(v) AS width FROM t ORDER BY b")
    assert [(row["b"], row["width"]) for row in rows] == [
        (n, 300_000 if n % 50 == 0 else n % 9) for n in range(400) if n % 4 != 1
    ]
