"""Digests and differences on real ends: what is one value is no difference, and what isn't is named by its key."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from fix_postgres import Database
from msgspec.structs import replace

from migrator.config.settings import Settings
from migrator.planning.matching import make_plan
from migrator.preflight.table_check import measure_tables
from migrator.runtime.limits import ExampleOptions
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.source.database import Source
from migrator.target.database import Target
from migrator.verification import digest
from migrator.verification.canonical import ColumnPair
from migrator.verification.comparison import Comparison, Databases
from migrator.verification.differences import Difference, Kind, TableDifferences, find_differences

pytestmark = pytest.mark.one_server  # what a server's version may change is compared by the job's own tests


@dataclass(frozen=True, slots=True)
class CompareContext:
    """A table at both ends, compared without the job around it."""

    source: Source
    address: TargetAddress
    comparison: Comparison

    def digests(self) -> tuple[digest.Digest, digest.Digest]:
        """Return both digests."""
        with ReadOnlySession(self.address) as session:
            there = digest.of_target(session, self.comparison)
        with self.source.session() as scanning:
            return digest.of_source(scanning, self.address, self.comparison), there

    def look(self, *, examples: int = 5, mask_values: bool = False) -> tuple[TableDifferences, list[Difference]]:
        """Return what is found where the digests differ."""
        ours, theirs = self.digests()
        told: list[Difference] = []
        options = ExampleOptions(examples, mask_values=mask_values)
        databases = Databases(self.source, self.address)
        return find_differences(databases, self.comparison, ours.differing(theirs), options, told.append), told


async def ends(database: Database, path: Path) -> CompareContext:
    """Pair the only table of a SQLite file with its namesake in the database."""
    settings = Settings.load({"target_url": database.url})
    source, target = Source(path), Target(settings.target)
    try:
        async with target.connect() as connection:
            described = await target.describe(connection, "public")
        [table] = make_plan(await source.describe(), described).tables
    finally:
        await source.close()
        await target.close()
    with source.session() as session:
        [table_size] = measure_tables(session, [table])
    pairs = tuple(ColumnPair(column.source_expression, column.target) for column in table.columns)
    return CompareContext(source, settings.target, Comparison(table.source, table.target, pairs, table_size, 1 << 20))


def fill(path: Path, declared: str, rows: Iterable[Sequence[object]]) -> Path:
    """Make a SQLite file with table ``t``."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE t ({declared})")
        for row in rows:
            connection.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(row))})", tuple(row))
        connection.commit()
    return path


# What SQLite holds, what PostgreSQL holds (an SQL literal), and whether that is one value.
SAME, OTHER = True, False
VALUES: dict[str, list[tuple[object, str, bool]]] = {
    "boolean": [
        (1, "true", SAME),
        (0, "false", SAME),
        (None, "NULL", SAME),
        (0, "true", OTHER),
        (None, "false", OTHER),
    ],
    "bigint": [
        (2**63 - 1, "9223372036854775807", SAME),
        (-(2**63), "-9223372036854775808", SAME),
        (2**63 - 2, "9223372036854775807", OTHER),
        (0, "NULL", OTHER),
        (None, "0", OTHER),
    ],
    "smallint": [(-1, "-1", SAME), (1, "-1", OTHER)],
    "double precision": [
        (0.1, "0.1", SAME),
        (5e-324, "5e-324", SAME),
        (float("inf"), "'Infinity'", SAME),
        (3, "3", SAME),
        (0.1, "0.10000000000000002", OTHER),  # one unit in the last place
        (0.0, "'-0'", OTHER),
        (-0.0, "0", OTHER),
        (float("inf"), "'-Infinity'", OTHER),
        (None, "'NaN'", OTHER),
        (0.0, "NULL", OTHER),
    ],
    "real": [(0.5, "0.5", SAME), (0.5, "0.50000006", OTHER)],
    "numeric": [
        (1.5, "1.50", SAME),
        ("1.50", "1.5", SAME),
        (150, "1.5e2", SAME),
        (1e20, "100000000000000000000", SAME),
        ("0.10", "0.1000", SAME),
        ("NaN", "'NaN'", SAME),
        ("12345678901234567890.1234567890", "12345678901234567890.123456789", SAME),
        ("12345678901234567890.1234567890", "12345678901234567890.12345678901", OTHER),
        (1.5, "1.51", OTHER),
        (0, "NULL", OTHER),
    ],
    "text": [
        ("", "''", SAME),
        ("Grüße", "'Grüße'", SAME),
        (7, "'7'", SAME),
        ("", "NULL", OTHER),
        (None, "''", OTHER),
        ("a", "'a '", OTHER),
        ("a", "'A'", OTHER),
        ("\u00e9", "U&'e\\0301'", OTHER),  # composed, decomposed
        ("a\nb", "E'a\\r\\nb'", OTHER),
    ],
    "varchar(9)": [("a ", "'a '", SAME), ("a ", "'a'", OTHER)],
    "char(4)": [
        ("ab", "'ab'", SAME),
        ("ab  ", "'ab'", SAME),
        ("", "''", SAME),
        ("ab", "' ab'", OTHER),
        ("", "NULL", OTHER),
    ],
    "bytea": [
        (b"\x00\xff", r"'\x00ff'", SAME),
        (b"", r"'\x'", SAME),
        (b"", "NULL", OTHER),
        (None, r"'\x'", OTHER),
        (b"\x00", r"'\x'", OTHER),
        (b"\x00\xff", r"'\x00fe'", OTHER),  # one bit
    ],
    "date": [
        ("0001-01-01", "'0001-01-01'", SAME),
        ("9999-12-31", "'9999-12-31'", SAME),
        ("2024-02-29", "'2024-02-28'", OTHER),
        ("2024-02-29", "'infinity'", OTHER),
        ("9999-12-31", "'infinity'", OTHER),
        ("0001-01-01", "'-infinity'", OTHER),
        ("0001-01-01", "'0001-01-01 BC'", OTHER),
        ("infinity", "NULL", OTHER),
        ("2024-02-29 12:00:00", "'2024-02-29'", OTHER),
    ],
    "time": [
        ("12:30:15.123456", "'12:30:15.123456'", SAME),
        ("00:00", "'00:00'", SAME),
        ("24:00:00", "'24:00:00'", OTHER),  # that spelling is refused on the way, so nobody can have brought it
        ("00:00:00", "'24:00:00'", OTHER),
        ("12:30:15.123456", "'12:30:15.123457'", OTHER),
    ],
    "timestamp": [
        ("2024-02-29 12:30:15.000001", "'2024-02-29 12:30:15.000001'", SAME),
        ("2024-02-29T12:30:15", "'2024-02-29 12:30:15'", SAME),
        ("0001-01-01 00:00:00", "'0001-01-01 00:00:00'", SAME),
        ("9999-12-31 23:59:59.999999", "'9999-12-31 23:59:59.999999'", SAME),
        ("2024-02-29 12:30:15.000001", "'2024-02-29 12:30:15.000002'", OTHER),
        ("2024-02-29 12:30:15.1234567", "'2024-02-29 12:30:15.123456'", OTHER),
        ("2024-02-29 12:30:15+02:00", "'2024-02-29 12:30:15'", OTHER),
        ("2024-02-29 24:00:00", "'2024-03-01 00:00:00'", OTHER),
        ("9999-12-31 23:59:59.999999", "'infinity'", OTHER),
        ("now", "now()", OTHER),
    ],
    "timestamptz": [
        ("2024-02-29 12:30:15", "'2024-02-29 12:30:15+00'", SAME),
        ("2024-02-29T12:30:15Z", "'2024-02-29 12:30:15+00'", SAME),
        ("2024-02-29 12:30:15.5+05:30", "'2024-02-29 07:00:15.5+00'", SAME),
        ("2024-02-29", "'2024-02-29 00:00+00'", SAME),
        ("9999-12-31 23:59:59", "'9999-12-31 23:59:59+00'", SAME),
        ("2024-02-29 12:30:15+02:00", "'2024-02-29 12:30:15+00'", OTHER),
        ("2024-02-29 12:30:15", "'2024-02-29 12:30:15+01'", OTHER),
        ("2024-02-29 12:30:15", "'-infinity'", OTHER),
    ],
    "interval": [("1 day 02:00:00", "'1 day 2 hours'", SAME), ("1 day", "'24 hours'", OTHER), ("x", "'1 day'", OTHER)],
    "json": [('{"a": 1}', "'{\"a\": 1}'", SAME), ('{"a": 1}', "'{\"a\":1}'", OTHER), ("null", "NULL", OTHER)],
    "jsonb": [
        ('{"b":1,"a":[1.50,1e2]}', '\'{"a":[1.5,100],"b":1.0}\'', SAME),
        ('{"a":1,"a":2}', "'{\"a\":2}'", SAME),
        ('"\\u00e9"', "'\"é\"'", SAME),
        ("1e2", "'100'", SAME),
        (7, "'7'", SAME),
        (0.1, "'0.1'", SAME),
        ('{"a":0.12345678901234567890}', "'{\"a\":0.1234567890123456789}'", SAME),
        ('{"a":0.12345678901234567890}', "'{\"a\":0.1234567890123456788}'", OTHER),
        ('{"a":12345678901234567}', '\'{"a":"12345678901234567"}\'', OTHER),
        ('{"a":1,"a":2}', "'{\"a\":1}'", OTHER),
        ('{"a":null}', "'{}'", OTHER),
        ("null", "NULL", OTHER),
        ("true", "'\"true\"'", OTHER),
        ("[1,2]", "'[2,1]'", OTHER),
    ],
    "uuid": [
        ("0123456789abcdef0123456789ABCDEF", "'01234567-89ab-cdef-0123-456789abcdef'", SAME),
        ("01234567-89ab-cdef-0123-456789abcdef", "'01234567-89ab-cdef-0123-456789abcdef'", SAME),
        (bytes.fromhex("0123456789abcdef0123456789abcdef"), "'01234567-89ab-cdef-0123-456789abcdef'", SAME),
        ("0123456789abcdef0123456789abcdee", "'01234567-89ab-cdef-0123-456789abcdef'", OTHER),
    ],
    "mood": [("so-so", "'so-so'", SAME), ("glad", "'so-so'", OTHER), ("So-So", "'so-so'", OTHER)],
    "inet": [("10.0.0.1/32", "'10.0.0.1'", SAME), ("10.0.0.1", "'10.0.0.2'", OTHER), ("ten", "'10.0.0.2'", OTHER)],
    "int[]": [("{1, 2,NULL}", "'{1,2,NULL}'", SAME), ("{1,2}", "'{2,1}'", OTHER), ("{}", "NULL", OTHER)],
    "text[]": [('{"a b",c}', "'{a b,c}'", SAME), ('{"null"}', "'{null}'", OTHER)],
    "mood[]": [("{glad}", "'{glad}'", SAME), ("{glad}", "'{so-so}'", OTHER)],
    "int4range": [("[1,3]", "'[1,4)'", SAME), ("[1,3]", "'[1,3)'", OTHER)],
    "bit(3)": [("101", "B'101'", SAME), ("1011", "B'101'", OTHER)],
    "interval(0)": [("1.5 seconds", "'1.5 seconds'", OTHER)],
    "tsvector": [("'a' 'b'", "'a b'", SAME), ("b a", "'a b'", OTHER), ("a:1", "'a:2'", OTHER)],
    "money": [("12.50", "'12.5'", SAME), (12.5, "'12.5'", SAME), ("12.50", "'12.51'", OTHER)],
    "positive": [(5, "5", SAME), (5, "6", OTHER)],
}


@pytest.mark.parametrize("declared", VALUES)
async def test_a_value_and_its_neighbours(database: Database, tmp_path: Path, declared: str) -> None:
    """Of every type: one value in two spellings is no difference, and the nearest other value is one."""
    values = VALUES[declared]
    await database.execute(
        "CREATE TYPE mood AS ENUM ('glad', 'so-so'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); "
        f"CREATE TABLE t (id int PRIMARY KEY, v {declared}); INSERT INTO t VALUES "
        + ", ".join(f"({i}, {literal})" for i, (_, literal, _) in enumerate(values))
    )
    path = fill(
        tmp_path / "s.db", "id INTEGER PRIMARY KEY, v", ((i, stored) for i, (stored, _, _) in enumerate(values))
    )
    found, told = (await ends(database, path)).look()
    different = {values[int(d.key["id"] or 0)][:2] for d in told}
    assert different == {(stored, literal) for stored, literal, same in values if same is OTHER}
    assert {(d.kind, d.column) for d in told} <= {(Kind.DIFFERENT, "v")}
    assert found.columns["v"] == len(told) == found.rows[Kind.DIFFERENT]


KEYED = "CREATE TABLE t (id int PRIMARY KEY, a text, b int)"
KEYLESS = "CREATE TABLE t (id int, a text, b int)"
ROWS = [(i, f"text {i % 7}", i * i) for i in range(1000)]


async def filled(database: Database, path: Path, ddl: str) -> CompareContext:
    """Give the same thousand rows at both ends, the target's in another order."""
    await database.execute(
        f"{ddl}; INSERT INTO t SELECT i, 'text ' || i % 7, i * i FROM generate_series(0, 999) AS i ORDER BY i % 9"
    )
    return await ends(database, fill(path, "id INTEGER, a TEXT, b INTEGER", ROWS))


@pytest.mark.parametrize("ddl", [KEYED, KEYLESS], ids=["keyed", "keyless"])
async def test_equal_tables_have_equal_digests(database: Database, tmp_path: Path, ddl: str) -> None:
    """In whatever order the rows are stored."""
    ours, theirs = (await filled(database, tmp_path / "s.db", ddl)).digests()
    assert ours == theirs
    assert ours.rows == 1000
    assert ours.hexadecimal() == theirs.hexadecimal()


# What is done to the target, and what has to be said about it: with a key, and without one.
DAMAGES = {
    "a changed cell": ("UPDATE t SET a = a || ' ' WHERE id = 7", {("7", "a")}, {("7", "missing"), ("7", "extra")}),
    "NULL for a value": ("UPDATE t SET b = NULL WHERE id = 7", {("7", "b")}, {("7", "missing"), ("7", "extra")}),
    "a lost row": ("DELETE FROM t WHERE id = 7", {("7", "missing")}, {("7", "missing")}),
    "a row too many": ("INSERT INTO t VALUES (5000, 'x', 1)", {("5000", "extra")}, {("5000", "extra")}),
    "another key": ("UPDATE t SET id = 5000 WHERE id = 7",) + ({("7", "missing"), ("5000", "extra")},) * 2,
    "values swapped between rows": (
        "UPDATE t SET b = CASE id WHEN 7 THEN 64 ELSE 49 END WHERE id IN (7, 8)",
        {("7", "b"), ("8", "b")},
        {("7", "missing"), ("7", "extra"), ("8", "missing"), ("8", "extra")},
    ),
    "values swapped between columns": (
        "UPDATE t SET a = b::text, b = 0 WHERE id = 7",
        {("7", "a"), ("7", "b")},
        {("7", "missing"), ("7", "extra")},
    ),
}


@pytest.mark.parametrize("ddl", [KEYED, KEYLESS], ids=["keyed", "keyless"])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damage_is_named(database: Database, tmp_path: Path, ddl: str, damage: str) -> None:
    """With a key: row and column. Without one: the row that is missing and the one that is there instead."""
    statement, keyed, keyless = DAMAGES[damage]
    both = await filled(database, tmp_path / "s.db", ddl)
    await database.execute(statement)
    found, told = both.look()
    said = {(d.key["id"], d.column or d.kind.split()[0]) for d in told}
    assert said == (keyed if ddl == KEYED else keyless)
    assert sum(found.rows.values()) >= 1


async def test_twins_are_counted(database: Database, tmp_path: Path) -> None:
    """In a table without a key a row may be there several times, and is missing or extra as often as the counts say."""
    await database.execute("CREATE TABLE t (a text, b int)")
    await database.execute("INSERT INTO t SELECT 'x', 1 FROM generate_series(1, 5); INSERT INTO t VALUES ('y', NULL)")
    both = await ends(
        database, fill(tmp_path / "s.db", "a, b", [("x", 1), ("x", 1), ("y", None), ("y", None), ("y", None)])
    )
    found, told = both.look()
    assert {(d.kind, d.key["a"], d.times) for d in told} == {(Kind.EXTRA, "x", 3), (Kind.MISSING, "y", 2)}
    assert found.rows == {Kind.EXTRA: 3, Kind.MISSING: 2}


async def test_an_empty_table_is_not_one_with_rows(database: Database, tmp_path: Path) -> None:
    """All rows lost is a difference, and none on both sides isn't."""
    await database.execute(KEYED)
    both = await ends(database, fill(tmp_path / "s.db", "id INTEGER, a TEXT, b INTEGER", []))
    ours, theirs = both.digests()
    assert ours == theirs
    await database.execute("INSERT INTO t VALUES (1, NULL, NULL)")
    found, _ = both.look()
    assert found.rows == {Kind.EXTRA: 1}


async def test_only_rows_of_the_table_itself_count(database: Database, tmp_path: Path) -> None:
    """An inheriting table's rows are its own; a partitioned table's are in its partitions."""
    both = await filled(database, tmp_path / "s.db", KEYED)
    await database.execute("CREATE TABLE heir () INHERITS (t); INSERT INTO heir VALUES (9999, 'x', 1)")
    ours, theirs = both.digests()
    assert ours == theirs


async def test_long_values_are_shown_where_they_differ(database: Database, tmp_path: Path) -> None:
    """A person sees the difference and not a thousand equal characters; masked, nobody sees anything."""
    await database.execute(KEYED)
    await database.execute("INSERT INTO t VALUES (1, repeat('a', 1000) || 'X' || repeat('b', 1000), 5)")
    rows = [(1, "a" * 1000 + "Y" + "b" * 1000, None)]
    both = await ends(database, fill(tmp_path / "s.db", "id INTEGER, a TEXT, b INTEGER", rows))
    _, [text, number] = both.look()
    assert text.source is not None
    assert text.target is not None
    assert (text.source[20], text.target[20]) == ("a", "a")
    assert "Y" in text.source
    assert "X" in text.target
    assert max(len(text.source), len(text.target)) < 100
    assert number.line() == "id = '1': b is NULL in the source, '5' in the target"
    found, masked = both.look(mask_values=True)
    assert [(d.key, d.column, d.source, d.target) for d in masked] == [
        ({"id": "1"}, "a", "(masked)", "(masked)"),
        ({"id": "1"}, "b", None, "(masked)"),
    ]
    assert found.examples == masked


async def test_examples_are_few_and_all_are_told(database: Database, tmp_path: Path) -> None:
    """The counts are of all, whatever is shown."""
    both = await filled(database, tmp_path / "s.db", KEYED)
    await database.execute("UPDATE t SET b = b + 1, a = upper(a) WHERE id < 500")
    found, told = both.look(examples=3)
    assert len(found.examples) == 3
    assert len(told) == 1000
    assert found.rows == {Kind.DIFFERENT: 500}
    assert found.columns == {"a": 500, "b": 500}


async def test_a_column_left_out_is_not_compared(database: Database, tmp_path: Path) -> None:
    """Without a column of the key, rows are compared as a table without a key is."""
    both = await filled(database, tmp_path / "s.db", KEYED)
    without_key = CompareContext(both.source, both.address, replace(both.comparison, pairs=both.comparison.pairs[1:]))
    ours, theirs = without_key.digests()
    assert ours == theirs
    await database.execute("UPDATE t SET b = -1 WHERE id = 7")
    _, told = without_key.look()
    assert {(d.kind, d.key["b"]) for d in told} == {(Kind.MISSING, "49"), (Kind.EXTRA, "-1")}
