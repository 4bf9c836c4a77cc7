"""``run --refresh --compare changed``: rows that nobody has written since they were compared aren't read again."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import contents
from fix_postgres import Database, database_on
from fix_sqlite import MakeSqlite, Rows
from refresh.test_refresh import change, lines_of, moved

from migrator.errors import MigratorError, RowsInTheWay
from migrator.refresh.pages import page_look
from migrator.refresh.row_hashes import RowHashes
from migrator.verification import digest
from migrator.verification.recipe import Recipe

pytestmark = pytest.mark.one_server

SCRIPT = """
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, other TEXT, photo BLOB);
CREATE TABLE letters (id INTEGER PRIMARY KEY, writer INTEGER NOT NULL REFERENCES people (id), body TEXT);
CREATE TABLE named (name TEXT PRIMARY KEY, v INTEGER);
CREATE TABLE pairs (a TEXT, b INTEGER, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
"""
COUNT = 12_000
ROWS: Rows = {
    "people": [(n * 3 - 9_000, f"p{n}", f"o{n}", bytes(9_000) if n % 2_000 == 7 else None) for n in range(COUNT)],
    "letters": [(n, n * 3 - 9_000, f"body of letter {n}") for n in range(COUNT)],
    "named": [(f"k{n}", n) for n in range(COUNT)],
    "pairs": [(f"a{n}", n % 3, "v") for n in range(COUNT)],
}
TABLES = tuple(ROWS)
CHANGED = {"refresh": True, "compare": "changed"}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the names of the tables of which all rows are read at an end, which are filled in later."""
    names: list[str] = []
    of_target, of_recipe = digest.of_target, Recipe.digest
    hashed = {side: getattr(RowHashes, f"read_{side}") for side in ("source", "target")}

    def target(session: object, comparison: object, *more: object) -> object:
        if "xmin" not in comparison.target_condition:  # type: ignore[attr-defined]
            names.append(f"target {comparison.target.name.name}")  # type: ignore[attr-defined]
        return of_target(session, comparison, *more)  # type: ignore[arg-type]

    def source(self: Recipe, session: object, table: object, *more: object) -> object:
        names.append(f"source {table.name}")  # type: ignore[attr-defined]
        return of_recipe(self, session, table, *more)  # type: ignore[arg-type]

    def hashed_source(self: RowHashes, session: object, address: object, comparison: object, *more: object) -> None:
        if not comparison.target_condition:  # type: ignore[attr-defined]
            names.append(f"source {comparison.source.name}")  # type: ignore[attr-defined]
        hashed["source"](self, session, address, comparison, *more)

    def hashed_target(self: RowHashes, session: object, comparison: object, *more: object) -> None:
        if not comparison.target_condition:  # type: ignore[attr-defined]
            names.append(f"target {comparison.target.name.name}")  # type: ignore[attr-defined]
        hashed["target"](self, session, comparison, *more)

    monkeypatch.setattr(digest, "of_target", target)
    monkeypatch.setattr(Recipe, "digest", source)
    monkeypatch.setattr(RowHashes, "read_source", hashed_source)
    monkeypatch.setattr(RowHashes, "read_target", hashed_target)
    return names


async def rehearsed(make_sqlite: MakeSqlite, database: Database) -> Path:
    """Migrate as a rehearsal does, and return the source."""
    source = make_sqlite(SCRIPT, ROWS)
    await moved(source, database, rehearsal=True)
    return source


async def hold_fresh(source: Path, database: Database) -> None:
    """Hold that the target is as after a fresh run."""
    with database_on(database.server) as other:
        await moved(source, other)
        for table in TABLES:
            assert await contents(database, table) == await contents(other, table), table


async def test_only_rows_in_doubt_are_read(make_sqlite: MakeSqlite, database: Database, read: list[str]) -> None:
    """With numbers for keys, only the rows on changed pages; with others, all rows of tables that have changed."""
    source = await rehearsed(make_sqlite, database)
    for script, expected in (
        ("SELECT 1", []),
        ("UPDATE people SET name = 'new' WHERE id IN (0, 21000); DELETE FROM letters WHERE id = 77;", []),
        ("INSERT INTO people VALUES (-20000, 'low', NULL, x'00'), (90000, 'high', '', NULL), (1, 'gap', '', NULL)", []),
        ("UPDATE people SET photo = CAST(substr(photo, 1, 8999) || x'01' AS BLOB) WHERE id = 21 - 9000", []),
        ("DELETE FROM letters WHERE id BETWEEN 2000 AND 2999", []),
        ("UPDATE named SET v = -1 WHERE name = 'k5'", ["source named", "target named"]),
        ("DELETE FROM pairs WHERE a = 'a7'", ["source pairs", "target pairs"]),
        ("UPDATE letters SET body = 'all'", ["target letters", "target people"]),
    ):
        read.clear()
        change(source, script)
        await moved(source, database, **CHANGED)
        assert sorted(set(read)) == expected, script
        await hold_fresh(source, database)


async def test_it_says_what_it_has_read(make_sqlite: MakeSqlite, database: Database) -> None:
    """The report has the rows that were read of each table, and says so in words."""
    source = await rehearsed(make_sqlite, database)
    change(source, "UPDATE people SET name = 'new' WHERE id = 0; UPDATE named SET v = -1 WHERE name = 'k5'")
    report = await moved(source, database, **CHANGED)
    rows_read = {entry.source: entry.rows - entry.not_read for entry in report.refreshed}
    assert rows_read == {entry.source: entry.to_json()["rows_read"] for entry in report.refreshed}
    assert rows_read["letters"] == rows_read["pairs"] == 0
    assert 0 < rows_read["people"] < 1_000
    assert rows_read["named"] == COUNT
    assert any("were compared by an earlier run" in note for note in report.notes), report.notes
    report = await moved(source, database, refresh=True)
    assert {entry.to_json()["rows_read"] for entry in report.refreshed} == {COUNT}
    assert not any("earlier run" in note for note in report.notes), report.notes


TAMPERINGS = (
    "UPDATE letters SET body = 'tampered' WHERE id = 4",
    "DELETE FROM letters WHERE id = 11000",
    "DELETE FROM letters WHERE id = 5; INSERT INTO letters VALUES (5, 0, 'body of letter 5x')",
    "INSERT INTO letters VALUES (300000, 0, 'own')",
    """ALTER TABLE people RENAME name TO x; ALTER TABLE people RENAME other TO name;
    ALTER TABLE people RENAME x TO other""",
    "ALTER TABLE letters DROP body; ALTER TABLE letters ADD body text DEFAULT 'the same for all'",
    """ALTER TABLE letters RENAME TO l; CREATE TABLE letters (LIKE l INCLUDING ALL);
    INSERT INTO letters SELECT id, writer, upper(body) FROM l;
    ALTER TABLE letters ADD FOREIGN KEY (writer) REFERENCES people (id); DROP TABLE l""",
    "ALTER TABLE letters ALTER body TYPE text USING upper(body)",
)


@pytest.mark.parametrize("tampering", TAMPERINGS)
@pytest.mark.parametrize("script", ["SELECT 1", "UPDATE letters SET body = 'new' WHERE id = 9000"])
async def test_every_change_of_the_target_is_noticed(
    tampering: str, script: str, make_sqlite: MakeSqlite, database: Database
) -> None:
    """Also one that no row shows: another column under the name, or a default in place of the values."""
    source = await rehearsed(make_sqlite, database)
    await database.execute(tampering)
    change(source, script)
    refused: MigratorError | None = None
    try:
        await moved(source, database, schema_mode="existing", **CHANGED)
    except MigratorError as error:
        refused = error
    if refused is not None:
        assert refused.exit_code in {1, 4}, refused
        assert not await database.fetch("SELECT FROM migrator.state WHERE name = 'ready'")
    else:  # no row was written by anybody, so the source's rows were brought again
        assert "RENAME" in tampering or "DEFAULT" in tampering
        await hold_fresh(source, database)


async def test_renamed_values_of_an_enum_are_noticed(make_sqlite: MakeSqlite, database: Database) -> None:
    """``ALTER TYPE … RENAME VALUE`` changes what is read without writing a row."""
    source = make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, kind TEXT)", {"t": [(n, "ab"[n % 2]) for n in range(COUNT)]}
    )
    await database.execute("CREATE TYPE kind AS ENUM ('a', 'b'); CREATE TABLE t (id bigint PRIMARY KEY, kind kind)")
    await moved(source, database, rehearsal=True, schema_mode="existing")
    for value, other in (("a", "c"), ("b", "a"), ("c", "b")):
        await database.execute(f"ALTER TYPE kind RENAME VALUE '{value}' TO '{other}'")
    with pytest.raises(MigratorError) as refused:
        await moved(source, database, schema_mode="existing", **CHANGED)
    assert refused.value.exit_code == 1, refused.value


async def test_an_update_that_changes_no_value_is_no_change(
    make_sqlite: MakeSqlite, database: Database, read: list[str]
) -> None:
    """Rows with other versions and the same values: the table is read, and found to be as it was."""
    source = await rehearsed(make_sqlite, database)
    await database.execute("UPDATE letters SET body = body WHERE id < 100")
    await database.execute("VACUUM FULL people")
    change(source, "UPDATE letters SET body = 'new' WHERE id = 50")
    report = await moved(source, database, **CHANGED)
    assert "public.letters: 0 inserted, 1 updated, 0 deleted" in lines_of(report)
    assert not [name for name in read if "source" in name]
    assert "target letters" in read
    await hold_fresh(source, database)


@pytest.mark.parametrize(
    "work", ["VACUUM", "PRAGMA journal_mode = WAL", "CREATE INDEX i ON people (name)", "PRAGMA user_version = 7"]
)
async def test_a_file_written_anew_is_read(
    work: str, make_sqlite: MakeSqlite, database: Database, read: list[str]
) -> None:
    """Where the pages don't tell, all rows are read; the next refresh has pages to go by again."""
    source = await rehearsed(make_sqlite, database)
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("UPDATE people SET name = 'new' WHERE id = 3")
        connection.commit()
        connection.execute(work)
    await moved(source, database, **CHANGED)
    assert ("source pairs" in read) == (work == "VACUUM")
    await hold_fresh(source, database)
    read.clear()
    await moved(source, database, **CHANGED)
    assert read == []


async def test_rows_in_the_log_alone_are_read(make_sqlite: MakeSqlite, database: Database) -> None:
    """A write-ahead log that holds rows, as an application leaves it that was killed, is not passed over."""
    source = await rehearsed(make_sqlite, database)
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE people SET name = 'in the log' WHERE id = 3")
        connection.commit()
        report = await moved(source, database, **CHANGED)
        assert "public.people: 0 inserted, 1 updated, 0 deleted" in lines_of(report)
        await hold_fresh(source, database)


async def test_rules_for_rows_are_heard(make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """A row on an unchanged page stays behind if its parent has gone: then pages tell nothing."""
    source = make_sqlite(SCRIPT, ROWS)
    rules = tmp_path / "migrator.toml"
    rules.write_text('[columns."letters.writer"]\norphans = "drop"\n', encoding="utf-8")
    await moved(source, database, rehearsal=True, rules=rules)
    with closing(sqlite3.connect(source)) as connection:  # without foreign_keys
        connection.execute("DELETE FROM people WHERE id = 0")
        connection.commit()
    await moved(source, database, rules=rules, **CHANGED)
    assert await database.fetch("SELECT FROM letters WHERE writer = 0") == []


async def test_a_first_run_leaves_no_pages_unless_a_refresh_is_likely(
    make_sqlite: MakeSqlite, database: Database, read: list[str]
) -> None:
    """A plain run doesn't hash the pages; the first refresh then reads all, and the next only what has changed."""
    source = make_sqlite(SCRIPT, ROWS)
    await moved(source, database)
    assert await database.fetch("SELECT FROM migrator.compared") == []
    read.clear()
    await moved(source, database, **CHANGED)
    assert {f"{side} {table}" for side in ("source", "target") for table in TABLES} == set(read)
    read.clear()
    await moved(source, database, **CHANGED)
    assert read == []


async def test_a_writer_that_takes_a_row_away_and_brings_it_back(make_sqlite: MakeSqlite, database: Database) -> None:
    """Another row in its place, with the same number of rows, is refused by table and rows."""
    source = await rehearsed(make_sqlite, database)
    await database.execute("DELETE FROM named WHERE name = 'k1'; INSERT INTO named VALUES ('k1', 2)")
    with pytest.raises(RowsInTheWay, match=r"named \(1 new or changed, 1 changed or removed\)"):
        await moved(source, database, **CHANGED)


def parts(lines: Sequence[str]) -> set[str]:
    """Return the tables of the lines that tell of a change."""
    return {line.split(":")[0] for line in lines if "unchanged" not in line}


async def test_small_tables_are_read(
    make_sqlite: MakeSqlite, database: Database, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the limit nothing is kept of pages."""
    monkeypatch.setattr(page_look, "LEAST_ROWS", COUNT + 1)
    source = await rehearsed(make_sqlite, database)
    assert await database.fetch("SELECT FROM migrator.compared_pages") == []
    read.clear()
    change(source, "UPDATE people SET name = 'new' WHERE id = 0")
    assert parts(lines_of(await moved(source, database, **CHANGED))) == {"public.people"}
    assert "source letters" in read
