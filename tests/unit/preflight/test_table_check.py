"""The survey of a table: exact counts, bounded examples, and nothing shown that is to be masked."""

from io import StringIO

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import MakeMove
from rich.console import Console
from structlog.testing import capture_logs

from migrator.preflight.bisection import ROWS_NAMED
from migrator.reports.console.outcome import render

pytestmark = pytest.mark.one_server
TARGET = "CREATE TABLE t (id int PRIMARY KEY, v date)"
SOURCE = "CREATE TABLE t (id INTEGER PRIMARY KEY, v)"


async def test_rows_are_counted_and_a_few_are_shown(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """However many are bad: the number is exact, and ``examples`` of them have their key and value."""
    make_sqlite(SOURCE, {"t": [(i, "soon" if i % 10 == 0 else "2024-02-29") for i in range(5000)]})
    await database.execute(TARGET)
    [finding] = (await move(examples=3).check()).findings
    assert (finding.rows, finding.at_least) == (500, False)
    assert [(example.key, example.value) for example in finding.examples] == [
        ("id = 0", "'soon'"),
        ("id = 10", "'soon'"),
        ("id = 20", "'soon'"),
    ]


async def test_a_column_that_is_bad_throughout(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """It isn't looked at to the end: the finding says that there are at least so many."""
    make_sqlite(SOURCE, {"t": [(i, "soon") for i in range(ROWS_NAMED + 10)]})
    await database.execute(TARGET)
    [finding] = (await move(examples=1).check()).findings
    assert (finding.rows, finding.at_least) == (ROWS_NAMED, True)
    assert f"at least {ROWS_NAMED} rows" in finding.line()


async def test_masked_values(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """Keys are named; of a value only its storage class and size are told, in whatever is printed or logged."""
    make_sqlite(SOURCE, {"t": [(1, "a secret word"), (2, b"secret"), (3, 12345678)]})
    await database.execute(TARGET)
    report = await move(mask_values=True).check()
    assert "secret" not in str(report.to_json())
    assert "12345678" not in str(report.to_json())
    assert "text of 13 bytes" in str(report.to_json())


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "id = 1"),
        ("CREATE TABLE t (id TEXT PRIMARY KEY, v)", "id = '1'"),
        ("CREATE TABLE t (id INTEGER, v)", "rowid 1"),
        ("CREATE TABLE t (id INTEGER, v, PRIMARY KEY (v, id)) WITHOUT ROWID", "v, id = 'soon', 1"),
    ],
    ids=["alias of the rowid", "text", "none", "without rowid"],
)
async def test_how_a_row_is_named(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, table: str, key: str
) -> None:
    """By its primary key as SQL literals, or its rowid."""
    make_sqlite(table, {"t": [(1, "soon")]})
    await database.execute("CREATE TABLE t (id text, v date)")
    [finding] = (await move().check()).findings
    assert finding.examples[0].key == key


async def test_rows_that_have_no_name_at_all(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """A table may have no key, and columns called like all names of the rowid."""
    make_sqlite("CREATE TABLE t (rowid, _rowid_, oid)", {"t": [(1, 2, "soon")]})
    await database.execute("CREATE TABLE t (rowid int, _rowid_ int, oid date)")
    [finding] = (await move().check()).findings
    assert (finding.column, finding.examples[0].key) == ("oid", "?")


async def test_what_a_run_decided_is_in_its_report(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """The one assumption that is made without a rule is said: naive text is UTC."""
    make_sqlite(SOURCE, {"t": [(1, "2024-02-29 12:00:00")]})
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v timestamptz)")
    assert (await move().run()).notes == ("t: text without an offset is read as UTC (in v)",)


async def test_what_asks_for_nothing_is_one_line_a_table(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """In check, log and report alike; the findings of check for programs stay by column. Empty tables say nothing."""
    make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a NUMERIC, b NUMERIC, c TEXT COLLATE NOCASE, d TEXT, e TEXT, f TEXT);"
        "CREATE TABLE empty (d TEXT)",
        {
            "t": [
                (
                    1,
                    0.1234567890123456,
                    0.1234567890123457,
                    "x",
                    "2024-02-29 12:00:00",
                    None,
                    "2024-02-29T12:00:00-01:00",
                )
            ]
        },
    )
    await database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a numeric, b numeric, c text, d timestamptz, e timestamptz,"
        "f timestamptz);"
        "CREATE TABLE empty (d timestamptz)"
    )
    looked = await move().check()
    assert [finding.column for finding in looked.findings] == ["a", "b", "c"]
    [table_notice] = looked.table_notices
    assert table_notice.line().startswith("t: text without an offset is read as UTC (in d); the value is ")
    assert "(in a: 1 row, b: 1 row)" in table_notice.line()
    assert "(in c: 1 row)" in table_notice.line()
    shown = StringIO()
    render(looked, Console(file=shown, width=1000))
    assert shown.getvalue().count("worth knowing") == 1
    with capture_logs() as events:
        report = await move().run()
    assert report.notes == (table_notice.line(),)
    [event] = [event for event in events if event["event"] == "values.remarked"]
    assert (event["message"], event["log_level"]) == (table_notice.line(), "info")
