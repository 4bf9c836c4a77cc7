"""Random tables, changed at random: every row that differs is in the ranges that the pages' hashes put in doubt."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import cast

import duckdb
import pytest

from migrator.errors import SourceUnreadable
from migrator.names import TableName
from migrator.refresh.key_ranges import GREATEST_KEY, LEAST_KEY
from migrator.refresh.pages.leaf_pages import PageFile, leaf_pages, page_file
from migrator.refresh.pages.page_hashes import InDoubt, PageHashes
from migrator.source.database import Source
from migrator.source.schema import SourceTable

NAME = TableName("public", "t")

Rows = dict[int, tuple[object, ...]]

DEFINITIONS = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB)",
    "CREATE TABLE t (a TEXT, b BLOB)",
    "CREATE TABLE t (a TEXT PRIMARY KEY, b BLOB) WITHOUT ROWID",
)
"""The first two have rowids; of the last the pages only tell whether it is the same."""


def rows_of(path: Path, handle: str) -> Rows:
    """Return the rows of the table by the expression that tells them apart."""
    with closing(sqlite3.connect(path)) as connection:
        return {row[0]: row[1:] for row in connection.execute(f"SELECT {handle}, a, b FROM t")}


def fill(connection: sqlite3.Connection, random: Random, count: int) -> None:
    """Insert rows: keys with gaps, some negative, and now and then a value that needs overflow pages."""
    for _ in range(count):
        size = random.choice([0, 3, 30, 300, 300, 3_000, 20_000] if random.random() < 0.2 else [3, 30, 60])
        values = (f"{random.getrandbits(60)}" * random.choice([1, 1, 2]), random.randbytes(size))
        connection.execute("INSERT OR IGNORE INTO t (a, b) VALUES (?, ?)", values)


def give_keys(connection: sqlite3.Connection, random: Random) -> None:
    """Spread the rowids over all that there are."""
    spread = random.choice([1, 3, 1_000_000, 2**40])
    connection.execute("UPDATE t SET rowid = -rowid * ?", (spread,))
    if random.random() < 0.3:
        connection.execute("UPDATE t SET rowid = ? WHERE rowid = (SELECT min(rowid) FROM t)", (-(2**63),))
        connection.execute("UPDATE t SET rowid = ? WHERE rowid = (SELECT max(rowid) FROM t)", (2**63 - 1,))


CHANGES: tuple[Callable[[str], str], ...] = (
    lambda one: f"UPDATE t SET a = a || 'x' WHERE {one}",
    lambda one: f"UPDATE t SET b = CAST(substr(b, 1, length(b) - 1) || x'01' AS BLOB) WHERE {one}",
    lambda one: f"DELETE FROM t WHERE {one}",
    lambda one: f"UPDATE t SET b = randomblob(9000) WHERE {one}",
    lambda one: f"UPDATE t SET a = a || 'moved' WHERE {one}",
)


def change(connection: sqlite3.Connection, random: Random, keys: list[object], handle: str) -> None:
    """Change a few rows, or many, here and there or in one place."""
    for _ in range(random.choice([0, 1, 1, 2, 5, 40])):
        statement = random.choice(CHANGES)
        if random.random() < 0.2 and keys:
            first, last = sorted((random.choice(keys), random.choice(keys)), key=str)
            connection.execute(statement(f"{handle} BETWEEN ? AND ?"), (first, last))
        elif keys:
            connection.execute(statement(f"{handle} = ?"), (random.choice(keys),))
        if random.random() < 0.3:
            fill(connection, random, random.choice([1, 1, 50]))
    if random.random() < 0.1:
        connection.execute("CREATE TABLE other AS SELECT * FROM t")
        connection.execute("DROP TABLE other")


async def looked_at(path: Path, pages: PageHashes, when: str) -> tuple[InDoubt | None, bool]:
    """Keep the hashes of the table's pages as they are; return what is in doubt, and whether all are as they were."""
    source = Source(path)
    [table] = [one for one in (await source.describe()).tables if one.name == "t"]
    found = _look(source, table, pages, when)
    await source.close()
    return found


def _look(source: Source, table: SourceTable, pages: PageHashes, when: str) -> tuple[InDoubt | None, bool]:
    with source.session() as session:
        file = page_file(source, session)
        assert file is not None
        pages.begin(when, NAME)
        for entries in leaf_pages(session, file, table):
            pages.add(when, NAME, entries)
        if when == "then":
            return None, True
        return pages.in_doubt(NAME, file) if table.rowid else None, pages.are_same(NAME)


@pytest.mark.parametrize("seed", range(45))
def test_every_changed_row_is_in_doubt(seed: int, tmp_path: Path) -> None:
    """Rows that came, went or changed are within the ranges; without a range, the table holds what it held."""
    random = Random(seed)  # noqa: S311 - no secret
    path, definition = tmp_path / "app.db", DEFINITIONS[seed % 3]
    handle = "a" if "WITHOUT" in definition else "rowid"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {random.choice([512, 1024, 4096, 65536])}")
        connection.execute(f"PRAGMA auto_vacuum = {random.choice([0, 1, 2])}")
        connection.execute(definition)
        fill(connection, random, random.choice([0, 1, 50, 1500]))
        if handle == "rowid":
            give_keys(connection, random)
        connection.commit()
    pages = PageHashes(duckdb.connect())
    asyncio.run(looked_at(path, pages, "then"))
    before = rows_of(path, handle)
    with closing(sqlite3.connect(path)) as connection:
        change(connection, random, list(before), handle)
        connection.commit()
        if random.random() < 0.1:
            connection.execute("VACUUM")
    after = rows_of(path, handle)
    in_doubt, are_same = asyncio.run(looked_at(path, pages, "now"))
    different = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert not (are_same and different)
    if in_doubt is not None:
        outside = {key for key in different if not any(one.first <= key <= one.last for one in in_doubt.ranges)}
        assert not outside
        assert 0 <= in_doubt.share <= 1


def test_little_is_in_doubt_where_little_has_changed(tmp_path: Path) -> None:
    """One changed row of thousands puts the rows of its page in doubt, and no others."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(DEFINITIONS[0])
        connection.executemany("INSERT INTO t VALUES (?, ?, NULL)", [(n, f"{n:090}") for n in range(1, 20_001)])
        connection.commit()
        pages = PageHashes(duckdb.connect())
        asyncio.run(looked_at(path, pages, "then"))
        connection.execute("UPDATE t SET a = upper(a) || 'x' WHERE id = 7777")
        connection.commit()
    in_doubt, _ = asyncio.run(looked_at(path, pages, "now"))
    assert in_doubt is not None
    [one] = in_doubt.ranges
    assert one.first <= 7777 <= one.last < one.first + 100


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """A page that is no longer there is no page of zeros, and no crash."""
    path = tmp_path / "app.db"
    path.write_bytes(bytes(10_000))
    with path.open("rb") as file:
        pages = PageFile(path, file.fileno(), 4_096)
        assert pages.read(2) == bytes(4_096)
        for number in (3, 4):
            with pytest.raises(SourceUnreadable, match=f"it ends before page {number}"):
                pages.read(number)


def test_a_value_that_is_written_in_place_is_in_doubt(tmp_path: Path) -> None:
    """Only an overflow page is another: the leaf page that the value begins on has the bytes that it had."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(DEFINITIONS[0])
        connection.executemany("INSERT INTO t VALUES (?, '', ?)", [(n, bytes(30_000)) for n in range(1, 101)])
        connection.commit()
        pages = PageHashes(duckdb.connect())
        asyncio.run(looked_at(path, pages, "then"))
        with connection.blobopen("t", "b", 50) as blob:
            blob[29_999] = 1
        connection.commit()
    in_doubt, are_same = asyncio.run(looked_at(path, pages, "now"))
    assert not are_same
    assert in_doubt is not None
    [one] = in_doubt.ranges
    assert one.first <= 50 <= one.last < one.first + 10


@dataclass(frozen=True)
class Rowids:
    """Pages of ten rows each: the page of number 3 has the rowids from 30 to 39."""

    def first_and_last(self, number: int) -> tuple[int, int]:
        """Return the rowids at both ends of a page."""
        return number * 10, number * 10 + 9


@pytest.mark.parametrize(
    ("then", "now", "ranges"),
    [
        ([1, 2, 3], [1, 2, 3], []),
        ([1, 2, 3], [1, 3], [(20, 29)]),
        ([1, 3], [1, 2, 3], [(20, 29)]),
        ([1, 2, 3], [1, 2], [(30, GREATEST_KEY)]),
        ([1, 2], [2], [(LEAST_KEY, 19)]),
        ([1, 2, 5], [1, 2, 5, 7], [(60, GREATEST_KEY)]),
        ([1], [2], [(LEAST_KEY, GREATEST_KEY)]),
        ([1, 2], [2, 1], None),
    ],
)
def test_between_pages_that_were_no_neighbours_is_doubt(
    then: Sequence[int], now: Sequence[int], ranges: list[tuple[int, int]] | None
) -> None:
    """A page that is gone leaves doubt, also where its neighbours are as they were; a wrong order tells nothing."""
    pages = PageHashes(duckdb.connect())
    for when, numbers in (("then", then), ("now", now)):
        pages.begin(when, NAME)
        pages.add(when, NAME, b"".join(number.to_bytes(4, "big") + bytes(12) for number in numbers))
    in_doubt = pages.in_doubt(NAME, cast("PageFile", Rowids()))
    assert (in_doubt and [(one.first, one.last) for one in in_doubt.ranges]) == ranges
