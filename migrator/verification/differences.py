"""
Which rows differ, and in which columns: looked for only where the digests of a table differ.

Both ends are read once more and the rows of the differing buckets go into a DuckDB file, which lies on disk and not in
memory. There they are joined by their key; without a key, equal rows are counted against each other.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.source.database import Source
from migrator.verification.canonical import Side, source_side, target_side
from migrator.verification.comparison import Comparison, source_rows, target_rows
from migrator.verification.digest import hashes, opened

MEMORY = "512MB"
"""What DuckDB may hold of the rows of differing buckets; beyond that they wait on disk."""

SHOWN = 60
"""Characters of a value that are shown."""

_HEAD = 4096

_ROWS_AT_ONCE = 256


class Kind(StrEnum):
    """How a row differs."""

    MISSING = "missing in target"
    EXTRA = "extra in target"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that only one end has, or a value that isn't the same at both."""

    kind: Kind
    table: str
    key: dict[str, str | None]
    """The primary key's values as text, by column; of a table without a key the whole row's, shortened."""
    column: str | None = None
    source: str | None = None
    """The value as text, shortened; None for NULL, or where a whole row differs."""
    target: str | None = None
    times: int = 1
    """How many more of this row one end has; above 1 only where rows have no key."""

    def to_json(self) -> dict[str, Any]:
        """Return the difference as it stands in the file."""
        told: dict[str, Any] = {"kind": str(self.kind), "table": self.table, "key": self.key}
        if self.column is not None:
            told |= {"column": self.column, "source": self.source, "target": self.target}
        return told | ({"times": self.times} if self.times > 1 else {})

    def line(self) -> str:
        """Return the difference as one line for a person."""
        key = ", ".join(f"{name} = {_quoted(value)}" for name, value in self.key.items())
        if self.column is None:
            return f"{key}: {self.kind}" + (f", {self.times} times" if self.times > 1 else "")
        return f"{key}: {self.column} is {_quoted(self.source)} in the source, {_quoted(self.target)} in the target"


@dataclass(slots=True)
class TableDifferences:
    """What was found in one table; the counts are of rows, and of values by column."""

    rows: Counter[Kind] = field(default_factory=Counter)
    columns: Counter[str] = field(default_factory=Counter)
    examples: list[Difference] = field(default_factory=list)

    def words(self) -> str:
        """Return the counts in words."""
        rows = [f"{count} {kind}" for kind, count in sorted(self.rows.items())]
        columns = [f"{column} {count}" for column, count in self.columns.most_common()]
        said = "rows: " + ", ".join(rows) if rows else "a second look found the rows equal: somebody writes to them"
        return said + (f" (by column: {', '.join(columns)})" if columns else "")


def find_differences(  # noqa: PLR0913 - both ends, where to look, and what to tell
    source: Source,
    address: TargetAddress,
    comparison: Comparison,
    buckets: Sequence[int],
    *,
    examples: int,
    mask_values: bool,
    sink: Callable[[Difference], None],
) -> TableDifferences:
    """
    Look for the differing rows in ``buckets``, hand every difference to ``sink``, and return counts and the first few.

    With ``mask_values`` only keys are told, and the size of values. Blocks; needs disk space for the rows of the
    buckets. Raises what reading either end raises.
    """
    found = TableDifferences()
    with TemporaryDirectory(prefix="migrator-") as folder:
        config = {"memory_limit": MEMORY, "temp_directory": folder}
        with opened(str(Path(folder) / "rows.duckdb"), config) as database:
            readings = comparison.readings
            with source.session() as scanning, source_rows(scanning, address, comparison) as reader:
                _keep(database, "source_rows", reader, source_side(readings), comparison, buckets)
            with ReadOnlySession(address) as session, target_rows(session, comparison) as reader:
                _keep(database, "target_rows", reader, target_side(readings), comparison, buckets)
            for row in _rows(database, comparison):
                for difference in _of_row(comparison, row):
                    shown = _masked(difference, key=not comparison.key) if mask_values else difference
                    if len(found.examples) < examples:
                        found.examples.append(shown)
                    sink(shown)
                _count(found, row, comparison)
    return found


def _keep(  # noqa: PLR0913, PLR0917 - a table, and what is known of its rows
    database: duckdb.DuckDBPyConnection,
    name: str,
    reader: pa.RecordBatchReader,
    side: Side,
    comparison: Comparison,
    buckets: Sequence[int],
) -> None:
    sql = hashes(side.forms, comparison)
    keys = "".join(f", {side.forms[place]} AS k{i}" for i, place in enumerate(comparison.key))
    wanted = ", ".join(map(str, buckets))
    database.register("rows_read", reader)
    database.execute(
        f"CREATE TABLE {name} AS SELECT {sql.row} AS row_hash{keys}, * FROM rows_read WHERE {sql.bucket} IN ({wanted})"
    )
    database.unregister("rows_read")


def _rows(database: duckdb.DuckDBPyConnection, comparison: Comparison) -> Iterator[dict[str, Any]]:
    answer = database.execute(_by_key(comparison) if comparison.key else _by_row(comparison))
    names = [column[0] for column in answer.description]
    while rows := answer.fetchmany(_ROWS_AT_ONCE):
        yield from (dict(zip(names, row, strict=True)) for row in rows)


def _by_key(comparison: Comparison) -> str:
    """Return SQL for the rows of either side whose partner, by key, is missing or different."""
    readings = comparison.readings
    ours, theirs = source_side(readings, "s."), target_side(readings, "t.")
    cells = ", ".join(
        f"CASE WHEN {a} IS DISTINCT FROM {b} THEN struct_pack(place := {place}, "
        f"source := {_head(x)}, target := {_head(y)}) END"
        for place, (a, b, x, y) in enumerate(zip(ours.forms, theirs.forms, ours.shown, theirs.shown, strict=True))
    )
    keys = ", ".join(f"coalesce({_head(ours.shown[place])}, {_head(theirs.shown[place])})" for place in comparison.key)
    join = " AND ".join(f"s.k{i} IS NOT DISTINCT FROM t.k{i}" for i in range(len(comparison.key)))
    return (
        f"SELECT s.row_hash IS NOT NULL AS in_source, t.row_hash IS NOT NULL AS in_target, [{keys}] AS key, "
        f"CASE WHEN s.row_hash IS NOT NULL AND t.row_hash IS NOT NULL "
        f"THEN list_filter([{cells}], lambda cell: cell IS NOT NULL) END AS cells, 1 AS times "
        f"FROM source_rows s FULL OUTER JOIN target_rows t ON {join} WHERE s.row_hash IS DISTINCT FROM t.row_hash"
    )


def _by_row(comparison: Comparison) -> str:
    """Return SQL for the rows of which one side has more than the other."""
    readings = comparison.readings

    def counted(table: str, side: Side) -> str:
        shown = ", ".join(_head(text) for text in side.shown)
        return f"(SELECT row_hash, count(*) AS times, any_value([{shown}]) AS row FROM {table} GROUP BY row_hash)"

    return (
        "SELECT coalesce(s.times, 0) > coalesce(t.times, 0) AS in_source, "
        "coalesce(t.times, 0) > coalesce(s.times, 0) AS in_target, coalesce(s.row, t.row) AS key, NULL AS cells, "
        "abs(coalesce(s.times, 0) - coalesce(t.times, 0)) AS times "
        f"FROM {counted('source_rows', source_side(readings))} s "
        f"FULL OUTER JOIN {counted('target_rows', target_side(readings))} t USING (row_hash) "
        "WHERE s.times IS DISTINCT FROM t.times"
    )


def _head(text: str) -> str:
    return f"left({text}, {_HEAD})"


def _kind(row: dict[str, Any]) -> Kind:
    if row["in_source"] and row["in_target"]:
        return Kind.DIFFERENT
    return Kind.MISSING if row["in_source"] else Kind.EXTRA


def _of_row(comparison: Comparison, row: dict[str, Any]) -> Iterator[Difference]:
    table, kind = str(comparison.target.name), _kind(row)
    places = comparison.key or range(len(comparison.pairs))
    names = [comparison.pairs[place].target.name for place in places]
    key = {name: _excerpt(value) for name, value in zip(names, row["key"], strict=True)}
    if kind is not Kind.DIFFERENT:
        yield Difference(kind, table, key, times=row["times"])
    for cell in row["cells"] or ():
        ours, theirs = _excerpts(cell["source"], cell["target"])
        yield Difference(kind, table, key, comparison.pairs[cell["place"]].target.name, ours, theirs)


def _count(found: TableDifferences, row: dict[str, Any], comparison: Comparison) -> None:
    found.rows[_kind(row)] += row["times"]
    found.columns.update(comparison.pairs[cell["place"]].target.name for cell in row["cells"] or ())


def _masked(difference: Difference, *, key: bool) -> Difference:
    """Return the difference without its values; ``key`` says that what names the row is the row's values too."""
    return replace(
        difference,
        key={name: _hidden(value) for name, value in difference.key.items()} if key else difference.key,
        source=_hidden(difference.source),
        target=_hidden(difference.target),
    )


def _hidden(value: str | None) -> str | None:
    return None if value is None else "(masked)"


def _excerpts(source: str | None, target: str | None) -> tuple[str | None, str | None]:
    """Return both values shortened around the place from which they differ."""
    if source is None or target is None:
        return _excerpt(source), _excerpt(target)
    alike = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(source, target, strict=False)))
    start = max(0, alike - SHOWN // 3)
    return _excerpt(source, start), _excerpt(target, start)


def _excerpt(value: str | None, start: int = 0) -> str | None:
    if value is None or len(value) <= SHOWN:
        return value
    start = min(start, len(value) - SHOWN) if start else 0
    end = start + SHOWN
    return f"{'…' if start else ''}{value[start:end]}{'…' if end < len(value) else ''}"


def _quoted(value: str | None) -> str:
    return "NULL" if value is None else repr(value)
