"""
Estimates how much of a table has changed, from some rows of both sides, before either side is read as a whole.

Where much has changed, a first run's way takes less time, if nothing was read before. A wrong estimate costs time and
nothing else.
"""

from collections.abc import Sequence

from migrator.planning.plan import TablePlan
from migrator.refresh.key_ranges import target_key
from migrator.source.chunks import Chunk
from migrator.source.scan import ScanSession

MOST = 0.15
"""The share of changed rows above which a table is loaded anew. Measured: with a tenth of the rows changed, carrying
them takes as long as a first run, since both sides are read first; each further tenth takes a fifth of a first run."""

LEAST_ROWS = 10_000
"""In a smaller table it costs little to write all rows, so no share of changed rows is too large."""

_RANGES = 8
_ROWS = 128
"""The rows of a range, if the keys have no gaps."""


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
