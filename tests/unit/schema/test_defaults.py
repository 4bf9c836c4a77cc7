"""A default of SQLite's stores the same value in PostgreSQL, or is named as one that can't."""

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.job import run
from migrator.monitoring.tracker import Tracker
from migrator.planning.rules import NO_RULE, ColumnRule
from migrator.schema.defaults import default_of
from migrator.schema.literals import NoEqual
from migrator.schema.operands import Untranslatable
from migrator.source.schema import SourceColumn

TYPES = {
    "INTEGER": "bigint",
    "BOOLEAN": "boolean",
    "REAL": "double precision",
    "NUMERIC": "numeric",
    "DECIMAL(6,2)": "numeric(6, 2)",
    "TEXT": "text",
    "STRING": "text",
    "BLOB": "bytea",
    "DATE": "date",
    "TIME": "time",
    "DATETIME": "timestamp",
    "TIMESTAMPTZ": "timestamptz",
    "JSON": "jsonb",
    "UUID": "uuid",
}
CONSTANTS = (
    *("0", "1", "-1", "+5", "2", "1.5", "1.50", "-0.0", "1e3", "1e400", "0x1F", "0xFFFFFFFFFFFFFFFF", "12345.678"),
    *("9223372036854775807", "-9223372036854775808", "9223372036854775808", "true", "FALSE", "NULL", "x'00ff'", "x''"),
    *(
        "''",
        "'abc'",
        "abc",
        '"abc"',
        '""',
        "'it''s \\ \"x\"'",
        "'now'",
        "'today'",
        "'1'",
        "' 1 '",
        "'1.50'",
        "'1e3'",
        "'t'",
    ),
    *("(1+2)", "(7/2)", "(1 = 1)", "('a' || 1)", "(NOT 1)", "(abs(-4))", "(lower('ÄB'))", "(CAST('12x' AS INTEGER))"),
    *("'2024-02-29'", "'2023-02-29'", "'12:34'", "'12:34:56.789'", "'24:00:00'", "'2024-02-29 12:34:56'"),
    *(
        "'2024-02-29T12:34:56Z'",
        "'2024-02-29 12:34:56+02:00'",
        "'infinity'",
        "'{}'",
        "'[1, 2]'",
        '\'{"a": 1, "a": 2}\'',
    ),
    *("'NaN'", "'null'", "'550e8400-e29b-41d4-a716-446655440000'", "('{' || '}')", "(json('{\"a\":1}'))", "'a''b'"),
    *("(1 + NULL)", "(hex('a'))", "(substr('abc', -2))", "(1 IN (1, 2))", "(CASE WHEN 1 THEN 'y' END)", "(round(2.5))"),
)


def carried(declared: str, default: str) -> bool:
    """Return whether a default of such a column has an equal."""
    column = SourceColumn("c", declared, not_null=False, key_position=0, generated=False)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t (c {declared} DEFAULT {default})")
        [(given,)] = connection.execute("SELECT dflt_value FROM pragma_table_info('t')")
    try:
        default_of(column, given, TYPES[declared], NO_RULE)
    except (NoEqual, Untranslatable):
        return False
    return True


async def test_each_constant_in_each_type(make_sqlite: MakeSqlite, database: Database) -> None:
    """A row of defaults that SQLite made arrives; one that PostgreSQL makes is the same in every column."""
    tables = {name: [one for one in CONSTANTS if carried(declared, one)] for name, declared in named(TYPES)}
    script = [
        f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY, '
        f"{', '.join(f'c{at} {declared} DEFAULT {default}' for at, default in enumerate(tables[name]))});"
        f'INSERT INTO "{name}" DEFAULT VALUES;'
        for name, declared in named(TYPES)
    ]
    source = make_sqlite("".join(script))
    report = await run.run(settings_of(source, database, schema_mode="create"), Tracker())
    assert not [note for note in report.notes if "is without the default" in note]
    for name, defaults in tables.items():
        await database.execute(f'INSERT INTO "{name}" DEFAULT VALUES')
        listed = ", ".join(f'c{at}::text AS "{at}"' for at in range(len(defaults)))
        theirs, ours = await database.fetch(f'SELECT {listed} FROM "{name}" ORDER BY id')
        assert dict(zip(defaults, theirs, strict=True)) == dict(zip(defaults, ours, strict=True)), name


def named(types: dict[str, str]) -> list[tuple[str, str]]:
    """Return a table's name for each type."""
    return [(re.sub(r"\W", "_", declared).lower(), declared) for declared in types]


def test_what_has_no_equal_is_known() -> None:
    """Of the constants that a type can hold none is refused, and of the others none is carried."""
    assert {one for one in CONSTANTS if not carried("TEXT", one)} == {"x'00ff'", "x''"}
    refused = {one for one in CONSTANTS if not carried("INTEGER", one)}
    assert {"1.5", "'abc'", "'now'", "x'00ff'", "1e400", "'NaN'"} <= refused
    assert not refused & {"0", "1", "true", "'1'", "0x1F", "(7/2)", "1e3", "NULL", "'1e3'"}
    for moment in ("DATE", "TIME", "DATETIME", "TIMESTAMPTZ"):
        assert not {one for one in ("'now'", "'today'", "'infinity'", "'24:00:00'") if carried(moment, one)}


MOMENTS = {
    "current_timestamp": ("TEXT", "DATETIME", "TIMESTAMPTZ", "STRING"),
    "CURRENT_DATE": ("TEXT", "DATE", "DATETIME", "TIMESTAMPTZ"),
    "current_time": ("TEXT", "TIME"),
    "(datetime('now'))": ("TEXT", "DATETIME", "TIMESTAMPTZ"),
    "(datetime())": ("TEXT", "DATETIME"),
    "(datetime('now', '+7 days'))": ("TEXT", "DATETIME", "TIMESTAMPTZ"),
    "(date('NOW', '-1 day'))": ("TEXT", "DATE"),
    "(strftime('%s', 'now'))": ("TEXT", "INTEGER", "NUMERIC"),
    "(unixepoch())": ("TEXT", "INTEGER"),
    "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))": ("TEXT", "TIMESTAMPTZ"),
    "(strftime('%Y-%m-%d %H:%M:%f', current_timestamp))": ("TEXT", "DATETIME"),
    "(strftime('day %d \"of\" %m, 100%%, %j', 'now'))": ("TEXT",),
    "(julianday('now'))": ("REAL",),
}


async def test_the_present(make_sqlite: MakeSqlite, database: Database) -> None:
    """In the same form, and not the moment when the table was made."""
    kinds = [(default, declared) for default, all_ in MOMENTS.items() for declared in all_]
    columns = ", ".join(f"c{at} {declared} NOT NULL DEFAULT {default}" for at, (default, declared) in enumerate(kinds))
    source = make_sqlite(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns}); INSERT INTO t DEFAULT VALUES;")
    await run.run(settings_of(source, database, schema_mode="create"), Tracker())
    await database.execute("SET timezone = 'Asia/Tokyo'; INSERT INTO t DEFAULT VALUES")
    listed = ", ".join(f"c{at}::text" for at in range(len(kinds)))
    theirs, ours = await database.fetch(f"SELECT {listed} FROM t ORDER BY id")
    for kind, there, here in zip(kinds, theirs, ours, strict=True):
        if kind[1] in {"REAL", "INTEGER", "NUMERIC"}:
            assert abs(float(there) - float(here)) < 600, kind
        else:
            assert re.sub(r"\d", "#", str(there).partition(".")[0]) == re.sub(
                r"\d", "#", str(here).partition(".")[0]
            ), kind
        if kind[1] in {"DATETIME", "TIMESTAMPTZ"} and "current_date" not in kind[0].casefold():
            shift = timedelta(days=7 if "+7" in kind[0] else 0)
            moment = datetime.fromisoformat(str(here))
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            assert abs(datetime.now(UTC) + shift - moment) < timedelta(minutes=10), kind


CHANCE = (
    "(random())",
    "(abs(random()) % 10 + 5)",
    "(randomblob(16))",
    "(hex(randomblob(16)))",
    "(lower(hex(randomblob(4))) || '-' || substr('89ab', abs(random()) % 4 + 1, 1))",
)


async def test_chance(make_sqlite: MakeSqlite, database: Database) -> None:
    """Another value each time, of the same form."""
    kinds = ("INTEGER", "INTEGER", "BLOB", "TEXT", "TEXT")
    columns = ", ".join(
        f"c{at} {declared} NOT NULL DEFAULT {default}"
        for at, (declared, default) in enumerate(zip(kinds, CHANCE, strict=True))
    )
    source = make_sqlite(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns}); INSERT INTO t DEFAULT VALUES;")
    await run.run(settings_of(source, database, schema_mode="create"), Tracker())
    for _ in range(20):
        await database.execute("INSERT INTO t DEFAULT VALUES")
    rows = await database.fetch("SELECT c0, c1, c2, c3, c4 FROM t")
    assert all(len({row[at] for row in rows}) > 15 for at in (0, 2, 3, 4))
    assert {row[1] for row in rows} <= set(range(5, 15))
    for _, _, blob, text, short in rows:
        assert len(blob) == 16
        assert re.fullmatch(r"[0-9A-F]{32}", text)
        assert re.fullmatch(r"[0-9a-f]{8}-[89ab]", short)


@pytest.mark.parametrize(
    "default",
    [
        "(datetime('now', 'localtime'))",
        "(strftime('%w', 'now'))",
        "(randomblob(40))",
        "(load_extension('x'))",
        "(changes())",
    ],
)
def test_what_depends_on_where_it_runs_has_no_equal(default: str) -> None:
    """The local time zone, functions of SQLite's: named, and nothing is called."""
    assert not carried("TEXT", default)


def test_rules_are_obeyed() -> None:
    """Seconds become a moment where the rule says that numbers are seconds, words become truths."""
    number = SourceColumn("c", "INTEGER", not_null=True, key_position=0, generated=False)
    text = SourceColumn("c", "TEXT", not_null=True, key_position=0, generated=False)
    assert default_of(number, "strftime('%s', 'now')", "timestamptz", ColumnRule(epoch="s")) == (
        "date_trunc('second', statement_timestamp())"
    )
    assert default_of(text, "'t'", "boolean", ColumnRule(true=("t",), false=("f",))) == "true"
    with pytest.raises(NoEqual):
        default_of(number, "5", "timestamptz", ColumnRule(epoch="s"))
