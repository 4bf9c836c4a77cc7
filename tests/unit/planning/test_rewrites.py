"""Rules as SQL: what each makes of stored values, carried for real, verified, and counted."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import Carry, MakeMove, Refused

from migrator.errors import ConfigurationError

pytestmark = pytest.mark.one_server

MOMENT = datetime(2024, 2, 29, 12, 34, 56, 789000, UTC)
NAIVE = MOMENT.replace(tzinfo=None)
NO_TEXT = Refused("is not stored as TEXT")


Rules = Callable[[str], str]


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    """Give a function that writes a rules file and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "migrator.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def table(cases: dict[str, tuple[object, object]]) -> tuple[dict[str, object], dict[str, object]]:
    """Split a table of (stored, arrived)."""
    return {name: stored for name, (stored, _) in cases.items()}, {
        name: arrived for name, (_, arrived) in cases.items()
    }


DAY_2_03_04_05 = timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=500_000)

CASES: dict[str, tuple[str, str, dict[str, tuple[object, object]]]] = {
    "epoch ms to timestamptz": (
        'epoch = "ms"',
        "timestamptz",
        {
            "usual": (1709210096789, MOMENT),
            "in text": ("1709210096789", MOMENT),
            "before 1970": (-1, datetime(1969, 12, 31, 23, 59, 59, 999000, UTC)),
            "text stays": ("2024-02-29 12:34:56.789", MOMENT),
            "null": (None, None),
            "beyond 9999": (253402300800000, NO_TEXT),
            "fraction": (1.5, NO_TEXT),
            "word": ("soon", Refused("can't become timestamp with time zone exactly")),
        },
    ),
    "interval of microseconds": (
        'interval_unit = "us"',
        "interval",
        {
            "usual": (93_784_500_000, DAY_2_03_04_05),
            "in text": ("93784500000", DAY_2_03_04_05),
            "negative": (-1, timedelta(microseconds=-1)),
            "negative days": (-86_400_000_000, timedelta(days=-1)),
            "zero": (0, timedelta()),
            "nearly a day back": (-86_399_999_999, timedelta(microseconds=-86_399_999_999)),
            "40,000 days": (3_456_000_000_000_000, timedelta(days=40_000)),
            "whole double": (1500.0, timedelta(microseconds=1500)),
            "text stays": ("1 day 02:03:04.5", DAY_2_03_04_05),
            "null": (None, None),
            "part of a microsecond": (0.5, NO_TEXT),
            "largest": (2**63 - 1, timedelta(microseconds=2**63 - 1)),
            "word": ("soon", Refused("can't become interval: invalid input syntax for type interval")),
        },
    ),
    "interval of seconds": (
        'interval_unit = "s"',
        "interval",
        {
            "usual": (93_784, timedelta(days=1, hours=2, minutes=3, seconds=4)),
            "double": (93_784.5, DAY_2_03_04_05),
            "tenth": (0.1, timedelta(microseconds=100_000)),
            "negative double": (-0.1, timedelta(microseconds=-100_000)),
            "finer than microseconds": (0.123_456_78, NO_TEXT),
            "infinite": (float("inf"), NO_TEXT),
            "more days than there are": (2**62, Refused("can't become interval: interval field value out of range")),
        },
    ),
    "interval of nanoseconds": (
        'interval_unit = "ns"',
        "interval",
        {
            "part of a microsecond": (1_500, Refused("has more digits of a second than PostgreSQL keeps")),
            "whole": (93_784_500_000_000, DAY_2_03_04_05),
        },
    ),
    "interval of hours": (
        'interval_unit = "h"',
        "interval",
        {"whole": (26, timedelta(hours=26)), "tenth": (0.1, timedelta(minutes=6)), "days": (-24, timedelta(days=-1))},
    ),
    "epoch s to timestamp": (
        'epoch = "s"',
        "timestamp",
        {
            "whole": (1709210096, NAIVE.replace(microsecond=0)),
            "real": (1709210096.789, NAIVE),
            "zero": (0, datetime(1970, 1, 1)),  # noqa: DTZ001
            "negative real": (-0.25, datetime(1969, 12, 31, 23, 59, 59, 750000)),  # noqa: DTZ001
        },
    ),
    "epoch us": ('epoch = "us"', "timestamptz", {"usual": (1709210096789000, MOMENT)}),
    "epoch ns": (
        'epoch = "ns"',
        "timestamptz",
        {
            "whole": (1709210096789000000, MOMENT),
            "finer": (1709210096789000001, Refused("can't become timestamp with time zone exactly")),
        },
    ),
    "epoch ns, cut": (
        'epoch = "ns"\ntruncate = true',
        "timestamptz",
        {"finer": (1709210096789000999, MOMENT)},
    ),
    "epoch to date": (
        'epoch = "s"',
        "date",
        {"midnight": (1709164800, date(2024, 2, 29)), "noon": (1709208000, Refused("can't become date exactly"))},
    ),
    "julian": (
        "julian = true",
        "timestamp",
        {"real": (2460370.0, datetime(2024, 2, 29, 12)), "text stays": ("2024-02-29", datetime(2024, 2, 29))},  # noqa: DTZ001
    ),
    "time zone": (
        'timezone = "Europe/Berlin"',
        "timestamptz",
        {
            "winter": ("2024-02-29 13:34:56.789", MOMENT),
            "summer": ("2024-07-01 14:00:00", datetime(2024, 7, 1, 12, tzinfo=UTC)),
            "date": ("2024-07-01", datetime(2024, 6, 30, 22, tzinfo=UTC)),
            "offset counts": ("2024-02-29 12:34:56.789+00:00", MOMENT),
            "zulu counts": ("2024-02-29T12:34:56.789Z", MOMENT),
            "twice": ("2024-10-27 02:30:00", Refused("is an hour that Europe/Berlin has twice, or not at all")),
            "never": ("2024-03-31 02:30:00", Refused("is an hour that Europe/Berlin has twice, or not at all")),
            "null": (None, None),
        },
    ),
    "spellings": (
        'true = ["t", "yes", 2]\nfalse = ["f", "", -1]',
        "boolean",
        {
            "t": ("t", True),
            "f": ("f", False),
            "empty": ("", False),
            "two": (2, True),
            "minus one": (-1, False),
            "one": (1, True),
            "digit in text": ("2", Refused("is not stored as INTEGER")),
            "case": ("T", Refused("is not stored as INTEGER")),
        },
    ),
    "empty as null": (
        "empty_as_null = true",
        "integer",
        {
            "empty": ("", None),
            "number": (7, 7),
            "blank": (" ", Refused("is not stored as INTEGER")),
            "blob": (b"", Refused("is not stored as INTEGER")),
        },
    ),
    "null": (
        'null = ["0000-00-00 00:00:00", 0]',
        "timestamp",
        {"zeros": ("0000-00-00 00:00:00", None), "zero": (0, None), "moment": ("2024-02-29 12:34:56.789", NAIVE)},
    ),
    "nul bytes": (
        'nul_bytes = "strip"',
        "text",
        {
            "inside": ("a\0b\0\0c", "abc"),
            "around": ("\0a\0", "a"),
            "only": ("\0", ""),
            "none": ("äb", "äb"),
            "letters": ("ä\0\U0001f332", "ä\U0001f332"),
            "blob": (b"a\0", Refused("is not stored as TEXT or INTEGER")),
        },
    ),
    "invalid utf-8 replaced": (
        'invalid_utf8 = "replace"',
        "text",
        {
            "latin": (("TEXT", b"caf\xe9!"), "caf\ufffd!"),
            "sound": ("café \U0001f332 \ufffd", "café \U0001f332 \ufffd"),
            "nul stays": (("TEXT", b"\xe9\0a"), Refused("is not valid UTF-8")),
        },
    ),
    "latin-1": (
        'invalid_utf8 = "latin-1"',
        "text",
        {"latin": (("TEXT", b"caf\xe9 \xdf"), "café ß"), "sound": ("café", "café"), "empty": ("", "")},
    ),
    "truncate text": (
        "truncate = true",
        "varchar(3)",
        {
            "longer": ("äöüß", "äöü"),
            "fits": ("äö", "äö"),
            "nul stays": ("ab\0cdef", Refused("holds a NUL character, which PostgreSQL's text can't")),
        },
    ),
    "truncate fractions": (
        "truncate = true",
        "timestamptz(3)",
        {
            "nine": ("2024-02-29 12:34:56.789999999+00:00", MOMENT),
            "naive": ("2024-02-29 12:34:56.7899", MOMENT),
            "none": ("2024-02-29 12:34:56Z", MOMENT.replace(microsecond=0)),
        },
    ),
    "truncate fractions of intervals": (
        "truncate = true",
        "interval(3)",
        {
            "seven": ("1 day 02:03:04.5678912", timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=567)),
            "ago": ("1.56789 seconds ago", timedelta(seconds=-1, milliseconds=-567)),
            "none": ("3 days", timedelta(days=3)),
        },
    ),
    "nanoseconds cut": (
        'interval_unit = "ns"\ntruncate = true',
        "interval",
        {"cut": (1_500, timedelta(microseconds=1)), "negative": (-1_500, timedelta(microseconds=-2))},
    ),
    "round": (
        "round = true",
        "numeric(8,2)",
        {
            "real": (2.345678, Decimal("2.35")),
            "text": ("-2.345678", Decimal("-2.35")),
            "integer": (7, Decimal("7.00")),
            "long": ("1.2345678901234567", Refused("can't become numeric(8,2) exactly")),
            "word": ("1-2", Refused("can't become numeric(8,2) exactly")),
        },
    ),
    "expression": (
        "expression = \"CASE WHEN v LIKE '%€' THEN replace(v, '€', '') * 100 ELSE v END\"",
        "integer",
        {"euros": ("12€", 1200), "cents": (7, 7)},
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_rule(carry: Carry, rules: Rules, case: str) -> None:
    """What the rule says happens, and to nothing else; what it can't read is refused as if there were no rule."""
    rule, declared, cases = CASES[case]
    path = rules(f'[columns."t.v"]\n{rule}\n')
    stored, expected = table(cases)
    assert await carry(declared, stored, rules=path) == expected


async def test_rewritten_values_are_counted(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, rules: Rules
) -> None:
    """``check`` says of each rule how many values it made others of; one that met none isn't mentioned."""
    make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c)", {"t": [(1, 0, "", "2024-01-01"), (2, None, "x", None)]}
    )
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, a timestamptz, b text, c timestamptz)")
    path = rules('[columns."t.?"]\nepoch = "s"\nempty_as_null = true\ntimezone = "Europe/Berlin"\n')
    found = (await move(rules=path).check()).table_checks[0].changes
    assert [(change.column, change.rows) for change in found] == [("a", 1), ("b", 1), ("c", 1)]
    assert found[0].rule == 'empty_as_null = true, epoch = "s", timezone = "Europe/Berlin"'


async def test_names_that_differ(move: MakeMove, database: Database, make_sqlite: MakeSqlite, rules: Rules) -> None:
    """A table and a column go under other names, and what is excluded stays behind."""
    make_sqlite(
        "CREATE TABLE old (id INTEGER PRIMARY KEY, nme TEXT, junk TEXT); CREATE TABLE audit_1 (x)",
        {"old": [(1, "Ada", "x")], "audit_1": [(1,)]},
    )
    await database.execute("CREATE TABLE users (id int PRIMARY KEY, name text)")
    path = rules(
        '[tables.old]\nrename = "users"\n[tables."audit_*"]\nexclude = true\n'
        '[columns."OLD.nme"]\nrename = "name"\n[columns."*.junk"]\nexclude = true\n'
    )
    report = await move(rules=path).run()
    assert [tuple(row) for row in await database.fetch("SELECT * FROM users")] == [(1, "Ada")]
    assert [skipped.name for skipped in report.skipped] == ["audit_1"]


async def test_a_rule_without_a_meaning_for_its_column(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, rules: Rules
) -> None:
    """A slip that names the wrong column is an error; a wildcard may cover columns that it says nothing about."""
    make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", {"t": [(1, 0)]})
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v timestamp)")
    with pytest.raises(ConfigurationError, match=r"the rule 'epoch' of t\.id has no meaning for integer"):
        await move(rules=rules('[columns."t.id"]\nepoch = "s"\n')).check()
    assert (await move(rules=rules('[columns."t.*"]\nepoch = "s"\n')).check()).findings == ()


@pytest.mark.parametrize(
    "expression", ["nosuch(v)", "max(v)", "v) --", "v, v", "v limit 1", "row_number() over ()", "w"]
)
async def test_an_expression_that_is_none(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, rules: Rules, expression: str
) -> None:
    """It is the rule that is wrong, not the source; what would make one row of many is no expression over a row."""
    make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", {"t": [(1, 0), (2, 5)]})
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v int)")
    with pytest.raises(ConfigurationError, match=r"the expression of the rule for t\.v is no SQL over a row: .+"):
        await move(rules=rules(f'[columns."t.v"]\nexpression = "{expression}"\n')).run()
    assert await database.fetch("TABLE t") == []


@pytest.mark.parametrize(
    ("declared", "expression", "said"),
    [
        ("int", "json_extract(v, '$')", "malformed JSON"),
        ("text", "json_extract(v, '$')", "malformed JSON"),
        ("bigint", "abs(-9223372036854775808)", "integer overflow"),
    ],
)
async def test_an_expression_that_fails_for_a_row(
    move: MakeMove,
    database: Database,
    make_sqlite: MakeSqlite,
    rules: Rules,
    declared: str,
    expression: str,
    said: str,
) -> None:
    """SQLite evaluates it and stops at the row: that isn't a damaged file either."""
    make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", {"t": [(1, "5"), (2, "{")]})
    await database.execute(f"CREATE TABLE t (id int PRIMARY KEY, v {declared})")
    with pytest.raises(ConfigurationError, match=rf"rules for t\.v fail for some row: .*{said}"):
        await move(rules=rules(f'[columns."t.v"]\nexpression = "{expression}"\n')).check()


async def test_a_unit_that_does_not_fit_all(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, rules: Rules
) -> None:
    """What a rule leaves over isn't answered with the same rule."""
    make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", {"t": [(1, 1_700_000_000), (2, 1_700_000_000_000)]})
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v timestamp)")
    [finding] = (await move(rules=rules('[columns."t.v"]\nepoch = "s"\n')).check()).findings
    assert [example.key for example in finding.examples] == ["id = 2"]
    line = finding.settled_by.splitlines()[0]
    assert "epoch" not in finding.settled_by
    assert line.startswith("expression = ")
    assert (await move(rules=rules(f'[columns."t.v"]\nepoch = "s"\n{line}\n')).check()).findings == ()
