"""
Finds, by the hashes of a table's leaf pages, the ranges of rowids in which its rows may have changed.

A leaf page that is as it was holds the rows that it held. Between two such pages that were neighbours, and are, there
is no other row, then or now. All other rows are in doubt. The pages of then come from the ledger, those of now from the
file; DuckDB holds both, in memory up to a limit and beyond it in temporary files.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import duckdb
import pyarrow as pa
from msgspec import Struct

from migrator.names import TableName, quote_sqlite
from migrator.refresh.key_ranges import GREATEST_KEY, LEAST_KEY, KeyRange
from migrator.refresh.pages.leaf_pages import ENTRY_BYTES, PageFile, number_of

MOST_RANGES = 10_000
"""So many ranges can be written into one statement. Where there are more, neighbours become one."""


class InDoubt(Struct, frozen=True):
    """The rows of a table that may have changed."""

    ranges: Sequence[KeyRange]
    """The ranges of rowids that hold them, in order; none if no row has changed."""
    share: float
    """The share of the table's leaf pages on which they are."""


class PageHashes:
    """The hashes of the pages of several tables, then and now. Threads may use it at once, each for other tables."""

    def __init__(self, duck: duckdb.DuckDBPyConnection) -> None:
        self._duck = duck

    def begin(self, when: str, table: TableName) -> None:
        """Make room for the entries of a table's pages; ``when`` is ``then`` or ``now``."""
        with self._duck.cursor() as cursor:
            cursor.execute(f"CREATE OR REPLACE TABLE {_kept(when, table)} (place BIGINT, entry BLOB)")

    def add(self, when: str, table: TableName, entries: bytes) -> None:
        """Keep further entries of a table's pages, in their order."""
        count, name = len(entries) // ENTRY_BYTES, _kept(when, table)
        with self._duck.cursor() as cursor:
            [(before,)] = cursor.execute(f"SELECT count(*) FROM {name}").fetchall()
            of_piece = pa.Array.from_buffers(pa.binary(ENTRY_BYTES), count, [None, pa.py_buffer(entries)])
            places = pa.array(range(before, before + count), pa.int64())
            cursor.register("piece", pa.table({"place": places, "entry": of_piece}))
            cursor.execute(f"INSERT INTO {name} SELECT place, entry FROM piece")

    def in_doubt(self, table: TableName, file: PageFile) -> InDoubt | None:
        """
        Return the rows of a table that may have changed since then; None if the pages don't tell.

        Reads the pages at the bounds of the ranges. Blocks.
        """
        then, now = _kept("then", table), _kept("now", table)
        with self._duck.cursor() as cursor:
            [(pages, same)] = cursor.execute(
                f"SELECT count(*), count(*) FILTER (WHERE entry IN (SELECT entry FROM {then})) FROM {now}"
            ).fetchall()
            bounds = cursor.execute(_GAPS.format(then=then, now=now)).fetchall()
        found: list[KeyRange] = []
        for after, before in bounds:
            last_kept = file.first_and_last(number_of(after)) if after is not None else None
            next_kept = file.first_and_last(number_of(before)) if before is not None else None
            if (after is not None and last_kept is None) or (before is not None and next_kept is None):
                return None
            first = last_kept[1] + 1 if last_kept else LEAST_KEY
            found.append(KeyRange(first, next_kept[0] - 1 if next_kept else GREATEST_KEY))
        if any(one.first > one.last + 1 for one in found) or any(a.last >= b.first for a, b in pairwise(found)):
            return None  # the pages are not in the order of the rowids
        # Between two rowids that follow each other no row can be.
        ranges = [one for one in found if one.first <= one.last]
        return InDoubt(_merged(ranges), (pages - same) / pages if pages else 1.0)

    def are_same(self, table: TableName) -> bool:
        """Return whether a table has the pages that it had, which also tells of a table WITHOUT ROWID."""
        then, now = _kept("then", table), _kept("now", table)
        with self._duck.cursor() as cursor:
            [(different,)] = cursor.execute(
                f"SELECT count(*) FROM {then} t FULL OUTER JOIN {now} n USING (entry) "
                "WHERE t.place IS NULL OR n.place IS NULL"
            ).fetchall()
            return not different

    def now(self, table: TableName, entries: int) -> Iterator[bytes]:
        """Yield the entries of a table's pages as they are now, in order, so many in one piece."""
        with self._duck.cursor() as cursor:
            cursor.execute(f"SELECT entry FROM {_kept('now', table)} ORDER BY place")
            while found := cursor.fetchmany(entries):
                yield b"".join(entry for (entry,) in found)


def _kept(when: str, table: TableName) -> str:
    return quote_sqlite(f"{when} {table.quoted}")


def _merged(ranges: Sequence[KeyRange]) -> Sequence[KeyRange]:
    together = -(-len(ranges) // MOST_RANGES)
    if together <= 1:
        return ranges
    pieces = (ranges[start : start + together] for start in range(0, len(ranges), together))
    return [KeyRange(piece[0].first, piece[-1].last) for piece in pieces]


# A gap is between two pages that are as they were, but weren't or aren't neighbours. What is before the first of these
# pages and after the last is a gap, too, unless there was and is none.
_GAPS = """
WITH kept AS (SELECT n.entry, n.place AS now_place, t.place AS then_place FROM {now} n JOIN {then} t USING (entry)),
    framed AS (
        SELECT entry, now_place, then_place FROM kept
        UNION ALL SELECT NULL, -1, -1
        UNION ALL SELECT NULL, (SELECT count(*) FROM {now}), (SELECT count(*) FROM {then})
    ),
    pairs AS (
        SELECT entry AS after, now_place, then_place,
               lead(entry) OVER in_order AS before, lead(now_place) OVER in_order AS next_now,
               lead(then_place) OVER in_order AS next_then
        FROM framed WINDOW in_order AS (ORDER BY now_place)
    )
SELECT after, before FROM pairs
WHERE next_now IS NOT NULL AND (next_now <> now_place + 1 OR next_then <> then_place + 1)
ORDER BY now_place
"""
