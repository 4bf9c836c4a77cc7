"""
Every form in which applications store values in SQLite is learnt, and given back: value and storage class.

A file with rows in one form a column is moved. The old file then loses half of its rows, and the rollback has to write
them again from PostgreSQL alone: in the form of the other half.
"""

import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fix_job import Cli
from fix_postgres import Database

pytestmark = pytest.mark.one_server

ROWS = 60

Form = Callable[[random.Random], Any]


def moment(some: random.Random, digits: int) -> datetime:
    """Return a moment whose second has at most so many digits behind the point."""
    unit = 10 ** (6 - digits)
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=some.randrange(10**14) // unit * unit)


def spelled(separator: str, digits: int, offset: str) -> Form:
    """Return a form of text: the date, a separator, the time with so many digits, an offset."""

    def form(some: random.Random) -> str:
        given = moment(some, min(digits, 6))
        fraction = f".{given.microsecond:06}"[: digits + 1].ljust(digits + 1, "0") if digits else ""
        return f"{given:%Y-%m-%d}{separator}{given:%H:%M:%S}{fraction}{offset}"

    return form


def _python(some: random.Random) -> str:
    return str(moment(some, some.choice((0, 6))).replace(tzinfo=None))


def _go(some: random.Random) -> str:
    given = moment(some, some.choice((0, 3, 6)))
    return f"{given:%Y-%m-%dT%H:%M:%S}" + f".{given.microsecond:06}".rstrip("0").rstrip(".") + "Z"


def _epoch(some: random.Random, unit: int) -> int:
    given = moment(some, 0 if unit == 1 else 3)
    return int((given - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * unit // 10**6


def _date(some: random.Random) -> date:
    return moment(some, 0).date()


def _money(some: random.Random) -> Decimal:
    return Decimal(some.randrange(10**7)) / 100


def _document(some: random.Random) -> dict[str, Any]:
    return {"a": some.randrange(100), "b": [1, {"c": None}]}


WORDS: tuple[tuple[int | str, int | str], ...] = (
    *((1, 0), ("true", "false"), ("True", "False"), ("t", "f"), ("Y", "N"), ("yes", "no"), ("on", "off")),
)


def one_of(words: tuple[int | str, int | str]) -> Form:
    """Return a form that has one of two words."""
    return lambda some: some.choice(words)


Listed = tuple[str, str, str, str, Form]


def forms() -> Iterator[Listed]:
    """Yield a name, the types of SQLite and of PostgreSQL, the rule, and what gives values of the form."""
    for offset in ("", "Z", "+00:00", "+00", "+0000"):
        target = "timestamptz" if offset else "timestamp"
        for separator in (" ", "T"):
            for digits in (0, 3, 6):
                yield f"m{digits}", "DATETIME", target, "", spelled(separator, digits, offset)
    yield "ticks", "TEXT", "timestamp", "truncate = true", spelled(" ", 7, "")
    yield "python", "DATETIME", "timestamp", "", _python
    yield "go", "TIMESTAMP", "timestamptz", "", _go
    yield "minute", "TEXT", "timestamp", "", lambda some: f"{moment(some, 0):%Y-%m-%dT%H:%M}"
    yield "here", "TEXT", "timestamptz", 'timezone = "Europe/Rome"', spelled(" ", 6, "")
    yield "seconds", "INTEGER", "timestamptz", 'epoch = "s"', lambda some: _epoch(some, 1)
    yield "millis", "BIGINT", "timestamptz", 'epoch = "ms"', lambda some: _epoch(some, 1000)
    yield "micros", "BIGINT", "timestamp", 'epoch = "us"', lambda some: _epoch(some, 10**6)
    yield "real", "REAL", "timestamptz", 'epoch = "s"', lambda some: _epoch(some, 1000) / 1000
    yield "digits", "TEXT", "timestamptz", 'epoch = "s"', lambda some: str(_epoch(some, 1))
    yield "julian", "REAL", "timestamp", "julian = true", lambda some: 2459000.5 + some.randrange(1000) / 4
    yield "day", "DATE", "date", "", lambda some: str(_date(some))
    cut = "expression = 'substr(NAME, 1, 10)'"
    yield "midnight", "DATE", "date", cut, lambda some: f"{_date(some)} 00:00:00"
    yield "midnight_z", "DATE", "date", cut, lambda some: f"{_date(some)}T00:00:00"
    yield "clock", "TIME", "time", "", lambda some: f"{moment(some, 0):%H:%M:%S}"
    yield "clock6", "TIME", "time", "", lambda some: f"{moment(some, 6):%H:%M:%S.%f}"
    yield "clock2", "TIME", "time", "", lambda some: f"{moment(some, 0):%H:%M}"
    for number, words in enumerate(WORDS):
        rule = f'true = ["{words[0]}"]\nfalse = ["{words[1]}"]' if isinstance(words[0], str) else ""
        yield f"bool{number}", "BOOLEAN", "boolean", rule, one_of(words)
    yield "ja", "TEXT", "boolean", 'true = ["ja"]\nfalse = ["nein"]', lambda some: some.choice(("ja", "nein"))
    yield "u1", "TEXT", "uuid", "", lambda some: str(UUID(int=some.getrandbits(128)))
    yield "u2", "TEXT", "uuid", "", lambda some: UUID(int=some.getrandbits(128)).hex
    yield "u3", "TEXT", "uuid", "", lambda some: str(UUID(int=some.getrandbits(128))).upper()
    yield "u4", "BLOB", "uuid", "", lambda some: some.randbytes(16)
    yield "n1", "DECIMAL(10,2)", "numeric(10,2)", "", lambda some: float(_money(some))
    yield "n2", "TEXT", "numeric(10,2)", "", lambda some: f"{_money(some):.2f}"
    yield "n3", "TEXT", "numeric", "", lambda some: str(_money(some).normalize().quantize(Decimal("0.01")))
    yield "n4", "INTEGER", "numeric", "", lambda some: some.randrange(10**12)
    yield "n5", "REAL", "numeric(12,4)", "", lambda some: some.randrange(10**9) / 10**4
    yield "i1", "INTEGER", "bigint", "", lambda some: some.randrange(-(2**63), 2**63)
    yield "i2", "INT", "smallint", "", lambda some: some.randrange(100)
    yield "f1", "DOUBLE", "double precision", "", lambda some: some.random() * 10 ** some.randrange(-300, 300)
    yield "f2", "NUMERIC", "double precision", "", lambda some: some.choice((1, 2.5, 10**15, -3))
    yield "t1", "TEXT", "text", "", lambda some: some.choice(("", "é\n🌱", "NULL", "0012", "a" * 300))
    yield "b1", "BLOB", "bytea", "", lambda some: some.randbytes(some.randrange(20))
    yield "j1", "JSON", "jsonb", "", lambda some: json.dumps(_document(some))
    yield "j2", "JSON", "jsonb", "", lambda some: json.dumps(_document(some), separators=(",", ":"))
    yield "j3", "JSON", "json", "", lambda some: json.dumps(_document(some), indent=2)
    yield "e1", "TEXT", "text", 'null = ["N/A"]', lambda some: some.choice(("N/A", "x"))
    yield "e2", "TEXT", "text", "empty_as_null = true", lambda some: some.choice(("", "x"))
    yield "d1", "BIGINT", "interval", 'interval_unit = "us"', lambda some: some.randrange(10**12)
    yield "d2", "INTEGER", "interval", 'interval_unit = "s"', lambda some: some.randrange(10**6)
    yield "a1", "TEXT", "inet", "", lambda some: f"10.0.0.{some.randrange(256)}"


async def test_every_form_is_learnt(database: Database, cli: Cli, tmp_path: Path) -> None:
    """The rows that were taken out of the old file come back as they were, cell by cell, NULL among them."""
    chance = random.Random(7)  # noqa: S311 - no secret
    listed: list[Listed] = [
        (f"c{number}_{name}", declared, target, rule, form)
        for number, (name, declared, target, rule, form) in enumerate(forms())
    ]
    rules = tmp_path / "rules.toml"
    rules.write_text(
        "".join(f'[columns."t.{name}"]\n{rule.replace("NAME", name)}\n' for name, _, _, rule, _ in listed if rule)
    )
    whole, half, new = tmp_path / "whole.db", tmp_path / "half.db", tmp_path / "new.db"
    with closing(sqlite3.connect(whole)) as connection:
        columns = ", ".join(f"{name} {declared}" for name, declared, *_ in listed)
        connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns})")
        for key in range(ROWS):
            row = [None if chance.random() < 0.1 else form(chance) for *_, form in listed]
            connection.execute(f"INSERT INTO t VALUES (?{', ?' * len(row)})", [key, *row])
        connection.commit()
    types = ", ".join(f"{name} {target}" for name, _, target, *_ in listed)
    await database.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, {types})")
    ended = cli("run", "--source", whole, "--schema", "existing", "--rules", rules, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    half.write_bytes(whole.read_bytes())
    with closing(sqlite3.connect(half)) as connection:
        connection.execute("DELETE FROM t WHERE id % 2")
        connection.commit()
    ended = cli("rollback", "--like", half, "--to", new, "--rules", rules, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert "the rule truncate = true of the way out has no way back" in ended.stdout
    # A rule that reads two values as NULL has no way back to the rarer one: NULL itself was among the values.
    ambiguous = [name for name, _, _, rule, _ in listed if "null" in rule]
    differing = {
        name: (before, after)
        for row, now in zip(rows(whole), rows(new), strict=True)
        for name, before, after in ((name, row[name], now[name]) for name in row)
        if repr(before) != repr(after) and not (name in ambiguous and {before, after} <= {None, "N/A", ""})
    }
    assert differing == {}


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of the table by column."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM t ORDER BY id")]


async def test_the_newest_form_is_taken_and_told(database: Database, cli: Cli, tmp_path: Path) -> None:
    """Where old values have two forms, new ones get that of the newest rows, and the report says how many have it."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at TIMESTAMP)")
        values = [(key, "2024-01-01 10:00:00" if key < 300 else "2024-01-01T10:00:00Z") for key in range(500)]
        connection.executemany("INSERT INTO t VALUES (?, ?)", values)
        connection.commit()
    await database.execute("CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz)")
    ended = cli("run", "--source", old, "--schema", "existing", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    await database.execute("INSERT INTO t VALUES (1000, '2025-01-01 00:00:00.25+00')")
    ended = cli("rollback", "--like", old, "--to", new, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert rows(new)[-1] == {"id": 1000, "at": "2025-01-01T00:00:00.250000Z"}
    assert "as 200 of the newest 500 old values" in ended.stdout
    assert rows(new)[:-1] == rows(old)
