"""Rows that the target holds before the job has brought any: the source's own are in nobody's way, others stay."""

from pathlib import Path
from typing import Any

import pytest
from adbc_driver_postgresql import dbapi
from fix_job import contents, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite, Rows

from migrator.errors import RowsInTheWay
from migrator.job import check, run
from migrator.monitoring.tracker import Tracker
from migrator.verification.presence import MOST_JOINED

pytestmark = pytest.mark.one_server

SOURCE = """
CREATE TABLE version (id INTEGER PRIMARY KEY, name TEXT, at TEXT);
CREATE TABLE log (line TEXT);
CREATE TABLE other (id INTEGER PRIMARY KEY);
"""
ROWS: Rows = {
    "version": [(1, "5.0", "2024-01-02 03:04:05.678901"), (2, None, None), (3, "ü", "2024-01-02 00:00:00")],
    "log": [("again",), ("again",), ("once",)],
    "other": [(1,)],
}
TARGET = """
CREATE TABLE version (id bigint PRIMARY KEY, name text, at timestamptz);
CREATE TABLE log (line text);
CREATE TABLE other (id bigint PRIMARY KEY);
"""


@pytest.fixture
def source(make_sqlite: MakeSqlite) -> Path:
    """Give a file with a few rows in each table, one with a key and one without."""
    return make_sqlite(SOURCE, ROWS)


@pytest.mark.parametrize(
    "seed",
    [
        "INSERT INTO version VALUES (1, '5.0', '2024-01-02 03:04:05.678901+00')",
        "INSERT INTO version VALUES (3, 'ü', '2024-01-02 01:00+01'), (2, NULL, NULL)",
        "INSERT INTO log VALUES ('again'), ('again')",
        "INSERT INTO log VALUES ('once'), ('again'), ('again'); INSERT INTO other VALUES (1)",
    ],
    ids=["one row", "two rows, spelled otherwise", "twins", "whole tables"],
)
async def test_rows_that_the_source_holds_are_in_nobodys_way(source: Path, database: Database, seed: str) -> None:
    """The application has seeded its tables with what the source has too: the job ends well, and no row is twice."""
    await database.execute(f"{TARGET} {seed}")
    report = await run.run(settings_of(source, database), Tracker())
    assert {line.table: line.target_rows for line in report.tables} == {
        "public.log": 3,
        "public.other": 1,
        "public.version": 3,
    }
    assert await contents(database, "log") == ["(again)", "(again)", "(once)"]


@pytest.mark.parametrize(
    ("seed", "table", "shown"),
    [
        (
            "INSERT INTO version VALUES (1, '4.9', '2024-01-02 03:04:05.678901+00'), (2, NULL, NULL)",
            "version",
            r"\(2 rows: 1 equal to .*, 1 different\), where id = '1': name is '5.0' in .*, '4.9' in the target$",
        ),
        (
            "INSERT INTO version VALUES (1, '5.0', '2024-01-02 03:04:05.678902+00')",
            "version",
            r"\(1 row: 1 different\), where id = '1': at is .*678901.* in the source, .*678902.* in the target$",
        ),
        (
            "INSERT INTO version VALUES (2, '', NULL)",
            "version",
            r"\(1 row: 1 different\), where id = '2': name is NULL in the source, '' in the target$",
        ),
        (
            "INSERT INTO version VALUES (4, NULL, NULL)",
            "version",
            r"\(1 row: 1 only there\), where id = '4': extra in target$",
        ),
        (
            "INSERT INTO log VALUES ('once'), ('once')",
            "log",
            r"\(2 rows: 1 equal .*, 1 only there\), where line = 'once': extra in target$",
        ),
        (
            "ALTER TABLE other ADD COLUMN mine text; INSERT INTO other VALUES (1, 'x')",
            "other",
            r"\(1 row: 1 equal but for mine, for which the source has no values\)$",
        ),
        (
            f"INSERT INTO log SELECT 'once' FROM generate_series(0, {MOST_JOINED})",
            "log",
            r"\(1001 rows: 1 equal .*, 1000 only there\), where line = 'once': extra in target, 1000 times$",
        ),
    ],
    ids=[
        "other value",
        "a microsecond",
        "'' for NULL",
        "other key",
        "one twin too many",
        "column of its own",
        "too many",
    ],
)
async def test_a_row_that_the_source_lacks_makes_the_job_refuse(
    source: Path, database: Database, seed: str, table: str, shown: str
) -> None:
    """The error names the table, the rows and both values; every table is as it was."""
    await database.execute(f"{TARGET} {seed}")
    before = {name: await contents(database, name) for name in ROWS}
    with pytest.raises(RowsInTheWay, match=rf"public\.{table} {shown}"):
        await run.run(settings_of(source, database), Tracker())
    assert {name: await contents(database, name) for name in ROWS} == before


@pytest.mark.parametrize(
    "column",
    ["mine text", "mine int DEFAULT 7", "mine numeric(8, 2) DEFAULT 0", "mine varchar(9) DEFAULT 'it''s'", "mine json"],
)
async def test_columns_of_the_targets_own_may_hold_their_default(source: Path, database: Database, column: str) -> None:
    """Such a row is the source's: loaded anew it holds the same. With anything else in the column it is not."""
    await database.execute(f"{TARGET} ALTER TABLE other ADD COLUMN {column}; INSERT INTO other (id) VALUES (1)")
    settings = settings_of(source, database)
    assert (await check.check(settings, Tracker())).failure is None
    await run.run(settings, Tracker())


@pytest.mark.parametrize("column", ["mine timestamptz DEFAULT now()", "mine serial", "mine uuid"])
async def test_columns_of_the_targets_own_that_hold_something(source: Path, database: Database, column: str) -> None:
    """What the column holds would be gone, so the row is not the source's."""
    await database.execute(
        f"{TARGET} ALTER TABLE other ADD COLUMN {column}; INSERT INTO other (id) VALUES (1);"
        "UPDATE other SET mine = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"
        if "uuid" in column
        else f"{TARGET} ALTER TABLE other ADD COLUMN {column}; INSERT INTO other (id) VALUES (1)"
    )
    with pytest.raises(RowsInTheWay, match=r"public\.other \(1 row: 1 equal but for mine, for which the source has"):
        await run.run(settings_of(source, database), Tracker())


async def test_a_unique_key_tells_rows_apart_too(make_sqlite: MakeSqlite, database: Database) -> None:
    """A table of one row without a primary key: the row is different, and the value that differs is named."""
    source = make_sqlite("CREATE TABLE position (lock TEXT UNIQUE, at INTEGER)", {"position": [("X", 17)]})
    await database.execute(
        "CREATE TABLE position (lock char(1) NOT NULL DEFAULT 'X' UNIQUE, at bigint, CHECK (lock = 'X'));"
        "INSERT INTO position (at) VALUES (0)"
    )
    message = str((await check.check(settings_of(source, database), Tracker())).failure)
    assert "public.position (1 row: 1 different), where lock = 'X': at is '17' in the source, '0' in the" in message


async def test_tables_of_any_size_are_compared_each_by_itself(make_sqlite: MakeSqlite, database: Database) -> None:
    """A table with more rows than are joined is compared by hashes, and keeps no other table from being compared."""
    source = make_sqlite(
        "CREATE TABLE large (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE twins (line TEXT);"
        "CREATE TABLE small (id INTEGER PRIMARY KEY)",
        {
            "large": [(n, f"row {n}") for n in range(5000)],
            "twins": [("again",)] * 3000,
            "small": [(1,)],
        },
    )
    await database.execute(
        "CREATE TABLE large (id bigint PRIMARY KEY, name text); CREATE TABLE twins (line text);"
        "CREATE TABLE small (id bigint PRIMARY KEY); INSERT INTO small VALUES (2);"
        "INSERT INTO large SELECT n, 'row ' || n FROM generate_series(1000, 5001) n;"
        "UPDATE large SET name = 'mine' WHERE id IN (1500, 2500, 3500);"
        "INSERT INTO twins SELECT 'again' FROM generate_series(1, 3002)"
    )
    report = await check.check(settings_of(source, database), Tracker())
    message = str(report.failure)
    assert "public.large (4002 rows: 3997 equal to the source's, 3 different, 2 only there), where id = " in message
    assert "public.small (1 row: 1 only there), where id = '2': extra in target" in message
    assert "public.twins (3002 rows: 3000 equal to the source's, 2 only there), where line = 'again'" in message
    await database.execute(
        "UPDATE large SET name = 'row ' || id; DELETE FROM large WHERE id > 4999; TRUNCATE small;"
        "DELETE FROM twins WHERE ctid = ANY (ARRAY(SELECT ctid FROM twins LIMIT 2))"
    )
    assert (await check.check(settings_of(source, database), Tracker())).failure is None
    await run.run(settings_of(source, database), Tracker())


async def test_values_are_not_shown_where_they_are_masked(source: Path, database: Database) -> None:
    """With --mask-values the key is named and neither value."""
    await database.execute(f"{TARGET} INSERT INTO version VALUES (1, 'mine', NULL)")
    with pytest.raises(RowsInTheWay, match="id = '1': name is") as caught:
        await run.run(settings_of(source, database, mask_values=True), Tracker())
    assert "mine" not in str(caught.value)
    assert "5.0" not in str(caught.value)


class WrittenMeanwhile(Tracker):
    """An application that was started too early: it writes when preflight is over and the copy about to begin."""

    def __init__(self, database: Database, statement: str) -> None:
        """``statement`` is what it runs."""
        super().__init__()
        self.database = database
        self.statement = statement

    def expect(self, stage: str, *details: Any, **more: Any) -> None:  # noqa: ANN401 - as the method that it stands for
        """Write, at that moment."""
        super().expect(stage, *details, **more)
        if stage == "copy":
            with dbapi.connect(self.database.url, autocommit=True) as connection, connection.cursor() as cursor:
                cursor.execute(self.statement)


@pytest.mark.parametrize(
    ("seed", "statement"),
    [
        ("", "INSERT INTO version VALUES (9, 'mine', NULL)"),
        ("INSERT INTO version VALUES (1, '5.0', '2024-01-02 03:04:05.678901+00')", "UPDATE version SET name = 'mine'"),
    ],
    ids=["into an empty table", "into a seeded one"],
)
async def test_rows_that_come_after_preflight_are_not_lost(
    source: Path, database: Database, seed: str, statement: str
) -> None:
    """The table is looked at once more, locked, before it is emptied: what was written meanwhile stays."""
    await database.execute(f"{TARGET} {seed}")
    with pytest.raises(RowsInTheWay, match=r"public\.version \(1 row: 1 "):
        await run.run(settings_of(source, database), WrittenMeanwhile(database, statement))
    assert [row["name"] for row in await database.fetch("SELECT name FROM version")] == ["mine"]
