"""What breaks verification, and other tools do not find; docs/explanation/failure-modes.md lists the numbers."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import MakeMove, Move

from migrator.errors import Mismatch
from migrator.job import verify
from migrator.monitoring.tracker import Tracker

pytestmark = pytest.mark.one_server

Told = Callable[[], Awaitable[list[dict[str, Any]]]]
TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)"


@pytest.fixture
def verified(move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path) -> Callable[..., Any]:
    """Give a function that moves a table, and returns the Move and a function that verifies and returns differences."""
    file = tmp_path / "differences.ndjson"

    async def run(source: str, target: str, rows: Sequence[Sequence[object]]) -> tuple[Move, Told]:
        make_sqlite(source, {"t": rows})
        await database.execute(target)
        moving = move(differences=file)
        await moving.run()

        async def told() -> list[dict[str, Any]]:
            with pytest.raises(Mismatch):
                await verify.verify(moving.settings, Tracker())
            return [json.loads(line) for line in (await asyncio.to_thread(file.read_text)).splitlines()]

        return moving, told

    return run


# Neighbours that a careless comparison takes for equal: upper case, blanks, NULL for '', letters in two forms, columns
# joined without a mark between them.
NEIGHBOURS = {
    1: (("a", "b"), ("A", "b")),
    2: (("a", "b"), ("a ", "b")),
    3: (("a", "b"), (" a", "b")),
    4: (("", "b"), (None, "b")),
    5: ((None, "b"), ("", "b")),
    6: (("ab", "c"), ("a", "bc")),
    7: (("\u00e9", "b"), ("e\u0301", "b")),
    8: (("1", "b"), ("01", "b")),
    9: (("a", None), (None, "a")),
}


async def test_e01_e03_e04_neighbours_are_not_equal(verified: Callable[..., Any], database: Database) -> None:
    """Verification names each value that became its neighbour, by key and column, although the counts agree."""
    _, told = await verified(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w TEXT)",
        "CREATE TABLE t (id int PRIMARY KEY, v text, w text)",
        [(key, *before) for key, (before, _) in NEIGHBOURS.items()],
    )
    for key, (_, after) in NEIGHBOURS.items():
        v, w = ("NULL" if value is None else f"'{value}'" for value in after)
        await database.execute(f"UPDATE t SET v = {v}, w = {w} WHERE id = {key}")
    named = {(int(line["key"]["id"]), line["column"]) for line in await told()}
    expected = {
        (key, column)
        for key, (before, after) in NEIGHBOURS.items()
        for column, old, new in zip("vw", before, after, strict=True)
        if old != new
    }
    assert named == expected


async def test_e02_what_happens_after_the_copy(verified: Callable[..., Any], database: Database) -> None:
    """The next verification finds rows that a trigger or a clean-up has changed later."""
    _, told = await verified(TABLE, "CREATE TABLE t (id int PRIMARY KEY, v text)", [(1, "a"), (2, "b")])
    await database.execute("DELETE FROM t WHERE id = 1; UPDATE t SET v = upper(v)")
    assert {(line["kind"], line["key"]["id"]) for line in await told()} == {
        ("missing in target", "1"),
        ("different", "2"),
    }


async def test_e05_tables_without_a_key(verified: Callable[..., Any], database: Database) -> None:
    """Verification compares them as multisets: a missing duplicate is a difference, and is counted."""
    _, told = await verified("CREATE TABLE t (v TEXT)", "CREATE TABLE t (v text)", [("a",), ("a",), ("a",), ("b",)])
    await database.execute("DELETE FROM t WHERE ctid IN (SELECT ctid FROM t WHERE v = 'a' LIMIT 2)")
    [line] = await told()
    assert (line["kind"], line["key"], line["times"]) == ("missing in target", {"v": "a"}, 2)


async def test_e06_keys_that_collations_order_differently(verified: Callable[..., Any]) -> None:
    """Verification doesn't compare by order, so the order of either side doesn't matter."""
    keys = ["a", "B", "_", "ä", "Z", "z", "-a", "a-", "\u00df", "ss", "\U0001f332", "1", "10", "9"]
    moving, _ = await verified(
        "CREATE TABLE t (v TEXT PRIMARY KEY)", "CREATE TABLE t (v text PRIMARY KEY)", [(key,) for key in keys]
    )
    await verify.verify(moving.settings, Tracker())


async def test_e07_no_number_of_differences_ends_the_search(verified: Callable[..., Any], database: Database) -> None:
    """Verification goes on after any number of differences: all of them are in the file."""
    _, told = await verified(TABLE, "CREATE TABLE t (id int PRIMARY KEY, v text)", [(i, str(i)) for i in range(12_000)])
    await database.execute("UPDATE t SET v = v || ' '")
    assert len(await told()) == 12_000


async def test_e10_a_seeded_row_does_not_hide_a_lost_one(verified: Callable[..., Any], database: Database) -> None:
    """Verification names the lost row and the new one, although the counts are equal."""
    _, told = await verified(TABLE, "CREATE TABLE t (id int PRIMARY KEY, v text)", [(1, "a"), (2, "b")])
    await database.execute("UPDATE t SET id = 3 WHERE id = 2")
    assert {(line["kind"], line["key"]["id"]) for line in await told()} == {
        ("missing in target", "2"),
        ("extra in target", "3"),
    }


STRAYS: dict[str, tuple[object, list[object]]] = {
    "int": (1, ["x", 1.5, b"\xff", ""]),
    "boolean": (1, ["t", 2, b""]),
    "double precision": (1.5, ["x", "", b"\x00\xff"]),
    "real": (1.5, ["1,5"]),
    "numeric(6,2)": (1.5, ["x", b"\xff"]),
    "text": ("a", [b"\xff", 2.5]),
    "date": ("2024-02-29", ["x", 5, b"\xff"]),
    "timestamptz": ("2024-02-29 12:00:00", [1709210096, b"\xff"]),
    "uuid": ("97033619637148748591279e78663470", [12, "x", b"\xff"]),
    "jsonb": ("{}", ["x", b"\xff"]),
    "json": ("{}", [b"\xff"]),
    "inet": ("::1", ["x", b"\xff", 5]),
}


async def test_e08_values_put_into_the_source_afterwards(
    verified: Callable[..., Any], database: Database, make_sqlite: MakeSqlite
) -> None:
    """Each value, of any storage class, is a difference with key and column; none ends the comparison."""
    del make_sqlite, database
    columns = {f"c{place}": declared for place, declared in enumerate(STRAYS)}
    moving, told = await verified(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(columns)})",
        f"CREATE TABLE t (id int PRIMARY KEY, {', '.join(f'{name} {kind}' for name, kind in columns.items())})",
        [(key, *(good for good, _ in STRAYS.values())) for key in range(60)],
    )
    changes = [(name, stray) for name, kind in columns.items() for stray in STRAYS[kind][1]]
    with closing(sqlite3.connect(moving.source)) as connection:
        for key, (name, stray) in enumerate(changes):
            connection.execute(f"UPDATE t SET {name} = ? WHERE id = ?", (stray, key))
        connection.commit()
    found = {(int(line["key"]["id"]), line["column"]) for line in await told()}
    assert found == {(key, name) for key, (name, _) in enumerate(changes)}
