"""
Random texts for types that only the server can read: what arrives is what the text was made from, or it is refused.

A text is written from a value, in a spelling picked at random; some spellings mean something else to PostgreSQL, some
lose a part of the value. Python's own types hold what arrives to the value. ``MIGRATOR_TEST_BATCHES`` makes it longer.
"""

import ipaddress
import json
import os
import random
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fix_job import settings_of
from fix_postgres import Database
from structlog.testing import capture_logs

from migrator.job import check, run
from migrator.monitoring.tracker import Tracker

ROWS = 60 * int(os.environ.get("MIGRATOR_TEST_BATCHES", "2"))
Made = tuple[str, object]
"""A text, and the value that it was written from."""


@dataclass(frozen=True, slots=True)
class Type:
    """A type, what makes texts for it, and how the value is read back."""

    declared: str
    make: Callable[[random.Random], Made]
    shown: str = "{}"
    read: Callable[[object], object] = lambda value: value


def an_interval(some: random.Random) -> Made:
    """Write a time span as Python, .NET, ISO 8601 or PostgreSQL does."""
    span = timedelta(days=some.choice([0, 0, 1, 40]), seconds=some.randrange(86_400))
    span += timedelta(microseconds=some.choice([0, 500_000, 123_456]))
    clock = str(timedelta(seconds=span.seconds, microseconds=span.microseconds)).zfill(8)
    hours = f"{span.days * 24 + span.seconds // 3600:02}:{span.seconds // 60 % 60:02}:{span.seconds % 60:02}"
    text = some.choice(
        [
            str(span),
            f"{span.days}.{clock}",
            f"{span.days} days {clock}",
            f"P{span.days}DT{span.seconds // 60}M{span.seconds % 60}.{span.microseconds:06}S",
            f"{hours}.{span.microseconds:06}",
            f"{span.total_seconds()} seconds",
            f"{span.total_seconds() / 86_400} days",
            f"{span.days} {clock}",
            str(span.total_seconds()),
        ]
    )
    return text, span


def numbers(some: random.Random) -> Made:
    """Write decimals of some digits, often too many."""
    values = [Decimal(some.randrange(-(10**6), 10**6)).scaleb(-some.randrange(5)) for _ in range(some.randrange(4))]
    spelled = [some.choice([str(value), f"{value:e}", f"+{value}" if value >= 0 else str(value)]) for value in values]
    return "{" + ", ".join(spelled) + "}", values


def doubles(some: random.Random, form: str = "d") -> Made:
    """Write doubles in few or in many digits."""
    texts = [
        some.choice(
            [
                repr(some.uniform(-10, 10)),
                str(some.randrange(2**60)),
                f"{some.uniform(0, 1):.17g}",
                f"{some.random():.3f}",
                f"{some.randrange(64) / 64}",
                str(Decimal(some.random())),
                f"{some.random()!r}7",
                f"{some.random() * 1e-300!r}",
                repr(struct.unpack("f", struct.pack("f", some.random()))[0]),
            ]
        )
        for _ in range(some.randrange(3))
    ]
    return some.choice(["[{}]", "{{{}}}"]).format(", ".join(texts)), (form, texts)


def kept_doubles(value: object, made: Any) -> bool:  # noqa: ANN401 - what the maker of these values returns
    """Return whether each double that arrived is the one nearest to its text, and the text says no more than it."""
    form, texts = made
    return (
        isinstance(value, list) and len(value) == len(texts) and all(map(_spelled, texts, value, [form] * len(texts)))
    )


def _spelled(text: str, value: float, form: str) -> bool:
    nearest = float(text)
    if form == "f" and struct.unpack("f", struct.pack("f", nearest))[0] != nearest:
        return False
    digits = len(Decimal(text).normalize().as_tuple().digits)
    return value == nearest and (
        digits <= 15 or Decimal(text) in {Decimal(repr(value)), Decimal(value), Decimal(f"{value:.17g}")}
    )


def moments(some: random.Random) -> Made:
    """Write moments in ISO 8601, with things that a timestamp has no place for."""
    moment = datetime(2024, 2, 29) + timedelta(seconds=some.randrange(10**8), microseconds=some.choice([0, 123_456]))  # noqa: DTZ001
    text = some.choice(
        [
            moment.isoformat(" "),
            moment.isoformat(),
            moment.isoformat() + "+05:30",
            moment.isoformat() + "Z",
            moment.strftime("%Y-%m-%d 24:00:00"),
            moment.strftime("%Y-%m-%d %H:%M:60"),
            moment.strftime("%Y-%m-%d %I:%M:%S %p"),
            moment.strftime("%d.%m.%Y %H:%M:%S"),
            moment.strftime("%m/%d/%Y"),
            moment.isoformat() + "789",
        ]
    )
    shifted = moment.isoformat() in text or moment.isoformat(" ") in text
    exact = shifted and text.removeprefix(moment.isoformat()) in {"", text}
    return f'{{"{text}"}}', [moment] if exact else None


def a_range_of_instants(some: random.Random) -> Made:
    """Write two instants with offsets."""
    zone = timezone(timedelta(minutes=some.choice([0, 330, -60])))
    lower = datetime(2024, 1, 1, tzinfo=zone) + timedelta(seconds=some.randrange(10**6))
    upper = lower + timedelta(seconds=some.randrange(1, 10**6))
    opening, closing_one = some.choice("[("), some.choice("])")
    text = f"{opening}{lower.isoformat(some.choice(' T'))},{upper.isoformat(some.choice(' T'))}{closing_one}"
    return text, (lower.astimezone(UTC), upper.astimezone(UTC), opening == "[", closing_one == "]")


def a_range_of_days(some: random.Random) -> Made:
    """Write a range of days, some with a time of day."""
    lower = date(2024, 1, 1) + timedelta(days=some.randrange(1000))
    upper = lower + timedelta(days=some.randrange(2, 50))
    opening, closing_one = some.choice("[("), some.choice("])")
    late = some.choice(["", "", "", " 23:59:59"])
    days = (lower + timedelta(days=opening == "("), upper + timedelta(days=closing_one == "]"), True, False)
    return f"{opening}{lower}{late},{upper}{closing_one}", None if late else days


def address(some: random.Random) -> Made:
    """Write an address in full or short of a part."""
    number = some.choice([some.randrange(2**32), some.randrange(2**128), some.randrange(2**16)])
    found = ipaddress.ip_address(number)
    prefix = some.choice(["", f"/{some.randrange(found.max_prefixlen + 1)}"])
    short = str(found).rpartition(".")[0] or "10.1"
    text = some.choice([str(found), found.exploded, str(found).upper(), short])
    return text + prefix, str(ipaddress.ip_interface(f"{found}{prefix}")) if text != short else None


def words(some: random.Random) -> Made:
    """Write a list of words in JSON or as PostgreSQL does."""
    letters = ["a", "B", " ", '"', "\\", ",", "{", "}", "é", "\n", "\t", "NULL", "'", "𝄞", "1.50"]
    values = [
        some.choice([None, "".join(some.choices(letters, k=some.randrange(4)))]) for _ in range(some.randrange(4))
    ]
    quoted = ["NULL" if one is None else '"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"' for one in values]
    spelled = some.choice([json.dumps(values), json.dumps(values, ensure_ascii=False), "{" + ",".join(quoted) + "}"])
    return spelled, values


def documents(some: random.Random) -> Made:
    """Write an object, some with a key twice."""
    keys = some.choices("abc", k=some.randrange(3))
    members = [(key, some.choice([1, 1.5, "x", None, [1, {"b": True}]])) for key in keys]
    text = "{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in members) + "}"
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{"{inner}"}}', [dict(members)] if len(set(keys)) == len(keys) else None


def a_number_without_sign(some: random.Random) -> Made:
    """Write an object's number, some of them below 0."""
    number = some.choice([some.randrange(2**32), -some.randrange(1, 2**31), 2**32 + 1])
    return str(number), number


def part(some: random.Random) -> Made:
    """Write a composite with a number that may be too fine."""
    price = Decimal(some.randrange(10**5)).scaleb(-some.randrange(4))
    label = some.choice([None, "a b", 'say "x"', "", "(,)"])
    quoted = "" if label is None else '"' + label.replace('"', '""') + '"'
    return f"({quoted},{price})", (label, price)


def padded(some: random.Random) -> Made:
    """Write words for ``char(3)``."""
    values = ["".join(some.choices("ab ", k=some.randrange(5))) for _ in range(some.randrange(3))]
    return json.dumps(values), [value.rstrip(" ") for value in values]


TYPES = {
    "interval": Type(
        "interval", an_interval, "extract(epoch from {})", lambda seconds: timedelta(seconds=float(str(seconds)))
    ),
    "numbers": Type("numeric(8,3)[]", numbers),
    "doubles": Type("double precision[]", doubles),
    "reals": Type("real[]", lambda some: doubles(some, "f"), "{}::double precision[]"),
    "moments": Type("timestamp[]", moments),
    "instants": Type("tstzrange", a_range_of_instants, read=lambda r: (r.lower, r.upper, r.lower_inc, r.upper_inc)),  # type: ignore[attr-defined]
    "days": Type("daterange", a_range_of_days, read=lambda r: (r.lower, r.upper, r.lower_inc, r.upper_inc)),  # type: ignore[attr-defined]
    "address": Type("inet", address, read=lambda found: str(ipaddress.ip_interface(str(found)))),
    "words": Type("text[]", words),
    "documents": Type("jsonb[]", documents, read=lambda found: [json.loads(one) for one in found]),  # type: ignore[attr-defined]
    "oid": Type("oid", a_number_without_sign),
    "part": Type("part", part, read=tuple),  # type: ignore[arg-type]
    "padded": Type("char(3)[]", padded, read=lambda found: [one.rstrip(" ") for one in found]),  # type: ignore[attr-defined]
}
OFTEN_CARRIED = 0.05
"""Of the texts of each type, at least; a reader that takes nothing would pass otherwise."""


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_arrives_is_what_the_text_was_made_from(database: Database, tmp_path: Path, seed: int) -> None:
    """There is no third outcome beside that and a refusal by name."""
    some = random.Random(seed)  # noqa: S311 - for values, not for secrets
    made = {name: [one.make(some) for _ in range(ROWS)] for name, one in TYPES.items()}
    path = tmp_path / "random.db"
    with closing(sqlite3.connect(path)) as source:
        source.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(TYPES)})")
        texts = [[row, *(made[name][row][0] for name in TYPES)] for row in range(ROWS)]
        source.executemany(f"INSERT INTO t VALUES (?{', ?' * len(TYPES)})", texts)
        source.commit()
    columns = ", ".join(f"{name} {one.declared}" for name, one in TYPES.items())
    await database.execute(
        f"CREATE TYPE part AS (label text, price numeric(10,2)); CREATE TABLE t (id int PRIMARY KEY, {columns})"
    )
    moving = settings_of(path, database, examples=ROWS)
    with capture_logs():
        found = (await check.check(moving, Tracker())).findings
        refused = {(one.column, int(example.key.removeprefix("id = "))) for one in found for example in one.examples}
        with closing(sqlite3.connect(path)) as source:
            for name, row in refused:
                source.execute(f"UPDATE t SET {name} = NULL WHERE id = ?", (row,))
            source.commit()
        await run.run(moving, Tracker())
    for name, one in TYPES.items():
        rows = await database.fetch(f"SELECT id, {one.shown.format(name)} AS v FROM t WHERE {name}::text IS NOT NULL")
        gone = set(range(ROWS)) - {row["id"] for row in rows} - {row for column, row in refused if column == name}
        assert not gone, f"{name}: {[made[name][row] for row in gone]}"
        assert len(rows) > OFTEN_CARRIED * ROWS, f"{name}: hardly anything is carried"
        for row in rows:
            text, value = made[name][row["id"]]
            arrived = one.read(row["v"])
            same = kept_doubles(arrived, value) if name in {"doubles", "reals"} else arrived == value
            assert same, f"{name}: {text!r}, made from {value!r}, arrived as {arrived!r}"
