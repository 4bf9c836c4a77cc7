"""Findings and remedies: every line that is offered for a value settles it when it is pasted as it is."""

import sqlite3
import tomllib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from fix_job import Cli, Ended, quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import MakeMove

from migrator.findings.finding import Finding
from migrator.findings.remedies import NO_RULE, TOGETHER, WITHOUT_REMEDY
from migrator.findings.settlement import chosen_lines
from migrator.types import ProblemCode

pytestmark = pytest.mark.one_server

C = ProblemCode

PROBES: Mapping[tuple[str, object], tuple[ProblemCode, str]] = {
    ("boolean", "yes"): (C.WRONG_STORAGE_CLASS, 'true = ["yes"]'),
    ("boolean", "off"): (C.WRONG_STORAGE_CLASS, 'false = ["off"]'),
    ("boolean", "n/a"): (C.WRONG_STORAGE_CLASS, 'null = ["n/a"]'),
    ("boolean", 2): (C.NOT_BOOLEAN, "true = [2]"),
    ("boolean", 1.0): (C.WRONG_STORAGE_CLASS, "true = [1.0]"),
    ("integer", "n/a"): (C.WRONG_STORAGE_CLASS, 'null = ["n/a"]'),
    ("integer", "12"): (C.WRONG_STORAGE_CLASS, "expression"),
    ("integer", "12 apples"): (C.WRONG_STORAGE_CLASS, 'null = ["12 apples"]'),
    ("integer", ""): (C.WRONG_STORAGE_CLASS, "empty_as_null = true"),
    ("integer", 5.0): (C.WRONG_STORAGE_CLASS, "expression"),
    ("integer", 5.5): (C.WRONG_STORAGE_CLASS, "expression"),
    ("integer", b"12"): (C.WRONG_STORAGE_CLASS, "expression"),
    ("integer", b"\xff\x00"): (C.WRONG_STORAGE_CLASS, "expression"),
    ("integer", 2**40): (C.OUT_OF_RANGE, f"null = [{2**40}]"),
    ("smallint", "9" * 100): (C.WRONG_STORAGE_CLASS, "expression"),
    ("bigint", "99999999999999999999"): (C.WRONG_STORAGE_CLASS, 'null = ["99999999999999999999"]'),
    ("real", 0.1): (C.INEXACT, "null = [0.1]"),
    ("double precision", "1.5"): (C.WRONG_STORAGE_CLASS, "expression"),
    ("double precision", "1,5"): (C.WRONG_STORAGE_CLASS, "expression"),
    ("double precision", "n/a"): (C.WRONG_STORAGE_CLASS, 'null = ["n/a"]'),
    ("double precision", 2**53 + 1): (C.INEXACT, f"null = [{2**53 + 1}]"),
    ("numeric(5,2)", 1.005): (C.INEXACT, "round = true"),
    ("numeric(5,2)", "1,5"): (C.INEXACT, "expression"),
    ("numeric(5,2)", "n/a"): (C.INEXACT, 'null = ["n/a"]'),
    ("numeric(5,2)", ""): (C.INEXACT, "empty_as_null = true"),
    ("numeric(5,2)", 123456): (C.INEXACT, "null = [123456]"),
    ("numeric", float("inf")): (C.INEXACT, "expression"),
    ("numeric", bytes(16)): (C.WRONG_STORAGE_CLASS, "expression"),
    ("text", b"caf\xc3\xa9"): (C.WRONG_STORAGE_CLASS, "expression"),
    ("text", b"\xff\xfe"): (C.WRONG_STORAGE_CLASS, "expression"),
    ("text", 0.1): (C.WRONG_STORAGE_CLASS, "expression"),
    ("text", "a\0b"): (C.CONTAINS_NUL, 'nul_bytes = "strip"'),
    ("text", ("TEXT", b"caf\xe9")): (C.INVALID_UTF8, 'invalid_utf8 = "latin-1"'),
    ("varchar(3)", "abcd"): (C.TOO_LONG, "truncate = true"),
    ("char(3)", 12345): (C.TOO_LONG, "null = [12345]"),
    ("name", "x" * 70): (C.TOO_LONG, "null"),
    ("bytea", 12): (C.WRONG_STORAGE_CLASS, "expression"),
    ("date", "2024-02-29 10:00:00"): (C.INEXACT, "expression"),
    ("date", 1709164800): (C.WRONG_STORAGE_CLASS, 'epoch = "s"'),
    ("date", 1709164801): (C.WRONG_STORAGE_CLASS, "expression"),
    ("date", "0000-00-00"): (C.INEXACT, 'null = ["0000-00-00"]'),
    ("date", "2024/02/29"): (C.INEXACT, "expression"),
    ("time", "10:00:00.1234567"): (C.INEXACT, "truncate = true"),
    ("time", 36000): (C.WRONG_STORAGE_CLASS, "expression"),
    ("timestamp", 1709210096): (C.WRONG_STORAGE_CLASS, 'epoch = "s"'),
    ("timestamp", 1709210096789): (C.WRONG_STORAGE_CLASS, 'epoch = "ms"'),
    ("timestamp", 2460370.5): (C.WRONG_STORAGE_CLASS, "julian = true"),
    ("timestamp", "1709210096"): (C.INEXACT, 'epoch = "s"'),
    ("timestamp", "2024-02-29 10:00:00.1234567"): (C.INEXACT, "truncate = true"),
    ("timestamp(3)", "2024-02-29 10:00:00.123456"): (C.TOO_MANY_FRACTION_DIGITS, "truncate = true"),
    ("timestamp", "0000-01-01 00:00:00"): (C.YEAR_OUT_OF_RANGE, 'null = ["0000-01-01 00:00:00"]'),
    ("timestamp", "10.0.0.1"): (C.INEXACT, 'null = ["10.0.0.1"]'),
    ("timestamp", "1e999"): (C.INEXACT, 'null = ["1e999"]'),
    ("date", "."): (C.INEXACT, 'null = ["."]'),
    ("timestamp", "2024-02-29T10:00:00Z"): (C.INEXACT, "expression"),
    ("timestamp", "2024-02-29 23:30:00.123456-02:00"): (C.INEXACT, "expression"),
    ("timestamp", "n/a"): (C.INEXACT, 'null = ["n/a"]'),
    ("timestamp", b"x"): (C.WRONG_STORAGE_CLASS, "expression"),
    ("timestamptz", "2026-02-17 05:20:54.5 +0000 UTC m=+0.1"): (C.INEXACT, "go_time = true"),
    ("timestamptz", "now"): (C.INEXACT, 'null = ["now"]'),
    ("timestamptz", "10000-01-01 00:00:00"): (C.INEXACT, 'null = ["10000-01-01 00:00:00"]'),
    ("interval", 90_500_000): (C.WRONG_STORAGE_CLASS, 'interval_unit = "us"'),
    ("interval", "n/a"): (C.SERVER_REJECTS_VALUE, 'null = ["n/a"]'),
    ("interval", "1.02:03:04"): (C.SERVER_CHANGES_VALUE, "expression"),
    ("interval", "12:34"): (C.SERVER_CHANGES_VALUE, "expression"),
    ("interval", "now"): (C.RELATIVE_TIME, 'null = ["now"]'),
    ("json", "n/a"): (C.INVALID_JSON, "expression"),
    ("jsonb", ""): (C.INVALID_JSON, "empty_as_null = true"),
    ("jsonb", '{"a": "\\u0000"}'): (C.JSON_NUL_ESCAPE, "expression"),
    ("jsonb", '{"a": 1, "a": 2}'): (C.DUPLICATE_JSON_KEY, 'duplicate_keys = "last"'),
    ("jsonb", '"\\ud800"'): (C.JSON_LONE_SURROGATE, "null"),
    ("jsonb", "1e400000"): (C.JSON_NUMBER_OUT_OF_RANGE, "null"),
    ("interval", "00:00:01.1234567"): (C.TOO_MANY_FRACTION_DIGITS, "truncate = true"),
    ("jsonb", "[" * 600 + '"' + "\\u0000" * 2 + '"' + "]" * 600): (C.JSON_TOO_DEEP, "expression"),
    ("jsonb", b"{}"): (C.WRONG_STORAGE_CLASS, "expression"),
    ("uuid", "{00112233-4455-6677-8899-aabbccddeeff}"): (C.NOT_UUID, "expression"),
    ("uuid", "n/a"): (C.NOT_UUID, 'null = ["n/a"]'),
    ("uuid", b"00112233445566778899aabbccddeeff"): (C.NOT_UUID, "expression"),
    ("uuid", 7): (C.DAMAGED_BY_AFFINITY, "null = [7]"),
    ("mood", "OK"): (C.NOT_A_LABEL, "expression"),
    ("mood", "n/a"): (C.NOT_A_LABEL, 'null = ["n/a"]'),
    ("integer[]", "1,2"): (C.SERVER_REJECTS_VALUE, "expression"),
    ("integer[]", "[[1],[2]]"): (C.SERVER_REJECTS_VALUE, "expression"),
    ("inet", " 10.0.0.1"): (C.SERVER_REJECTS_VALUE, "expression"),
    ("inet", "n/a"): (C.SERVER_REJECTS_VALUE, 'null = ["n/a"]'),
    ("money", "1.005"): (C.INEXACT, 'null = ["1.005"]'),
    ("tsvector", "the fat cat"): (C.SERVER_CHANGES_VALUE, "exclude = true"),
}


COLUMNS = {f"v{number}": probe for number, probe in enumerate(PROBES)}
"""Each probe is the only value of a column of its own, so that one check tries all of them."""


async def make_both_ends(database: Database, path: Path, *, not_null: bool) -> None:
    """Make the target's table, and the source's with one row that has the value of every probe."""
    demand = " NOT NULL" if not_null else ""
    declared = ", ".join(f"{name} {kind}{demand}" for name, (kind, _) in COLUMNS.items())
    await database.execute(f"CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE t (id int PRIMARY KEY, {declared})")
    places = ", ".join("CAST(? AS TEXT)" if isinstance(value, tuple) else "?" for _, value in COLUMNS.values())
    values = [value[1] if isinstance(value, tuple) else value for _, value in COLUMNS.values()]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(COLUMNS)})")
        connection.execute(f"INSERT INTO t VALUES (1, {places})", values)
        connection.commit()


@pytest.mark.parametrize("mask_values", [False, True], ids=["shown", "masked"])
@pytest.mark.parametrize("not_null", [False, True], ids=["nullable", "not-null"])
async def test_every_line_settles_the_value(
    move: MakeMove, database: Database, tmp_path: Path, sqlite_file: Path, *, not_null: bool, mask_values: bool
) -> None:
    """The check is run, a line is pasted for each column, and the check runs again: every finding is gone."""
    await make_both_ends(database, sqlite_file, not_null=not_null)
    found = await findings(move, mask_values=mask_values)
    assert {name: finding.code for name, finding in found.items()} == {
        name: PROBES[probe][0] for name, probe in COLUMNS.items()
    }
    lines = {name: finding.settled_by.splitlines() for name, finding in found.items()}
    lines = {name: offered for name, offered in lines.items() if not offered[0].startswith("none: ")}
    if not not_null and not mask_values:
        missing = {
            COLUMNS[name]: lines.get(name)
            for name in COLUMNS
            if not any(line.startswith(PROBES[COLUMNS[name]][1]) for line in lines.get(name, ()))
        }
        assert missing == {}
    if mask_values:
        assert not [line for offered in lines.values() for line in offered if "n/a" in line]
    rules = tmp_path / "migrator.toml"
    for turn in range(max(map(len, lines.values()))):
        pasted = {name: offered[turn] for name, offered in lines.items() if turn < len(offered)}
        sections = [f'[columns."t.{name}"]\n{line}\n' for name, line in pasted.items()]
        rules.write_text("\n".join(sections), encoding="utf-8")
        left = await findings(move, mask_values=mask_values, rules=str(rules))
        assert {COLUMNS[name]: pasted[name] for name in left.keys() & pasted.keys()} == {}


async def findings(move: MakeMove, **flags: object) -> dict[str, Finding]:
    """Return the findings that refuse, by column."""
    return {finding.column: finding for finding in (await move(**flags).check()).findings if finding.refuses}


ROWS: Mapping[str, tuple[ProblemCode, str, str, str, str]] = {
    "orphan": (
        C.ORPHAN,
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE t (id INTEGER PRIMARY KEY, v INT REFERENCES p)",
        "INSERT INTO t VALUES (1, 7)",
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, v int REFERENCES p)",
        'orphans = "drop"',
    ),
    "orphan in a column that must have a value": (
        C.ORPHAN,
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE t (id INTEGER PRIMARY KEY, v INT REFERENCES p)",
        "INSERT INTO t VALUES (1, 7)",
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL REFERENCES p)",
        'orphans = "drop"',
    ),
    "check": (
        C.CHECK_VIOLATED,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v INT)",
        "INSERT INTO t VALUES (1, -7)",
        "CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v > 0))",
        "null = [-7]",
    ),
    "check by the server": (
        C.CHECK_VIOLATED,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
        "INSERT INTO t VALUES (1, 'x')",
        "CREATE TABLE t (id int PRIMARY KEY, v text CHECK (v ~ '^[0-9]+$'))",
        'null = ["x"]',
    ),
    "constraint that fails": (
        C.CONSTRAINT_FAILS,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v INT)",
        "INSERT INTO t VALUES (1, 0)",
        "CREATE TABLE t (id int PRIMARY KEY, v int, CHECK (1 / v > 0))",
        "null = [0]",
    ),
    "check on a column that must have a value": (
        C.CHECK_VIOLATED,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v INT)",
        "INSERT INTO t VALUES (1, -7)",
        "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL CHECK (v > 0))",
        "none: correct the values in the source",
    ),
}


@pytest.mark.parametrize("case", ROWS)
async def test_lines_for_rows_that_constraints_refuse(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path, case: str
) -> None:
    """The type accepts the value, and something else doesn't: the lines name exactly the values that are there."""
    code, source, rows, target, expected = ROWS[case]
    make_sqlite(f"{source}; {rows}")
    await database.execute(target)
    [finding] = [found for found in (await move().check()).findings if found.refuses]
    assert finding.code is code
    lines = finding.settled_by.splitlines()
    assert any(line.startswith(expected) for line in lines), lines
    rules = tmp_path / "migrator.toml"
    for line in lines if not lines[0].startswith("none: ") else ():
        rules.write_text(f'[columns."t.{finding.column}"]\n{line}\n', encoding="utf-8")
        assert code not in {found.code for found in (await findings(move, rules=str(rules))).values()}, line


MISSING = ("bool", "int", "float8", "numeric", "text", "bytea", "date", "time", "timestamptz", "interval", "jsonb")
MISSING_IN = (*MISSING, "uuid", "inet", "int[]", "mood", "tsvector")


async def test_a_value_for_each_type_where_one_is_missing(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """The value in the line is one of the type."""
    names = {f"v{number}": kind for number, kind in enumerate(MISSING_IN)}
    declared = ", ".join(f"{name} {kind} NOT NULL" for name, kind in names.items())
    await database.execute(f"CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE t (id int PRIMARY KEY, {declared})")
    make_sqlite(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(names)}); INSERT INTO t (id) VALUES (1)")
    found = await findings(move)
    assert {finding.code for finding in found.values()} == {C.MISSING_VALUE}
    assert set(found) == set(names)
    rules = tmp_path / "migrator.toml"
    lines = [f'[columns."t.{name}"]\n{finding.settled_by.splitlines()[-1]}\n' for name, finding in found.items()]
    rules.write_text("\n".join(lines), encoding="utf-8")
    assert await findings(move, rules=str(rules)) == {}


async def test_an_hour_that_a_zone_had_twice(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """The line gives these values an offset, and no others."""
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v timestamptz)")
    make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
        {"t": [(1, "2024-10-27 02:30:00"), (2, "2024-07-01 12:00:00")]},
    )
    rules = tmp_path / "migrator.toml"
    zone = '[columns."t.v"]\ntimezone = "Europe/Berlin"\n'
    rules.write_text(zone, encoding="utf-8")
    [finding] = (await findings(move, rules=str(rules))).values()
    assert finding.code is C.AMBIGUOUS_LOCAL_TIME
    rules.write_text(zone + finding.settled_by, encoding="utf-8")
    await move(rules=str(rules)).run()
    shown = await database.fetch("SELECT (v AT TIME ZONE 'UTC')::text FROM t ORDER BY id")
    assert [row[0] for row in shown] == ["2024-10-27 01:30:00", "2024-07-01 10:00:00"]


async def test_text_that_is_no_utf16(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """A rule can't name it, so the line names its row."""
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    make_sqlite(
        "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);"
        "INSERT INTO t VALUES (1, CAST(x'00d8' AS TEXT))"
    )
    [finding] = (await findings(move)).values()
    assert finding.code is C.INVALID_UTF16
    rules = tmp_path / "migrator.toml"
    for line in finding.settled_by.splitlines():
        rules.write_text(f'[columns."t.v"]\n{line}\n', encoding="utf-8")
        assert await findings(move, rules=str(rules)) == {}, line


async def test_several_values_and_several_rows(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """Lines that settle all values together say so and come first, since they lose less; the others settle all."""
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v int, yes bool)")
    make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v, yes)",
        {
            "t": [
                *((1, "n/a", "yes"), (2, "", "no"), (3, "it's", "?"), (4, 7, 1)),
                *((number, "n/a", "Y") for number in range(10, 200)),
            ]
        },
    )
    found = await findings(move)
    lines = found["v"].settled_by.splitlines()
    assert chosen_lines(found["v"]) == lines[:2]
    assert lines[0] == f"empty_as_null = true  # for empty text; {TOGETHER}"
    assert [line.partition(" = ")[0] for line in chosen_lines(found["yes"])] == ["true", "false", "null"]
    rules = tmp_path / "migrator.toml"
    together = '[columns."t.yes"]\n' + "\n".join(chosen_lines(found["yes"]))
    for line in ("\n".join(lines[:2]), *lines[2:]):
        rules.write_text(f'[columns."t.v"]\n{line}\n{together}\n', encoding="utf-8")
        assert await findings(move, rules=str(rules)) == {}, line


async def test_numbers_that_count_in_two_units(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """No unit fits all of them, so the first line tells seconds from milliseconds; 0 is left out of account."""
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, mixed timestamp, ms timestamp)")
    make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, mixed, ms)",
        {"t": [(1, 1700000000, 0), (2, 1700000000001, 1700000000001)]},
    )
    found = await findings(move)
    [mixed], [ms] = (chosen_lines(found[name]) for name in ("mixed", "ms"))
    assert mixed.startswith("expression = ")
    assert ms.startswith('epoch = "ms"')
    rules = tmp_path / "migrator.toml"
    sections = f'[columns."t.mixed"]\n{mixed}\n[columns."t.ms"]\n{ms}\n'
    rules.write_text(sections, encoding="utf-8")
    await move(rules=str(rules)).run()
    assert [row[0] for row in await database.fetch("SELECT max(mixed)::text FROM t")] == ["2023-11-14 22:13:20.001"]


UUID_DIGITS = "00112233445566778899aabbccddeeff"


async def test_uuids_in_tables_that_the_job_makes(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """Bytes in a column of numbers are refused, other forms are remarked on: the line for each is the type."""
    octets = bytes.fromhex(UUID_DIGITS)
    make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n NUMERIC, b BLOB, c CHAR(32), picture BLOB, hash TEXT)",
        {"t": [(1, octets, octets, UUID_DIGITS, octets, UUID_DIGITS), (2, None, octets, None, b"x", UUID_DIGITS)]},
    )
    found = {finding.column: finding for finding in (await move(schema_mode="create").check()).findings}
    assert {name: finding.code for name, finding in found.items()} == {
        "n": C.WRONG_STORAGE_CLASS,
        "b": C.LOOKS_LIKE_UUID,
        "c": C.LOOKS_LIKE_UUID,
    }
    lines = {name: finding.settled_by.splitlines()[0] for name, finding in found.items()}
    assert all(line.startswith('type = "uuid"') for line in lines.values())
    rules = tmp_path / "migrator.toml"
    rules.write_text("\n".join(f'[columns."t.{name}"]\n{line}\n' for name, line in lines.items()), encoding="utf-8")
    await move(schema_mode="create", rules=str(rules)).run()
    rows = await database.fetch("SELECT n, b, c FROM t ORDER BY id")
    one = UUID(UUID_DIGITS)
    assert [tuple(row) for row in rows] == [(one, one, one), (None, one, None)]


TRIED_ELSEWHERE = frozenset({C.NOT_IN_ENCODING, C.SERVER_REJECTS_ROW})
"""They need a database in another encoding, and a row that PostgreSQL refuses for another reason than all others."""


def test_every_code_is_in_a_table() -> None:
    """A new code needs a value that triggers it, or a sentence."""
    here = {code for code, _ in PROBES.values()} | {code for code, *_ in ROWS.values()}
    here |= {C.MISSING_VALUE, C.AMBIGUOUS_LOCAL_TIME, C.INVALID_UTF16, C.LOOKS_LIKE_UUID} | TRIED_ELSEWHERE
    assert here | set(NO_RULE) | WITHOUT_REMEDY == set(ProblemCode)


MORE_SOURCE = """
CREATE TABLE p (id INTEGER PRIMARY KEY);
CREATE TABLE orphans (id INTEGER PRIMARY KEY, v INT REFERENCES p, w INT);
INSERT INTO orphans VALUES (1, 7, -7);
CREATE TABLE mixed (id INTEGER PRIMARY KEY, flag, born, number);
INSERT INTO mixed VALUES (1, 'yes', 1700000000001, '12'), (2, 'no', '0000-00-00', 'n/a'), (3, '?', NULL, 5);
CREATE TABLE missing (id INTEGER PRIMARY KEY, v TEXT);
INSERT INTO missing VALUES (1, NULL);
CREATE TABLE there (id INTEGER PRIMARY KEY, v TEXT);
INSERT INTO there VALUES (1, 'source');
CREATE TABLE gone (id INTEGER PRIMARY KEY);
INSERT INTO gone VALUES (1);
"""
MORE_TARGET = """
CREATE TABLE p (id int PRIMARY KEY);
CREATE TABLE orphans (id int PRIMARY KEY, v int REFERENCES p, w int CHECK (w > 0));
CREATE TABLE mixed (id int PRIMARY KEY, flag bool, born timestamptz, number int);
CREATE TABLE missing (id int PRIMARY KEY, v text NOT NULL);
CREATE TABLE there (id int PRIMARY KEY, v text);
INSERT INTO there VALUES (7, 'target');
"""


async def test_the_written_file_settles_everything(
    cli: Cli, database: Database, sqlite_file: Path, tmp_path: Path
) -> None:
    """From a source with every kind of finding over the file of `check --write-rules` to a run that ends with 0."""
    await make_both_ends(database, sqlite_file, not_null=False)
    with closing(sqlite3.connect(sqlite_file)) as connection:
        connection.executescript(MORE_SOURCE)
    await database.execute(MORE_TARGET)
    rules = tmp_path / "migrator.toml"

    def command(name: str, *flags: object) -> Ended:
        given = ("--source", sqlite_file, "--schema=existing", *quick_flags(), *flags)
        return cli(name, *given, MIGRATOR_TARGET_URL=database.url)

    refused = command("check", "--write-rules", rules)
    assert refused.code == 4, refused.stderr
    assert refused.failure["next_step"].endswith(f"run again with --rules {rules}")
    done = command("run", "--rules", rules)
    assert done.code == 0, done.stderr
    said = tomllib.loads(rules.read_text(encoding="utf-8"))
    assert said["tables"] == {"gone": {"exclude": True}, "there": {"on_existing_rows": "replace"}}
    assert said["columns"]["mixed.born"] == {"epoch": "ms", "null": ["0000-00-00"]}
    assert said["columns"]["mixed.flag"] == {"true": ["yes"], "false": ["no"], "null": ["?"]}
    moved = await database.fetch("SELECT flag, born::text, number FROM mixed ORDER BY id")
    assert [row[0] for row in moved] == [True, False, None]
    assert [row[2] for row in moved] == [12, None, 5]
    other = command("check", "--write-rules", rules, "--rules=/dev/null")
    assert (other.code, f"Add --rules {rules}" in other.failure["next_step"]) == (2, True)
    assert tomllib.loads(rules.read_text(encoding="utf-8")) == said
    assert command("check", "--write-rules", tmp_path / "other.toml", "--rules", rules).code == 0
    assert not (tmp_path / "other.toml").exists()


MOMENTS = {
    1: ("2024-02-29 23:30:00.999999-02:00", "2024-03-01 01:30:00.999999"),
    2: ("2024-02-29T10:00:00+05:30", "2024-02-29 04:30:00"),
    3: ("2024-02-29T10:00:00.5Z", "2024-02-29 10:00:00.5"),
    4: ("2024-02-29 10:00:00", "2024-02-29 10:00:00"),
}


@pytest.mark.parametrize("mode", ["existing", "create"])
async def test_moments_with_an_offset_in_a_column_without_one(
    move: MakeMove, database: Database, tmp_path: Path, sqlite_file: Path, mode: str
) -> None:
    """The first line carries the same moments: in UTC, or in a column of a type that has them if the job makes it."""
    with closing(sqlite3.connect(sqlite_file)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(key, value) for key, (value, _) in MOMENTS.items()])
        connection.commit()
    if mode == "existing":
        await database.execute("CREATE TABLE t (id bigint PRIMARY KEY, at timestamp)")
    line = (await findings(move, schema_mode=mode))["at"].settled_by.splitlines()[0]
    assert line.startswith('type = "timestamptz"' if mode == "create" else 'expression = "CASE')
    rules = tmp_path / "migrator.toml"
    rules.write_text(f'[columns."t.at"]\n{line}\n', encoding="utf-8")
    await move(schema_mode=mode, rules=str(rules)).run()
    wanted = ", ".join(f"({key}, timestamp '{value}')" for key, (_, value) in MOMENTS.items())
    carried = "t.at AT TIME ZONE 'UTC'" if mode == "create" else "t.at"
    differing = f"SELECT * FROM t JOIN (VALUES {wanted}) AS w(id, at) USING (id) WHERE {carried} <> w.at"
    assert await database.fetch(differing) == []
