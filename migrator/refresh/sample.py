"""
Estimates how much of a table has changed, from some rows of both sides, before either side is read as a whole.

Where much has changed, a first run's way takes less time, if nothing was read before. A wrong estimate costs time and
nothing else.
"""

from collections.abc import Iterable, Sequence

from migrator.planning.plan import TablePlan
from migrator.refresh.key_ranges import target_key
from migrator.source.chunks import Chunk
from migrator.source.scan import ScanSession

MOST = 0.15
"""The share of changed rows above which a table is loaded anew, if little has changed in all tables together: these are
compared once more as a whole then, since what loads a table needs their locks."""

_MOST_OF_ALL = 0.04
"""The share of changed rows in all tables together above which all that have changed are loaded anew. Measured at 300
MB: loading all of them takes 1.05 of a first run's CPU and 1.2 of its time, carrying 1 % 0.9 and 1.1, 10 % 1.1 and 1.4,
and some in the one way and some in the other 1.24."""

_LITTLE = 0.01
"""The share of changed rows up to which a table is carried even then, by a sample of about a thousand rows."""

LEAST_ROWS = 10_000
"""In a smaller table it costs little to write all rows, so no share of changed rows is too large."""

_RANGES = 8
_ROWS = 128
"""The rows of a range, if the keys have no gaps."""


def most(tables: Iterable[tuple[float, int]]) -> float:
    """Return the share above which a table is loaded anew, from each table's share of changed rows and its rows."""
    known = list(tables)
    changed, rows = sum(share * rows for share, rows in known), sum(rows for _, rows in known)
    return _LITTLE if changed > rows * _MOST_OF_ALL else MOST


def ranges(session: ScanSession, table: TablePlan, rows: int) -> Sequence[Chunk]:
    """
    Return some short ranges of keys, spread over the table; none if its keys aren't the numbers of its rows.

    Blocks. Raises SourceUnreadable.
    """
    source, alias = table.source, table.source.rowid_alias
    if alias is None or rows < LEAST_ROWS or target_key(table) is None:
        return ()
    # SQLite looks a single minimum or maximum up, and reads the whole table for both at once.
    ends = (f"(SELECT {which}({source.rowid}) FROM {source.origin}) AS {which}_row" for which in ("min", "max"))
    [bounds] = session.ask(f"SELECT {', '.join(ends)}")
    first, last = int(bounds["min_row"]), int(bounds["max_row"])
    width = max(1, (last - first) * _ROWS // rows)
    starts = (first + (last - first) * place // _RANGES for place in range(_RANGES))
    return tuple(Chunk(str(start), str(start + width)) for start in starts)


def target_condition(table: TablePlan, chunks: Sequence[Chunk]) -> str:
    """Return PostgreSQL's SQL that is true for the target's rows in these ranges."""
    key = target_key(table)
    return " OR ".join(f"({key} > {chunk.after} AND {key} <= {chunk.last})" for chunk in chunks)
