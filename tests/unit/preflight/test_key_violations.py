"""Keys of the target: rows that would break one are found and named before anything is written."""

from pathlib import Path

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import MakeMove, refusals

UNIQUE: dict[str, tuple[str, dict[str, object], set[str]]] = {
    "numbers": (
        "numeric UNIQUE",
        {"integer": 1, "text": "1", "zeros": "1.00", "two": 2, "null": None, "null too": None},
        {"integer", "text", "zeros"},
    ),
    "spellings of one uuid": (
        "uuid UNIQUE",
        {
            "dashes": "97033619-6371-4874-8591-279e78663470",
            "capitals": "97033619637148748591279E78663470",
            "other": "0" * 32,
        },
        {"dashes", "capitals"},
    ),
    "case in citext": ("citext UNIQUE", {"upper": "ADA", "lower": "ada", "other": "bob"}, {"upper", "lower"}),
    "case in text": ("text UNIQUE", {"upper": "ADA", "lower": "ada"}, set()),
    "blanks in char": ("char(5) UNIQUE", {"bare": "a", "padded": "a ", "other": "b"}, {"bare", "padded"}),
    "number and digits in text": ("text UNIQUE", {"number": 1, "digits": "1", "other": "01"}, {"number", "digits"}),
    "spellings of one moment": (
        "timestamp UNIQUE",
        {
            "seconds": "2024-02-29 12:00:00",
            "no seconds": "2024-02-29T12:00",
            "fraction": "2024-02-29 12:00:00.000",
            "later": "2024-02-29 12:00:00.000001",
            "midnight": "2024-02-29 00:00:00",
            "day": "2024-02-29",
        },
        {"seconds", "no seconds", "fraction", "midnight", "day"},
    ),
    "offsets of one instant": (
        "timestamptz UNIQUE",
        {
            "utc": "2024-02-29 12:00:00.999999",
            "berlin": "2024-02-29T13:00:00.999999+01:00",
            "second": "2024-02-29 12:00:01Z",
        },
        {"utc", "berlin"},
    ),
    "spellings of one time": (
        "time UNIQUE",
        {"short": "12:30", "long": "12:30:00", "other": "12:30:30"},
        {"short", "long"},
    ),
    "spellings of one address": (
        "inet UNIQUE",
        {"host": "10.0.0.1", "mask": "10.0.0.1/32", "net": "10.0.0.1/8", "null": None, "null too": None},
        {"host", "mask"},
    ),
    "spellings of one array": (
        "int[] UNIQUE",
        {"blank": "{1, 2}", "json": "[1,2]", "other": "{2,1}"},
        {"blank", "json"},
    ),
    "one null": ("text UNIQUE", {"null": None, "null too": None}, set()),
}


@pytest.mark.parametrize("case", UNIQUE)
@pytest.mark.one_server
async def test_what_postgresql_takes_for_equal(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, case: str
) -> None:
    """A unique key refuses what is one value to PostgreSQL, and SQLite had several of: all such rows are named."""
    declared, values, twins = UNIQUE[case]
    make_sqlite("CREATE TABLE t (id TEXT PRIMARY KEY, v UNIQUE)", {"t": list(values.items())})
    if "citext" in declared:
        await database.execute("CREATE EXTENSION citext", as_admin=True)
    await database.execute(f"CREATE TABLE t (id text PRIMARY KEY, v {declared})")
    report = await move().check()
    assert set(refusals(report.findings)) == twins
    if not twins:
        await move().run()


@pytest.mark.one_server
async def test_clocks_that_a_rule_names(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """Noon in Berlin is no noon in UTC, so these are no twins."""
    make_sqlite("CREATE TABLE t (v TEXT)", {"t": [("2024-02-29 12:00:00",), ("2024-02-29 12:00:00Z",)]})
    await database.execute("CREATE TABLE t (v timestamptz PRIMARY KEY)")
    rules = tmp_path / "migrator.toml"
    rules.write_text('[columns."t.v"]\ntimezone = "Europe/Berlin"\n')
    await move(rules=rules).run()


@pytest.mark.one_server
async def test_several_columns_and_nulls(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """A key over several columns is one question; a NULL in it is equal to nothing."""
    make_sqlite(
        "CREATE TABLE t (id TEXT PRIMARY KEY, a, b)",
        {"t": [("x", 1, "a"), ("y", 1, "a"), ("z", 1, None), ("n", 1, None)]},
    )
    await database.execute("CREATE TABLE t (id text PRIMARY KEY, a int, b text, UNIQUE (a, b))")
    [finding] = (await move().check()).findings
    assert (finding.column, finding.rows) == ("a", 2)
    assert finding.reason == "is there more than once, and t_a_b_key of the target is unique (a, b)"


@pytest.mark.one_server
async def test_a_null_in_a_primary_key(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """SQLite allows it in keys that are no INTEGER, and several times; the row is named by its rowid."""
    make_sqlite("CREATE TABLE t (id TEXT PRIMARY KEY)", {"t": [(None,), (None,), ("a",)]})
    await database.execute("CREATE TABLE t (id text PRIMARY KEY)")
    [finding] = (await move().check()).findings
    assert (finding.rows, finding.reason) == (2, "is missing and the target's column is NOT NULL")


async def test_orphans(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """SQLite checks foreign keys only if asked to: rows without a parent are named, also in a table that is its own."""
    make_sqlite(
        "CREATE TABLE parents (id TEXT PRIMARY KEY); CREATE TABLE t (id TEXT PRIMARY KEY, parent TEXT, boss TEXT)",
        {
            "parents": [("97033619-6371-4874-8591-279E78663470",)],
            "t": [
                ("child", "97033619637148748591279e78663470", None),
                ("none", None, "child"),
                ("orphan", "0" * 32, "child"),
                ("led by nobody", None, "gone"),
            ],
        },
    )
    await database.execute(
        "CREATE TABLE parents (id uuid PRIMARY KEY);"
        "CREATE TABLE t (id text PRIMARY KEY, parent uuid REFERENCES parents, boss text REFERENCES t)"
    )
    found = refusals((await move().check()).findings)
    assert set(found) == {"orphan", "led by nobody"}
    assert found["orphan"] == "refers to a row of parents that isn't there, and t_parent_fkey of the target wants it"
