"""A CHECK or a key that comes along takes and refuses the same rows as in SQLite."""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.errors import TargetRefused
from migrator.job import run
from migrator.monitoring.tracker import Tracker
from migrator.schema.operands import Untranslatable, column
from migrator.schema.translation import condition
from migrator.source.schema import Affinity

COLUMNS = 'n INTEGER, m INT, "S" TEXT, u TEXT COLLATE NOCASE, b BOOLEAN, r REAL, p NUMERIC, k ENUM, d DATE, x BLOB'
KNOWN = {
    "n": column('"n"', "bigint", Affinity.INTEGER, "BINARY"),
    "s": column('"S"', "text", Affinity.TEXT, "BINARY"),
    "b": column('"b"', "boolean", Affinity.NUMERIC, "BINARY"),
    "own": column('"own"', "text", Affinity.TEXT, "UNICASE"),
    "k": column('"k"', "text", Affinity.NUMERIC, "BINARY"),
    "t": column('"t"', "timestamp", Affinity.NUMERIC, "BINARY"),
}
CHECKS = (
    "N >= 0",
    "n > 1.5",
    "n == m OR n IS NULL",
    "n != '5'",
    "n IS NOT m",
    "n BETWEEN -1 AND m",
    "n IN (1, 2, NULL)",
    "n NOT IN (1, 2)",
    "n / m > 1",
    "n % m = -1",
    "-n < m",
    "n + m * 2 < 9223372036854775807",
    "n & 1",
    "n | m = 3",
    "n << 2 > 4",
    "(n IS NULL) + (m IS NULL) + (s IS NULL) = 1",
    "NOT n",
    "n AND m",
    "s IN ('a', 'B')",
    's = "a"',
    "s > 'a'",
    "s < 'É'",
    "s = 5",
    "s LIKE 'A%'",
    "s LIKE '%\\_%'",
    "s LIKE '%!%%' ESCAPE '!'",
    "s NOT LIKE 'é_'",
    "n LIKE '1%'",
    "s GLOB '[A-C]*'",
    "s GLOB '*[^0-9]*'",
    "s GLOB 'a.b?'",
    "s GLOB '[]^-]*'",
    "u = 'ABC'",
    "u <> s",
    "s <> u",
    "u IN ('a', 'é')",
    "u < 'b'",
    "s COLLATE NOCASE = 'A'",
    "s COLLATE RTRIM = 'a'",
    "length(s) BETWEEN 1 AND 3",
    "length(trim(s)) > 0",
    "lower(s) = s",
    "upper(s) <> s",
    "ltrim(s, 'a') = ''",
    "substr(s, 1, 1) <> 'a'",
    "instr(s, 'b') = 2",
    "replace(s, 'a', '') <> ''",
    "s || n = 'a1'",
    "coalesce(n, m, 0) > 0",
    "ifnull(s, '') <> ''",
    "nullif(s, 'a') IS NULL",
    "iif(b, n > 0, m > 0)",
    "CASE n WHEN 1 THEN m = 1 WHEN 2 THEN m > 1 ELSE s IS NULL END",
    "CASE WHEN n > 1 THEN 1 WHEN n < 0 THEN 0 END",
    "b",
    "NOT b",
    "b IN (0, 1)",
    "b = TRUE",
    "b IS TRUE",
    "n IS TRUE",
    "n IS NOT FALSE",
    "b <> (n > 1)",
    "b + n > 1",
    "typeof(n) = 'integer'",
    "typeof(s) IN ('text', 'null')",
    "typeof(b) = 'integer' OR b IS NULL",
    "r >= 0",
    "r < 0.3",
    "r + 1 > 1.5",
    "r / 2 = 0.05",
    "p < 10.5",
    "p = n",
    "p IN (1, 2.5)",
    "k IN ('a', 'b')",
    "length(k) = 1",
    "d >= '2000-01-01'",
    "x = x'00ff'",
    "length(x) <= 2",
    "x IS NULL OR n IS NOT NULL",
    "n ISNULL OR m NOTNULL",
    "abs(n) < 2",
    "CAST(n AS TEXT) = '1'",
    "1",
    "NULL",
)
VALUES: dict[str, Sequence[object]] = {
    "n": (None, 0, 1, 2, -1, 5, 12, 2**63 - 1, -(2**63)),
    "m": (None, 0, 1, 2, -3, 2**62),
    '"S"': (
        None,
        "",
        "a",
        "A",
        "b",
        "B",
        "é",
        "É",
        "abc",
        "a ",
        "5",
        "a1",
        "A_b",
        "50%",
        "a.bc",
        "]",
        "^",
        "-",
        "12\n3",
    ),
    "u": (None, "", "abc", "aBC", "a", "É", "é", "b"),
    "b": (None, 0, 1),
    "r": (None, 0.0, -0.5, 0.1, 0.3, 0.5, 1e300),
    "p": (None, 1, 2.5, 10.5, 12, 0.1),
    "k": (None, "a", "c", "ab"),
    "d": (None, "1999-12-31", "2000-01-01", "2024-02-29"),
    "x": (None, b"", b"\x00\xff", b"abc"),
}
ROWS = 60


def sampled(chance: random.Random) -> list[list[object]]:
    """Return rows of values that each column can have at both ends."""
    return [[chance.choice(values) for values in VALUES.values()] for _ in range(ROWS)]


def spelled(value: object, *, postgres: bool, truth: bool) -> str:
    """Return a value as a literal of one end's."""
    match value:
        case None:
            return "NULL"
        case bytes():
            return f"'\\x{value.hex()}'" if postgres else f"x'{value.hex()}'"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _ if truth and postgres:
            return "true" if value else "false"
    return f"'{value}'" if postgres else repr(value)


def inserts(table: str, rows: Sequence[Sequence[object]], *, postgres: bool) -> list[str]:
    """Return a statement for each row."""
    listed = ", ".join(VALUES if not postgres else (name if name == '"S"' else f'"{name}"' for name in VALUES))
    spellings = [
        [spelled(one, postgres=postgres, truth=name == "b") for name, one in zip(VALUES, row, strict=True)]
        for row in rows
    ]
    return [f"INSERT INTO {table} ({listed}) VALUES ({', '.join(row)})" for row in spellings]


TRY = """
CREATE FUNCTION try(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN EXECUTE statement; RETURN true;
EXCEPTION WHEN check_violation OR unique_violation OR not_null_violation THEN RETURN false; END $$
"""


async def outcomes(database: Database, source: Path, table: str, rows: Sequence[Sequence[object]]) -> list[str]:
    """Insert rows at both ends, and return what was taken at one and refused at the other."""
    with closing(sqlite3.connect(source)) as connection:
        taken = []
        for statement in inserts(table, rows, postgres=False):
            try:
                connection.execute(statement)
                taken.append(True)
            except (sqlite3.IntegrityError, sqlite3.OperationalError):  # abs() of the smallest number there is
                taken.append(False)
        connection.rollback()
    statements = inserts(table, rows, postgres=True)
    answers = await database.fetch(
        "SELECT try(x) FROM unnest($1::text[]) WITH ORDINALITY AS s (x, n) ORDER BY n", statements
    )
    return [
        f"{statement}: {there} in SQLite, {row[0]} here"
        for statement, there, row in zip(statements, taken, answers, strict=True)
        if there is not row[0]
    ]


async def test_checks_take_the_same_rows(make_sqlite: MakeSqlite, database: Database) -> None:
    """Each of them comes along, and decides on sampled rows as SQLite does."""
    tables = "".join(f"CREATE TABLE t{at} ({COLUMNS}, CHECK ({check}));" for at, check in enumerate(CHECKS))
    source = make_sqlite(tables)
    await run.run(settings_of(source, database, schema_mode="create"), Tracker())
    await database.execute(TRY)
    for at, check in enumerate(CHECKS):
        differing = await outcomes(database, source, f"t{at}", sampled(random.Random(at)))  # noqa: S311 - no secret
        assert not differing, (check, differing[:3])


KEYS = (
    'UNIQUE ("S")',
    "UNIQUE (u)",
    "UNIQUE (n, u)",
    "UNIQUE (b, k)",
    'PRIMARY KEY ("S" COLLATE NOCASE)',
    'UNIQUE ("S" COLLATE RTRIM)',
    "UNIQUE INDEX (n) WHERE b",
    "UNIQUE INDEX (lower(S), m)",
    "UNIQUE INDEX (u DESC) WHERE n > 1 OR n IS NULL",
    "UNIQUE INDEX (coalesce(n, -1))",
    "UNIQUE INDEX (S COLLATE NOCASE) WHERE s NOT NULL",
)


async def test_keys_take_the_same_rows(make_sqlite: MakeSqlite, database: Database) -> None:
    """Also those that don't tell cases apart, and those of some rows only."""
    script = ""
    for at, key in enumerate(KEYS):
        if key.startswith("UNIQUE INDEX"):
            script += f"CREATE TABLE t{at} ({COLUMNS}); CREATE UNIQUE INDEX i{at} ON t{at} {key[12:]};"
        else:
            script += f"CREATE TABLE t{at} ({COLUMNS}, {key});"
    source = make_sqlite(script)
    await run.run(settings_of(source, database, schema_mode="create"), Tracker())
    await database.execute(TRY)
    for at, key in enumerate(KEYS):
        rows = sampled(random.Random(at))  # noqa: S311 - no secret
        if "PRIMARY KEY" in key:
            rows = [row for row in rows if row[2] is not None]
        differing = await outcomes(database, source, f"t{at}", rows)
        assert not differing, (key, differing[:3])


ATOMS = {
    "number": ("n", "m", "length(s)", "abs(m)", "instr(s, 'b')", "0", "1", "-2", "7", "(b)", "coalesce(n, 0)"),
    "text": ("s", "u", "lower(s)", "trim(s)", "s || 'a'", "'a'", "'B'", "''", "'abc'", "substr(s, 1, 2)"),
}


def expression(chance: random.Random, depth: int) -> str:
    """Return a condition of some depth over the columns."""
    if depth == 0:
        kind = chance.choice(("number", "text"))
        one, other = chance.choice(ATOMS[kind]), chance.choice(ATOMS[kind])
        if kind == "number" and chance.random() < 0.4:
            one = f"({one} {chance.choice('+-*/%&')} {chance.choice(ATOMS[kind])})"
        if chance.random() < 0.2:
            return f"{one} {chance.choice(('IS NULL', 'NOTNULL', 'IS NOT NULL'))}"
        return f"{one} {chance.choice(('=', '<>', '<', '<=', '>', '>=', 'IS', 'IS NOT', '=='))} {other}"
    parts = [expression(chance, depth - 1) for _ in range(3)]
    return chance.choice(
        (
            f"({parts[0]}) AND ({parts[1]})",
            f"({parts[0]}) OR ({parts[1]})",
            f"NOT ({parts[0]})",
            f"CASE WHEN {parts[0]} THEN {parts[1]} ELSE {parts[2]} END",
            f"(({parts[0]}) + ({parts[1]})) <> 1",
            f"({parts[0]}) = ({parts[1]})",
        )
    )


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_is_carried_takes_the_same_rows(seed: int, make_sqlite: MakeSqlite, database: Database) -> None:
    """Random CHECKs: those that come along decide as SQLite does; the others are named, and left out by these names."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    checks = [expression(chance, chance.randrange(3)) for _ in range(80)]
    tables = "".join(f"CREATE TABLE t{at} ({COLUMNS}, CHECK ({check}));" for at, check in enumerate(checks))
    source = make_sqlite(tables)
    settings = settings_of(source, database, schema_mode="create")
    named: tuple[str, ...] = ()
    try:
        await run.run(settings, Tracker())
    except TargetRefused as error:
        missing = error.facts["missing"]
        assert isinstance(missing, list)
        named = tuple(str(one["leave_out"]) for one in missing)
        await run.run(settings_of(source, database, schema_mode="create", leave_out=named), Tracker())
    assert len(named) < len(checks) / 2
    await database.execute(TRY)
    for at, check in enumerate(checks):
        if f"t{at}.check_1" not in named:
            differing = await outcomes(database, source, f"t{at}", sampled(chance))
            assert not differing, (check, differing[:3])


@pytest.mark.parametrize(
    "expression",
    [
        "1) , ADD COLUMN x text DEFAULT (pg_read_file('/etc/passwd')",
        "1); DROP TABLE users; --",
        "pg_read_file('/etc/passwd') IS NULL",
        "\"pg_read_file\"('/etc/passwd') IS NULL",
        "n > 0, CHECK (1 = 1)",
        "$$text$$ = s",
        "(n > 0",
        "glob('a', s)",
        "s = '",
        "E'\\'' = s",
        "nowhere > 0",
        "n IN (SELECT n FROM t)",
        "s MATCH 'a'",
        "s REGEXP 'a'",
        "json_valid(s)",
        "json_extract(s, '$.a') = 1",
        "date(s) IS NOT NULL",
        "n > s",
        "n = 'x'",
        "own = 'a'",
        "k = '7'",
        "k = 7",
        "t > '2024-01-01'",
        "s",
        "r(n)",
        "random() > 0",
        "round(n) = 1",
        "s LIKE n",
        "s GLOB '[a'",
        "rowid > 5",
        "s -> 'a' = 1",
        "'\x00' = s",
    ],
)
def test_what_goes_no_further(expression: str) -> None:
    """Whoever wrote the file: no text becomes another part of a statement, calls what it likes, or changes meaning."""
    with pytest.raises(Untranslatable):
        condition(expression, KNOWN)


def test_a_name_is_quoted_and_a_text_stays_a_text() -> None:
    """Whatever stands in them."""
    known = {'a"; drop': column('"a""; drop"', "text", Affinity.TEXT, "BINARY")}
    assert condition("\"A\"\"; DROP\" = '''); --'", known) == "(\"a\"\"; drop\" = '''); --')"
