"""
The verifier doesn't err where the copier does: every bug here is put into the copier's conversion, and found out.

A bug has to be found on every way: in a table that comes through preflight's quick pass, whose digest is made there
and in quick forms; in one with an unusual value, read in the ordinary ways; and in one that is sent as COPY text.
"""

import asyncio
import json
import sqlite3
import struct
import unicodedata
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from fix_job import settings_of
from fix_postgres import Database

from migrator.config.settings import Settings
from migrator.errors import Mismatch
from migrator.job import run, verify
from migrator.monitoring.tracker import Tracker
from migrator.planning.plan import ColumnPlan

ROWS = 60


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake in the conversion of a column: its type, what is stored in row ``i``, and what becomes of it."""

    declared: str
    stored: Callable[[int], object]
    wrong: Callable[[Any], Any]


def _moment(i: int) -> str:
    return f"2024-0{i % 9 + 1}-15 12:30:15.{i * 7919 % 1_000_000:06}"


def _without(document: str, key: str) -> str:
    return json.dumps({name: value for name, value in json.loads(document).items() if name != key})


def _in_berlin(moment: datetime) -> datetime:
    return moment - (moment.astimezone(ZoneInfo("Europe/Berlin")).utcoffset() or timedelta())


def _le(key: bytes | str) -> bytes | str:
    """In binary COPY a uuid is its bytes, in COPY text its digits."""
    return UUID(key).bytes_le.hex() if isinstance(key, str) else UUID(bytes=key).bytes_le


def _as_real(double: float) -> float:
    [narrow] = struct.unpack("f", struct.pack("f", double))
    return float(narrow)


def _document(i: int) -> str:
    return json.dumps({"a": i, "b": None, "c": [1.5, {"d": "x"}]})


def _bytewise(wrong: Callable[[bytes], bytes | None]) -> Callable[[bytes | str], bytes | str | None]:
    """In COPY text, bytes are digits behind a mark."""

    def apply(value: bytes | str) -> bytes | str | None:
        if isinstance(value, bytes):
            return wrong(value)
        made = wrong(bytes.fromhex(value.removeprefix("\\x")))
        return None if made is None else f"\\x{made.hex()}"

    return apply


MICROSECOND, HOUR = timedelta(microseconds=1), timedelta(hours=1)
BUGS = {
    "microsecond rounded up": Bug("timestamp", _moment, lambda m: m + MICROSECOND * (m.microsecond % 2)),
    "microsecond lost": Bug("timestamptz", _moment, lambda m: m - MICROSECOND * (m.microsecond % 10 == 9)),
    "milliseconds alone": Bug("timestamp", _moment, lambda m: m.replace(microsecond=m.microsecond // 1000 * 1000)),
    "hour late": Bug("timestamp(3)", lambda i: f"2024-02-29 12:30:15.{i:03}", lambda m: m + HOUR),
    "offset ignored": Bug("timestamptz", lambda i: _moment(i) + "+02:00", lambda m: m + 2 * HOUR),
    "offset with the wrong sign": Bug("timestamptz", lambda i: _moment(i) + "-05:30", lambda m: m - 11 * HOUR),
    "clocks of Berlin": Bug("timestamptz", _moment, _in_berlin),
    "summer time alone": Bug("timestamptz", _moment, lambda m: m - HOUR * (4 <= m.month <= 9)),
    "day early": Bug("date", lambda i: f"2024-03-{i % 28 + 1:02}", lambda d: d - timedelta(days=1)),
    "seconds lost": Bug("time", lambda i: f"12:30:{i % 60:02}", lambda t: t.replace(second=0)),
    "scale too large": Bug("numeric(12,2)", lambda i: i / 4, lambda n: n * 10),
    "scale too small": Bug("numeric(12,2)", lambda i: i * 10, lambda n: n / 10),
    "cent lost": Bug("numeric(12,2)", lambda i: i / 4, lambda n: n.quantize(Decimal("0.1"), ROUND_HALF_EVEN)),
    "shifted by one row": Bug("numeric(12,2)", lambda i: i / 4, lambda n: (n + Decimal("0.25")) % (ROWS // 4)),
    "sign lost": Bug("numeric(30,4)", lambda i: f"-{i}.0625", abs),
    "wide decimal as a double": Bug("numeric(30,10)", lambda i: f"{2**53 + i}.0625", lambda n: Decimal(float(n))),
    "bare decimal as a double": Bug("numeric", lambda i: f"{i}.12345678901234567890", lambda n: repr(float(n))),
    "double in four bytes": Bug("double precision", lambda i: i / 7, _as_real),
    "double of fifteen digits": Bug("double precision", lambda i: i / 7, lambda f: float(f"{f:.15g}")),
    "minus zero": Bug("double precision", lambda i: -0.0 if i % 2 else 0.0, lambda f: f + 0.0),
    "real rounded": Bug("real", lambda i: i / 8, lambda f: float(round(f))),
    "blank trimmed": Bug("text", lambda i: f"word {i}" + " " * (i % 2), lambda t: t.rstrip(" ")),
    "blank of varchar trimmed": Bug("varchar(9)", lambda i: f" {i} ", lambda t: t.rstrip(" ")),
    "empty as NULL": Bug("text", lambda i: "x" * (i % 2), lambda t: t or None),
    "NULL as empty": Bug("text", lambda i: "x" if i % 2 else None, lambda t: t or ""),
    "another case": Bug("text", lambda i: f"Ä{i}", str.lower),
    "another normal form": Bug("text", lambda i: f"e\u0301{i}", lambda t: unicodedata.normalize("NFC", t)),
    "another encoding": Bug("text", lambda i: f"é{i}", lambda t: t.encode().decode("latin-1")),
    "varchar cut": Bug("varchar(20)", lambda i: f"{i:020}", lambda t: t[:19]),
    "char at the right": Bug("char(9)", lambda i: f"c{i}", lambda t: t.rjust(9)),
    "boolean inverted": Bug("boolean", lambda i: i % 2, lambda b: not b),
    "NULL as false": Bug("boolean", lambda i: 1 if i % 2 else None, bool),
    "bytes in another order": Bug("uuid", lambda i: str(UUID(int=i * 2**100 + i)), _le),
    "key dropped": Bug("jsonb", _document, lambda d: _without(d, "a")),
    "null dropped": Bug("jsonb", _document, lambda d: _without(d, "b")),
    "member of a list": Bug("jsonb", _document, lambda d: d.replace("1.5", "1.50000001")),
    "flat key dropped": Bug("jsonb", lambda i: json.dumps({"a": i, "b": "x"}), lambda d: _without(d, "b")),
    "number as a string": Bug("jsonb", lambda i: f'{{"a": {i}}}', lambda d: d.replace(": ", ': "').replace("}", '"}')),
    "large number as a double": Bug(
        "jsonb", lambda i: f'{{"a": 12345678901234567{i}}}', lambda d: json.dumps({"a": float(json.loads(d)["a"])})
    ),
    "json without blanks": Bug("json", _document, lambda d: d.replace(": ", ":")),
    "bytes cut": Bug("bytea", lambda i: bytes([i, i, 255]), _bytewise(lambda b: b[:-1])),
    "bytes up to NUL": Bug("bytea", lambda i: bytes([i, 0, 1]), _bytewise(lambda b: b.partition(b"\0")[0])),
    "empty bytes as NULL": Bug("bytea", lambda i: b"x" * (i % 2), _bytewise(lambda b: b or None)),
    "wrapped at 32 bits": Bug(
        "bigint", lambda i: i * 2**28, lambda n: struct.unpack("i", struct.pack("I", n % 2**32))[0]
    ),
    "wrapped at 16 bits": Bug(
        "integer", lambda i: i * 4096, lambda n: struct.unpack("h", struct.pack("H", n % 2**16))[0]
    ),
    "integer through a double": Bug("bigint", lambda i: 2**53 + i, lambda n: int(float(n))),
    "off by one": Bug("smallint", lambda i: i, lambda n: n + (n == 7)),
    "another label": Bug("mood", lambda i: ("glad", "so-so")[i % 2], lambda _: "glad"),
}  # fmt: skip
FULL: dict[str, list[object]] = {
    "uuid": [str(UUID(int=7))] * (ROWS - 1) + [UUID(int=7).bytes],
    "inet": ["::1"] * ROWS,
}
"""Types of a column beside the wrong ones, with values for which quick forms won't do; with ``inet`` COPY is text."""

Changed = dict[str, set[int]]


@pytest.fixture
def erring(monkeypatch: pytest.MonkeyPatch) -> Changed:
    """Make the copier err in every column that is named for a bug; give the rows that it has changed."""
    changed: Changed = {name: set() for name in BUGS}
    right = ColumnPlan.convert

    def convert(self: ColumnPlan, arrays: list[pa.Array]) -> pa.Array:
        converted = right(self, arrays)
        if self.target.name not in BUGS:
            return converted
        before = converted.to_pylist()
        after = [put_wrong(self.target.name, value) for value in before]
        changed[self.target.name] |= {
            row for row, both in enumerate(zip(before, after, strict=True)) if is_another(*both)
        }
        return pa.array(after, converted.type)

    monkeypatch.setattr(ColumnPlan, "convert", convert)
    # A bug is put into the column of its name, so that columns of one type aren't converted as one.
    monkeypatch.setattr(ColumnPlan, "conversion_key", property(lambda self: self.target.name))
    return changed


@pytest.mark.one_server
async def test_in_quick_forms(database: Database, tmp_path: Path, erring: Changed) -> None:
    """Each bug in a table of its own, so that it is found by itself; a later verification finds the same."""
    settings, file = await ends(database, tmp_path, {name: [name] for name in BUGS})
    found = await told(settings, file, run.run)
    assert [name for name, rows in erring.items() if not rows] == []
    assert found == {(f"public.{name}", row, name) for name, rows in erring.items() for row in rows}
    assert await told(settings, file, verify.verify) == found


@pytest.mark.one_server
@pytest.mark.parametrize("beside", FULL)
async def test_in_full_forms(database: Database, tmp_path: Path, erring: Changed, beside: str) -> None:
    """All bugs side by side: the full forms are compared column by column, and name each."""
    settings, file = await ends(database, tmp_path, {"t": list(BUGS)}, beside)
    found = await told(settings, file, run.run)
    assert [name for name, rows in erring.items() if not rows] == []
    assert found == {("public.t", row, name) for name, rows in erring.items() for row in rows}


def put_wrong(name: str, value: Any) -> Any:  # noqa: ANN401 - any value
    """Return what the bug makes of a value; of NULL only where it is about that."""
    return BUGS[name].wrong(value) if value is not None or name.startswith("NULL as") else None


def is_another(one: object, other: object) -> bool:
    """Return whether two values differ: 1.50 and 1.5 don't, 0.0 and -0.0 do."""
    return one != other or (isinstance(one, float) and repr(one) != repr(other))


async def ends(
    database: Database, folder: Path, tables: dict[str, list[str]], beside: str = "text"
) -> tuple[Settings, Path]:
    """Make both ends with these tables of columns named for bugs; return settings, and where differences go."""
    others = FULL.get(beside, ["usual"] * ROWS)
    await database.execute("CREATE TYPE mood AS ENUM ('glad', 'so-so')")
    path, file = folder / "s.db", folder / "differences.ndjson"
    with closing(sqlite3.connect(path)) as connection:
        for table, bugs in tables.items():
            listed = ", ".join(f'"{name}"' for name in bugs)
            declared = ", ".join(f'"{name}" {BUGS[name].declared}' for name in bugs)
            await database.execute(f'CREATE TABLE "{table}" (id int PRIMARY KEY, {declared}, beside {beside})')
            connection.execute(f'CREATE TABLE "{table}" (id INTEGER PRIMARY KEY, {listed}, beside)')
            marks = ", ".join("?" * (len(bugs) + 2))
            rows = ((row, *(BUGS[name].stored(row) for name in bugs), others[row]) for row in range(ROWS))
            connection.executemany(f'INSERT INTO "{table}" VALUES ({marks})', rows)
        connection.commit()
    return settings_of(path, database, differences=file), file


async def told(settings: Settings, file: Path, command: Callable[..., Any]) -> set[tuple[str, int, str]]:
    """Run a command that must end in exit code 1; return table, key and column of each difference in the file."""
    with pytest.raises(Mismatch) as caught:
        await command(settings, Tracker())
    assert caught.value.exit_code == 1
    written = await asyncio.to_thread(file.read_text, encoding="utf-8")
    lines = [json.loads(line) for line in written.split("\n") if line]
    assert all(line["kind"] == "different" for line in lines)
    return {(line["table"], int(line["key"]["id"]), line["column"]) for line in lines}
