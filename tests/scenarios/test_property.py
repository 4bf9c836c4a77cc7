"""
Random tables: every value of every storage class, going into every type, is refused by name or arrives.

The judge is slow and knows nothing of the engine: it reads the source with Python's ``sqlite3`` and the target with
``asyncpg``, and compares Python's values. ``MIGRATOR_TEST_BATCHES`` says how many batches of tables are tried, each of
some 700 values; the default is enough for a change, ``scripts/property.sh`` tries 100,000 and more.
"""

import asyncio
import ipaddress
import json
import os
import re
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fix_job import settings_of
from fix_postgres import Database
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from migrator.job import check, run
from migrator.monitoring.tracker import Tracker

BATCHES = int(os.environ.get("MIGRATOR_TEST_BATCHES", "5"))
TABLES, COLUMNS, ROWS = 6, 8, 30

Stored = None | int | float | str | bytes


@dataclass(frozen=True, slots=True)
class Type:
    """A type of the target: values that it must take, values near them, and what has arrived if one does."""

    plain: st.SearchStrategy[Any]
    near: st.SearchStrategy[Any]
    same: Callable[[Any, Any], bool]
    """Whether the stored value and asyncpg's are one value."""


def _integer(bits: int) -> Type:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    edges = st.sampled_from([low - 1, high + 1, str(high), float(high), True])
    return Type(st.integers(low, high), edges, lambda s, t: type(s) is int and s == t)


def _decimal(stored: Stored) -> Decimal:
    return Decimal(repr(stored) if isinstance(stored, float) else str(stored))


def _moment(stored: str) -> datetime:
    """Read what a person would; a fraction of more than six digits only if nothing but zeros follows."""
    short = re.sub(r"(\.\d{6})0+", r"\1", stored)
    assert not re.search(r"\.\d{7}", short), f"{stored!r} has more than microseconds"
    moment = datetime.fromisoformat(short)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _tagged(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return JSON so that it compares as jsonb does: true is no 1, and the last of twins holds."""
    if isinstance(value, dict):
        return {key: _tagged(member) for key, member in value.items()}
    return [_tagged(member) for member in value] if isinstance(value, list) else (type(value).__name__, value)


def _json(document: str) -> Any:  # noqa: ANN401 - any JSON
    return _tagged(json.loads(document, parse_float=Decimal, parse_int=Decimal))


def _spelled(stored: Stored) -> str:
    return repr(stored) if isinstance(stored, float) else str(stored)


def _address(stored: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    """Read an address, also a network of which the zeros at the end are left out: PostgreSQL takes 10/8."""
    address, slash, bits = stored.partition("/")
    missing = 3 - address.count(".") if slash and ":" not in address else 0
    return ipaddress.ip_interface(address + ".0" * missing + slash + bits)


MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - naive, as SQLite has them
ZONES = st.sampled_from(["Z", "+00:00", "+02:00", "-0530", "+14"])
FORMATS = st.sampled_from(
    ["%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"]
)
WORDS = st.sampled_from([
    *("", " ", "now", "today", "infinity", "-infinity", "epoch", "NaN", "nan", "inf", "true", "t", "yes", "null"),
    *("24:00:00", "23:59:60", "0000-00-00", "2024-02-30", "2024-02-29 24:00:00", "10000-01-01"),
    *("2024-02-29 12:30:15.1234567", "1e5", "0x10", "1_000", "\uff11\uff12"),
    *("12.", ".5", "+7", "1,5", "{1,2}", "[1,2)", "\\N", "\\", "a\tb\nc", "a\0b", "\0"),
    *("{", '{"a":1,"a":2}', '"\\u0000"', '"\\ud800"', "[1e400]", "-0", "01", "1e2", "é", "e\u0301", "\ufeff", "😀" * 9),
])  # fmt: skip
ANYTHING = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.binary(max_size=18)
    | WORDS
    | st.sampled_from([0, 1, -1, 2, 0.0, -0.0, 0.1, 1e20, float("inf"), b"", b"\x00", b"\xff", 1_700_000_000_000])
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
UUIDS = st.uuids()

TYPES: dict[str, Type] = {
    "boolean": Type(
        st.sampled_from([0, 1]), st.sampled_from([2, -1, 1.0, "1", "t"]), lambda s, t: s in {0, 1} and s == t
    ),
    "smallint": _integer(16),
    "integer": _integer(32),
    "bigint": _integer(64),
    "real": Type(
        st.floats(width=32, allow_nan=False),
        st.floats(allow_nan=False) | st.integers(),
        lambda s, t: float(s) == t == s,
    ),
    "double precision": Type(
        st.floats(allow_nan=False) | st.integers(-(2**53), 2**53),
        st.integers(-(2**63), 2**63 - 1),
        lambda s, t: struct.pack("d", float(s)) == struct.pack("d", t) and s == t,
    ),
    "numeric(12,3)": Type(
        st.decimals(-999_999_999, 999_999_999, places=3).map(str) | st.integers(-999_999_999, 999_999_999),
        st.floats(allow_nan=False) | st.decimals(allow_nan=False, allow_infinity=False).map(str),
        lambda s, t: _decimal(s) == t,
    ),
    "numeric": Type(
        st.decimals(-(10**30), 10**30, places=20).map(str) | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e15, 1e15),
        WORDS | st.floats(),
        lambda s, t: _decimal(s) == t or (_decimal(s).is_nan() and t.is_nan()),
    ),
    "text": Type(TEXTS | st.integers(-(2**63), 2**63 - 1), WORDS, lambda s, t: _spelled(s) == t),
    "varchar(8)": Type(TEXTS.filter(lambda s: len(s) <= 8), TEXTS, lambda s, t: _spelled(s) == t),
    "char(8)": Type(
        TEXTS.filter(lambda s: len(s) <= 8),
        TEXTS,
        lambda s, t: _spelled(s).rstrip(" ") == t.rstrip(" ") and len(t) == 8,
    ),
    "bytea": Type(st.binary(max_size=30) | TEXTS, WORDS, lambda s, t: (s.encode() if isinstance(s, str) else s) == t),
    "date": Type(MOMENTS.map(lambda m: m.date().isoformat()), WORDS, lambda s, t: date.fromisoformat(s) == t),
    "time": Type(MOMENTS.map(lambda m: m.time().isoformat()), WORDS, lambda s, t: time.fromisoformat(s) == t),
    "timestamp": Type(
        st.builds(datetime.strftime, st.datetimes(datetime(1000, 1, 1)), FORMATS),  # noqa: DTZ001 - as above
        WORDS | st.builds("{}{}".format, MOMENTS, ZONES),
        lambda s, t: datetime.fromisoformat(s).tzinfo is None and _moment(s) == t.replace(tzinfo=UTC),
    ),
    "timestamptz": Type(
        st.builds("{}{}".format, MOMENTS, ZONES) | MOMENTS.map(str),
        WORDS | st.builds(datetime.strftime, MOMENTS, FORMATS),
        lambda s, t: _moment(s) == t,
    ),
    "json": Type(DOCUMENTS.map(json.dumps), WORDS, lambda s, t: _spelled(s) == t),
    "jsonb": Type(DOCUMENTS.map(json.dumps), WORDS, lambda s, t: _json(_spelled(s)) == _json(t)),
    "uuid": Type(
        UUIDS.map(str) | UUIDS.map(lambda u: u.hex.upper()) | UUIDS.map(lambda u: u.bytes),
        UUIDS.map(lambda u: f"{{{u}}}") | UUIDS.map(lambda u: str(u)[:-1]),
        lambda s, t: (UUID(bytes=s) if isinstance(s, bytes) else UUID(s)) == t,
    ),
    "mood": Type(st.sampled_from(["glad", "so-so"]), st.sampled_from(["Glad", "glad ", ""]), lambda s, t: s == t),
    "int[]": Type(
        st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3).map(lambda n: "{" + ",".join(map(str, n)) + "}"),
        st.sampled_from(["{1, 2}", "{NULL}", " {7 } ", "{", "1", "{1.5}", "{2147483648}"]),
        lambda s, t: (
            [None if n.strip() == "NULL" else int(n) for n in s.strip().strip("{} ").split(",") if n.strip()] == t
        ),
    ),
    "inet": Type(
        st.ip_addresses().map(str),
        st.sampled_from(["::1/64", "10.0.0.1/8", "10/8", "1.2/31", "10.0.0.0/33", "10.1", "ten"]),
        lambda s, t: _address(s) == ipaddress.ip_interface(t),
    ),
}
NAMES = ("v", "select", "Ä ö", 'q"uote', "a:b", "%s", "x'y", "é\u0301", "$1", "UPPER", "{0}", "a\\b")
AFFINITIES = ("", "TEXT", "INTEGER", "REAL", "NUMERIC", "BLOB")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a random table."""

    name: str
    declared: str
    affinity: str
    values: tuple[Stored, ...]
    plain: tuple[bool, ...]
    """Of each value, whether it is one that the type must take."""


@st.composite
def columns(draw: st.DrawFn, place: int) -> Column:
    """Draw a column: a name, a type, an affinity and a value for every row."""
    declared = draw(st.sampled_from(list(TYPES)))
    chosen = TYPES[declared]
    likely = st.tuples(chosen.plain, st.just(value=True))
    tagged: st.SearchStrategy[tuple[Any, bool]] = likely | st.tuples(chosen.near | ANYTHING, st.just(value=False))
    values = draw(st.lists(tagged, min_size=ROWS, max_size=ROWS))
    return Column(
        f"{draw(st.sampled_from(NAMES))}{place}",
        declared,
        draw(st.sampled_from(AFFINITIES)),
        tuple(value if not isinstance(value, int) or -(2**63) <= value < 2**63 else str(value) for value, _ in values),
        tuple(plain for _, plain in values),
    )


TABLE = st.integers(1, COLUMNS).flatmap(lambda n: st.tuples(*(columns(place) for place in range(n))))


@pytest.mark.one_server
@settings(
    max_examples=BATCHES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a failure names its value; making it smaller takes minutes
    suppress_health_check=list(HealthCheck),
)
@given(tables=st.lists(TABLE, min_size=TABLES, max_size=TABLES))
def test_every_value_is_refused_by_name_or_arrives(
    database: Database, tmp_path: Path, tables: list[tuple[Column, ...]]
) -> None:
    """There is no third outcome, and a value that a type plainly takes is not refused."""
    path = tmp_path / "random.db"
    path.unlink(missing_ok=True)
    fill(path, tables)
    with capture_logs():  # thousands of refusals
        asyncio.run(move_and_judge(path, database, tables))


async def move_and_judge(path: Path, database: Database, tables: list[tuple[Column, ...]]) -> None:
    """Take out what ``check`` refuses, run the job, and compare the rest value by value."""
    await database.execute("DROP SCHEMA IF EXISTS migrator CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await database.execute("CREATE TYPE mood AS ENUM ('glad', 'so-so')")
    for number, table in enumerate(tables):
        listed = ", ".join(f"{quoted(column.name)} {column.declared}" for column in table)
        await database.execute(f"CREATE TABLE t{number} (id int PRIMARY KEY, {listed})")
    moving = settings_of(path, database, examples=1000)
    found = await check.check(moving, Tracker())
    refused = {
        (int(finding.table[1:]), finding.column, int(example.key.removeprefix("id = ")))
        for finding in found.findings
        if finding.refuses
        for example in finding.examples
    }
    refused |= set(repeated(path, tables, refused))
    for number, column, row in plainly_fine(tables):
        assert (number, column.name, row) not in refused, (column.declared, column.affinity, column.values[row])
    with closing(sqlite3.connect(path)) as connection:
        for number, name, row in refused:
            connection.execute(f"UPDATE t{number} SET {quoted(name)} = NULL WHERE id = ?", (row,))
        connection.commit()
    await run.run(moving, Tracker())
    judged = 0
    for number, table in enumerate(tables):
        judged += await judge(path, database, number, table)
    event(f"about {round(judged, -2)} values arrived, {round(len(refused), -2)} were refused")


def repeated(
    path: Path, tables: list[tuple[Column, ...]], refused: set[tuple[int, str, int]]
) -> Iterator[tuple[int, str, int]]:
    """Yield the rows of an enum's column that hold what is refused: of each wrong label only the first is named."""
    enums = {
        (number, column.name) for number, table in enumerate(tables) for column in table if column.declared == "mood"
    }
    with closing(sqlite3.connect(path)) as connection:
        for number, name, row in refused:
            if (number, name) in enums:
                refused_one = f"SELECT {quoted(name)} FROM t{number} WHERE id = ?"
                same = connection.execute(f"SELECT id FROM t{number} WHERE {quoted(name)} IS ({refused_one})", (row,))
                yield from ((number, name, other) for (other,) in same)


def plainly_fine(tables: list[tuple[Column, ...]]) -> Iterator[tuple[int, Column, int]]:
    """Yield the values that must not be refused: affinity has not made something else of them."""
    for number, table in enumerate(tables):
        for column in table:
            if column.affinity in {"", "BLOB"}:
                yield from ((number, column, row) for row, plain in enumerate(column.plain) if plain)


async def judge(path: Path, database: Database, number: int, table: tuple[Column, ...]) -> int:
    """Compare one table's rows as Python sees them on either side; return how many values that were."""
    names = ", ".join(["id", *(quoted(column.name) for column in table)])
    with closing(sqlite3.connect(path)) as connection:
        stored = {row[0]: row[1:] for row in connection.execute(f"SELECT {names} FROM t{number}")}
    arrived = {row[0]: tuple(row)[1:] for row in await database.fetch(f"SELECT {names} FROM t{number}")}
    assert stored.keys() == arrived.keys()
    for row, values in stored.items():
        for column, ours, theirs in zip(table, values, arrived[row], strict=True):
            same = theirs is None if ours is None else theirs is not None and TYPES[column.declared].same(ours, theirs)
            assert same, f"{column.declared} from {column.affinity or 'no affinity'}: {ours!r} became {theirs!r}"
    return len(stored) * len(table)


def fill(path: Path, tables: list[tuple[Column, ...]]) -> None:
    """Make the SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        for number, table in enumerate(tables):
            listed = ", ".join(f"{quoted(column.name)} {column.affinity}" for column in table)
            connection.execute(f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY, {listed})")
            rows = zip(range(ROWS), *(column.values for column in table), strict=True)
            connection.executemany(f"INSERT INTO t{number} VALUES (?{', ?' * len(table)})", rows)
        connection.commit()


def quoted(name: str) -> str:
    """Return an identifier as both databases write it."""
    return '"' + name.replace('"', '""') + '"'
