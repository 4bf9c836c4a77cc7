"""
Finds the rows that differ, and their differing columns, in tables whose digests differ.

Both sides are read once more, and the rows of the differing buckets are stored in a DuckDB file, on disk and not in
memory. DuckDB joins the rows of both sides by their key. Without a key, it counts the equal rows of each side.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
from msgspec import Struct, field
from msgspec.structs import replace

from migrator.runtime.limits import ExampleOptions
from migrator.sessions.reader import ReadOnlySession
from migrator.verification.answers import answers
from migrator.verification.canonical import ColumnPair, Side
from migrator.verification.comparison import Comparison, Databases, source_rows, target_rows
from migrator.verification.digest import hashes, opened

_MEGABYTES = 512
_MEGABYTES_A_COLUMN = 1
"""The memory that DuckDB may use for the rows of differing buckets, and more for each column, since it joins some
thousand rows of all columns at a time. All other rows stay on disk."""

SHOWN = 60
"""The most characters of a value that are shown."""

_HEAD = 4096
"""The characters of a value among which the first that differs is looked for."""

_ROWS_AT_ONCE = 256


class Kind(StrEnum):
    """The ways in which a row differs."""

    MISSING = "missing in target"
    EXTRA = "extra in target"
    DIFFERENT = "different"


class Difference(Struct, frozen=True):
    """A row that only one side has, or a value that differs."""

    kind: Kind
    table: str
    key: dict[str, str | None]
    """The values of the primary key as text, shortened, by column; in a table without a key, all values of the row."""
    column: str | None = None
    source: str | None = None
    """The value as text, shortened; None for NULL, or where a whole row differs."""
    target: str | None = None
    computed_by: str = ""
    """The expression by which the target computes the column; empty for a column that is copied."""
    times: int = 1
    """How many more copies of this row one side has. Above 1 only in tables without a key."""

    def to_json(self) -> dict[str, Any]:
        """Return the difference as it is written to the file of differences."""
        fields: dict[str, Any] = {"kind": str(self.kind), "table": self.table, "key": self.key}
        if self.column is not None:
            fields |= {"column": self.column, "source": self.source, "target": self.target}
            fields |= {"computed_by": self.computed_by} if self.computed_by else {}
        return fields | ({"times": self.times} if self.times > 1 else {})

    def line(self) -> str:
        """Return the difference as one line for a person."""
        key = ", ".join(f"{name} = {_quoted(value)}" for name, value in self.key.items())
        if self.column is None:
            return f"{key}: {self.kind}" + (f", {self.times} times" if self.times > 1 else "")
        computed = f", which computes it as {self.computed_by}" if self.computed_by else ""
        values = f"{_quoted(self.source)} in the source, {_quoted(self.target)} in the target"
        return f"{key}: {self.column} is {values}{computed}"


class TableDifferences(Struct):
    """Holds the differences of one table: counts of rows by kind, counts of values by column, and some examples."""

    rows: Counter[Kind] = field(default_factory=Counter)
    columns: Counter[str] = field(default_factory=Counter)
    examples: list[Difference] = field(default_factory=list)
    computed: dict[str, str] = field(default_factory=dict)
    """The columns, of those that differ, which the target computes, each with its expression."""
    unchecked: int = 0
    """The number of rows that are equal but for values that the target computes and the source doesn't have."""

    @property
    def is_none(self) -> bool:
        """Whether the sides differ only in computed values that the source doesn't have."""
        return bool(self.unchecked) and not self.rows

    @property
    def only_computed(self) -> bool:
        """Whether the sides differ only in columns that the target computes."""
        return set(self.rows) == {Kind.DIFFERENT} and bool(self.columns) and set(self.columns) <= set(self.computed)

    def words(self) -> str:
        """Return the counts in words."""
        rows = [f"{count} {kind}" for kind, count in sorted(self.rows.items())]
        columns = [
            f"{column} {count}" + (f", computed as {self.computed[column]}" if column in self.computed else "")
            for column, count in self.columns.most_common()
        ]
        by_kind = "rows: " + ", ".join(rows) if rows else "a second look found the rows equal: somebody writes to them"
        return by_kind + (f" (by column: {', '.join(columns)})" if columns else "")


def find_differences(
    databases: Databases,
    comparison: Comparison,
    buckets: Sequence[int],
    example_options: ExampleOptions,
    sink: Callable[[Difference], None],
) -> TableDifferences:
    """
    Pass every differing row and value in ``buckets`` to ``sink``. Return counts, and the first differences as examples.

    With ``example_options.mask_values``, the differences have no values. Blocks, and needs disk space for the rows of
    the buckets. Raises the errors of reading either side.
    """
    result = TableDifferences()
    with both_sides(databases, comparison, lambda side: rows_in_buckets(comparison, side, buckets)) as duck:
        for row in _rows(duck, comparison):
            for difference in _of_row(comparison, row):
                shown = _masked(comparison, difference) if example_options.mask_values else difference
                if len(result.examples) < example_options.count:
                    result.examples.append(shown)
                sink(shown)
            _count(result, row, comparison)
        result.computed = {
            pair.target.name: pair.target.generation
            for pair in comparison.pairs
            if pair.target.generated and pair.target.name in result.columns
        }
    return result


@contextmanager
def both_sides(
    databases: Databases, comparison: Comparison, selected: Callable[[Side], str]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """
    Yield a DuckDB database on disk, which lasts as long as the block, with tables ``source_rows`` and ``target_rows``.

    ``selected`` gives the SQL of what is stored of a side, over its rows as ``rows_read``. Needs disk space for that.
    Raises the errors of reading either side.
    """
    with TemporaryDirectory(prefix="migrator-") as folder:
        memory = _MEGABYTES + _MEGABYTES_A_COLUMN * len(comparison.pairs)
        config = {"memory_limit": f"{memory}MB", "temp_directory": folder}
        with opened(str(Path(folder) / "rows.duckdb"), config) as duck:
            source, target = databases.source, databases.target
            with source.session() as scan, source_rows(scan, target, comparison) as reader:
                _store(duck, "source_rows", reader, selected(comparison.source_side))
            with ReadOnlySession(target) as session, target_rows(session, comparison) as reader:
                _store(duck, "target_rows", reader, selected(comparison.target_side))
            yield duck


def rows_in_buckets(comparison: Comparison, side: Side, buckets: Sequence[int]) -> str:
    """
    Return SQL for the rows of ``rows_read`` in the ``buckets``: their hash, the forms of their key, and their cells.

    Of each cell there is the hash (``h0``, ``h1``, …) and the beginning of its text (``x0``, ``x1``, …). So it doesn't
    depend on the width of the values how much of a thousand rows is in memory when these are joined.
    """
    sql = hashes(side.forms, comparison)
    keys = "".join(f", {side.forms[place]} AS k{i}" for i, place in enumerate(comparison.key))
    cells = "".join(
        f", hash({form}) AS h{i}, left({shown}, {_HEAD}) AS x{i}"
        for i, (form, shown) in enumerate(zip(side.forms, side.shown, strict=True))
    )
    numbers = ", ".join(map(str, buckets))
    return f"SELECT {sql.row} AS row_hash{keys}{cells} FROM rows_read WHERE {sql.bucket} IN ({numbers})"


def _store(duck: duckdb.DuckDBPyConnection, table: str, reader: pa.RecordBatchReader, selected: str) -> None:
    """Create a DuckDB ``table`` from the SQL ``selected``, in which ``rows_read`` are the rows of ``reader``."""
    duck.register("answers", answers(duck, reader, selected))
    duck.execute(f"CREATE TABLE {table} AS FROM answers")
    duck.unregister("answers")


def _rows(duck: duckdb.DuckDBPyConnection, comparison: Comparison) -> Iterator[dict[str, Any]]:
    answer = duck.execute(_by_key(comparison) if comparison.key else _by_row(comparison))
    names = [column[0] for column in answer.description]
    while rows := answer.fetchmany(_ROWS_AT_ONCE):
        yield from (dict(zip(names, row, strict=True)) for row in rows)


def _by_key(comparison: Comparison) -> str:
    """Return SQL for the rows of both sides whose row with the same key is missing or different on the other side."""
    cells = ", ".join(
        f"CASE WHEN s.h{place} <> t.h{place}{_unless_computed(pair, place)} THEN struct_pack(place := {place}, "
        f"source := s.x{place}, target := t.x{place}) END"
        for place, pair in enumerate(comparison.pairs)
    )
    keys = ", ".join(f"coalesce(s.x{place}, t.x{place})" for place in comparison.key)
    join = " AND ".join(f"s.k{i} IS NOT DISTINCT FROM t.k{i}" for i in range(len(comparison.key)))
    return (
        f"SELECT s.row_hash IS NOT NULL AS in_source, t.row_hash IS NOT NULL AS in_target, [{keys}] AS key, "
        f"CASE WHEN s.row_hash IS NOT NULL AND t.row_hash IS NOT NULL "
        f"THEN list_filter([{cells}], lambda cell: cell IS NOT NULL) END AS cells, 1 AS times "
        f"FROM source_rows s FULL OUTER JOIN target_rows t ON {join} WHERE s.row_hash IS DISTINCT FROM t.row_hash"
    )


def _unless_computed(pair: ColumnPair, place: int) -> str:
    """Return a condition for a computed column: where the source has no value, the target's value is no difference."""
    return f" AND s.x{place} IS NOT NULL" if pair.target.generated else ""


def _by_row(comparison: Comparison) -> str:
    """Return SQL for the rows that one side has more often than the other side."""
    shown = ", ".join(f"x{place}" for place in range(len(comparison.pairs)))

    def counted(table: str) -> str:
        return f"(SELECT row_hash, count(*) AS times, any_value([{shown}]) AS row FROM {table} GROUP BY row_hash)"

    return (
        "SELECT coalesce(s.times, 0) > coalesce(t.times, 0) AS in_source, "
        "coalesce(t.times, 0) > coalesce(s.times, 0) AS in_target, coalesce(s.row, t.row) AS key, NULL AS cells, "
        "abs(coalesce(s.times, 0) - coalesce(t.times, 0)) AS times "
        f"FROM {counted('source_rows')} s FULL OUTER JOIN {counted('target_rows')} t USING (row_hash) "
        "WHERE s.times IS DISTINCT FROM t.times"
    )


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
        source, target = _excerpts(cell["source"], cell["target"])
        column = comparison.pairs[cell["place"]].target
        yield Difference(kind, table, key, column.name, source, target, column.generation)


def _count(result: TableDifferences, row: dict[str, Any], comparison: Comparison) -> None:
    if row["cells"] is not None and not row["cells"]:
        result.unchecked += 1
        return
    result.rows[_kind(row)] += row["times"]
    result.columns.update(comparison.pairs[cell["place"]].target.name for cell in row["cells"] or ())


def _masked(comparison: Comparison, difference: Difference) -> Difference:
    """Return the difference without its values. In a table without a key, ``key`` has all values and is masked too."""
    return replace(
        difference,
        key=difference.key if comparison.key else {name: _hidden(value) for name, value in difference.key.items()},
        source=_hidden(difference.source),
        target=_hidden(difference.target),
    )


def _hidden(value: str | None) -> str | None:
    return None if value is None else "(masked)"


def _excerpts(source: str | None, target: str | None) -> tuple[str | None, str | None]:
    """Return both values, shortened to the part around their first difference."""
    if source is None or target is None:
        return _excerpt(source), _excerpt(target)
    equal = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(source, target, strict=False)))
    start = max(0, equal - SHOWN // 3)
    return _excerpt(source, start), _excerpt(target, start)


def _excerpt(value: str | None, start: int = 0) -> str | None:
    if value is None or len(value) <= SHOWN:
        return value
    start = min(start, len(value) - SHOWN) if start else 0
    end = start + SHOWN
    return f"{'…' if start else ''}{value[start:end]}{'…' if end < len(value) else ''}"


def _quoted(value: str | None) -> str:
    return "NULL" if value is None else repr(value)
